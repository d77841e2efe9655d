use kt_audit::sign::Signer;
use kt_proto::signed::{digest, seal};
use prost::Message as _;

use super::*;

fn rules(signers: &[&Signer]) -> Rules {
    let keys = signers.iter().map(|signer| signer.public()).collect();
    Rules { fleet: "default".to_owned(), trust: Trust { keys, threshold: 1 } }
}

fn statement(generation: u64) -> v1::AssignmentStatement {
    v1::AssignmentStatement { fleet: "default".to_owned(), generation, packs: Vec::new(), expires_us: 0 }
}

fn refusal(signed: &v1::SignedStatement, rules: &Rules, held: Option<Held>, now: i64) -> (String, Memory) {
    let rejection = verify::<v1::AssignmentStatement>(signed, rules, held, Some(now)).unwrap_err();
    (rejection.codes().join(" "), rejection.memory)
}

#[test]
fn generations_only_grow() {
    let (five, six) = (seal(&statement(5), &[]), seal(&statement(6), &[]));
    let held = Some(Held { generation: 5, digest: digest(&five) });
    let open = |signed| verify::<v1::AssignmentStatement>(signed, &rules(&[]), held, Some(0));
    assert_eq!(open(&five), Ok(Standing::Same));
    assert_eq!(open(&six), Ok(Standing::New(statement(6))));
    let four = seal(&statement(4), &[]);
    assert_eq!(refusal(&four, &rules(&[]), held, 0), ("generation_lower".to_owned(), Memory::None));
    let other = seal(&v1::AssignmentStatement { expires_us: 9, ..statement(5) }, &[]);
    assert_eq!(refusal(&other, &rules(&[]), held, 0), ("generation_conflict".to_owned(), Memory::None));
}

#[test]
fn a_statement_expires_only_before_it_is_accepted() {
    let signed = seal(&v1::AssignmentStatement { expires_us: 100, ..statement(5) }, &[]);
    let open = |held, now| verify::<v1::AssignmentStatement>(&signed, &rules(&[]), held, now).is_ok();
    assert!(open(None, Some(99)));
    assert!(!open(None, Some(100)));
    assert!(open(None, None), "from disk: it was accepted once");
    let held = Held { generation: 5, digest: digest(&signed) };
    assert!(open(Some(held), Some(1000)), "it is in force");
}

#[test]
fn a_refusal_for_its_signatures_is_not_held_against_a_statement() {
    let (one, two) = (Signer::generate().unwrap(), Signer::generate().unwrap());
    let rules = rules(&[&one]);
    for signed in [seal(&statement(1), &[]), seal(&statement(1), std::slice::from_ref(&two))] {
        assert_eq!(refusal(&signed, &rules, None, 0).1, Memory::None);
    }
    let good = seal(&statement(1), std::slice::from_ref(&one));
    assert!(verify::<v1::AssignmentStatement>(&good, &rules, None, Some(0)).is_ok());
}

#[test]
fn a_field_of_a_later_version_is_refused_not_dropped() {
    let signer = Signer::generate().unwrap();
    let mut bytes = statement(1).encode_to_vec();
    // Field 15, a number: this build has no such field.
    bytes.extend_from_slice(&[0x78, 1]);
    let message = [b"keeptrusts-assignment-v1\0", bytes.as_slice()].concat();
    let signature = v1::Signature {
        key_id: signer.public().id().0.to_vec(),
        signature: signer.sign(&message).0.to_vec(),
    };
    let signed = v1::SignedStatement { statement: bytes.into(), signatures: vec![signature] };
    let told = refusal(&signed, &rules(&[&signer]), None, 0);
    assert_eq!(told, ("statement_unknown_fields".to_owned(), Memory::Build));
}

#[test]
fn an_assignment_of_none_or_of_too_large_a_pack_is_refused() {
    let pack = v1::PackRef { digest: vec![0; 32], ..v1::PackRef::default() };
    let large = v1::PackRef { size: MAX_PACK as u64 + 1, ..pack.clone() };
    let short = v1::PackRef { digest: vec![0; 31], ..pack.clone() };
    for (packs, code) in [
        (vec![], "no_packs"),
        (vec![pack.clone(), pack.clone()], "too_many_packs"),
        (vec![large], "pack_too_large"),
        (vec![short], "digest_malformed"),
    ] {
        let rejection = only_pack(&v1::AssignmentStatement { packs, ..statement(1) }).unwrap_err();
        assert_eq!(rejection.codes(), [code]);
    }
    assert!(only_pack(&v1::AssignmentStatement { packs: vec![pack], ..statement(1) }).is_ok());
}

#[test]
fn a_rejection_is_summed_up_in_a_line() {
    let mut rejection = Rejection::new(v1::Stage::Compile, "KT0401", "bad pattern", Memory::Build);
    rejection.reasons[0].path = "policy.dlp-filter".to_owned();
    rejection.reasons[0].line = 7;
    rejection.reasons.push(rejection.reasons[0].clone());
    assert_eq!(rejection.summary(), "compile: bad pattern (`policy.dlp-filter`, line 7), and 1 more");
    assert_eq!(rejection.codes(), ["KT0401"]);
}

#[test]
fn keys_that_stay_keep_the_time_of_their_last_use() {
    let key = |id: &str, secret: &str| v1::GatewayKey {
        id: id.to_owned(),
        sha256: Digest::of(secret.as_bytes()).0.to_vec(),
        ..v1::GatewayKey::default()
    };
    let set = |keys: &[v1::GatewayKey]| v1::KeySetStatement {
        fleet: "default".to_owned(),
        generation: 1,
        keys: keys.to_vec(),
        expires_us: 0,
    };
    let (one, two) = (key("one", "kt_gk_one"), key("two", "kt_gk_two"));
    let first = keys(set(std::slice::from_ref(&one)), None).unwrap();
    first.find(b"kt_gk_one").unwrap().touch(jiff::Timestamp::from_second(1000).unwrap());
    let second = keys(set(&[one.clone(), two]), Some(&first)).unwrap();
    assert_eq!(second.used_since(0).collect::<Vec<_>>(), [("one", 1_000_000_000)]);
    assert_eq!(second.used_since(1_000_000_000).count(), 0);
    // A use that is noted on the old set while it is swapped is not lost.
    first.find(b"kt_gk_one").unwrap().touch(jiff::Timestamp::from_second(1002).unwrap());
    assert_eq!(second.used_since(0).collect::<Vec<_>>(), [("one", 1_002_000_000)]);
    let never = v1::GatewayKey { expires_us: i64::MAX, ..one };
    assert_eq!(keys(set(&[never]), None).unwrap_err().codes(), ["key_expiry_invalid"]);
}
