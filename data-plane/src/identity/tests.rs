use std::sync::Arc;

use arc_swap::ArcSwapOption;
use http::{HeaderMap, header::AUTHORIZATION};
use jiff::Timestamp;

use super::*;

const KEY: &str = "kt_gk_0123456789abcdefghijklmnopqrstuv";

fn keys_json() -> String {
    format!(
        r#"{{"version":1,"keys":[{{"id":"k1","sha256":"{}","user":"jane","team":"data","cost_center":"47","roles":["analyst"],"expires":"2030-01-01T00:00:00Z"}}]}}"#,
        hex::encode(keys::hash(KEY.as_bytes()))
    )
}

fn with_keys(require_identity: bool) -> Identity {
    let keys = KeySet::parse(keys_json().as_bytes()).unwrap();
    Identity::new(Some(Arc::new(ArcSwapOption::from_pointee(keys))), require_identity)
}

fn headers(value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, value.parse().unwrap());
    headers
}

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

const NOW: &str = "2026-11-24T00:00:00Z";

#[test]
fn a_known_key_proves_its_entry() {
    let caller = with_keys(true).establish(&headers(&format!("Bearer {KEY}")), at(NOW)).unwrap();
    assert_eq!(caller.subject.as_deref(), Some("jane"));
    assert_eq!(caller.roles.iter().map(|role| &**role).collect::<Vec<_>>(), ["analyst"]);
    assert!(caller.proof.is_proven());
    assert!(!format!("{caller:?}").contains("jane"));
}

#[test]
fn an_expired_key_is_refused_from_its_very_moment() {
    let identity = with_keys(false);
    let headers = headers(&format!("bearer {KEY}"));
    assert!(identity.establish(&headers, at("2029-12-31T23:59:59Z")).is_ok());
    assert_eq!(identity.establish(&headers, at("2030-01-01T00:00:00Z")), Err(CredentialFault::Expired));
}

#[test]
fn a_bad_credential_never_falls_through_to_anonymous() {
    let identity = with_keys(false);
    assert!(identity.establish(&HeaderMap::new(), at(NOW)).is_ok());
    for (value, fault) in [
        ("Bearer unused", CredentialFault::Unknown),
        ("Bearer kt_gk_wrong", CredentialFault::Unknown),
        ("Bearer ", CredentialFault::Unknown),
        ("Basic YTpi", CredentialFault::Malformed),
        ("Bearer dapi0123456789abcdef0123456789abcdef", CredentialFault::DatabricksToken),
        ("dapi0123456789abcdef0123456789abcdef-2", CredentialFault::DatabricksToken),
    ] {
        assert_eq!(identity.establish(&headers(value), at(NOW)), Err(fault), "{value}");
    }
    let mut twice = headers(&format!("Bearer {KEY}"));
    twice.append(AUTHORIZATION, "Bearer other".parse().unwrap());
    assert_eq!(identity.establish(&twice, at(NOW)), Err(CredentialFault::Malformed));
}

#[test]
fn a_bad_key_file_at_start_lets_nobody_in() {
    let identity = Identity::new(Some(Arc::new(ArcSwapOption::empty())), false);
    assert_eq!(
        identity.establish(&headers(&format!("Bearer {KEY}")), at(NOW)),
        Err(CredentialFault::Unknown)
    );
}

#[test]
fn without_keys_any_other_bearer_is_anonymous() {
    let identity = Identity::new(None, false);
    assert_eq!(identity.establish(&headers("Bearer unused"), at(NOW)), Ok(Caller::anonymous()));
    assert_eq!(
        identity.establish(&headers("Bearer dapi0123456789abcdef0123456789abcdef"), at(NOW)),
        Err(CredentialFault::DatabricksToken)
    );
    assert_eq!(
        identity.establish(&headers(&format!("Bearer {KEY}")), at(NOW)),
        Err(CredentialFault::Unknown)
    );
    let strict = Identity::new(None, true);
    assert_eq!(strict.establish(&headers("Bearer unused"), at(NOW)), Err(CredentialFault::Missing));
}

#[test]
fn no_message_repeats_a_credential() {
    for fault in [CredentialFault::Unknown, CredentialFault::DatabricksToken, CredentialFault::Malformed] {
        assert!(!fault.to_string().contains("0123456789"));
    }
}

#[test]
fn broken_key_files_are_refused() {
    let hash = hex::encode(keys::hash(b"kt_gk_a"));
    for (file, message) in [
        (String::new(), "the file is empty"),
        ("  \n".to_owned(), "the file is empty"),
        (r#"{"version":2,"keys":[]}"#.to_owned(), "version `2`"),
        (r#"{"version":1,"keys":["#.to_owned(), "not a keys file"),
        (r#"{"version":1,"keys":[],"more":1}"#.to_owned(), "not a keys file"),
        (r#"{"version":1,"keys":[{"id":"a","sha256":"12","roles":[]}]}"#.to_owned(), "64 hexadecimal"),
        (
            format!(r#"{{"version":1,"keys":[{{"id":"a b","sha256":"{hash}","roles":[]}}]}}"#),
            "letters, digits",
        ),
        (
            format!(
                r#"{{"version":1,"keys":[{{"id":"a","sha256":"{hash}","roles":[]}},{{"id":"a","sha256":"{hash}","roles":[]}}]}}"#
            ),
            "stands twice",
        ),
        (
            format!(
                r#"{{"version":1,"keys":[{{"id":"a","sha256":"{hash}","roles":[]}},{{"id":"b","sha256":"{hash}","roles":[]}}]}}"#
            ),
            "same hash",
        ),
    ] {
        let error = KeySet::parse(file.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}
