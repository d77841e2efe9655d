use proptest::prelude::*;

use super::*;
use crate::detect::Origin;

fn scanner(change: impl FnOnce(&mut PiiDetector)) -> PiiScanner {
    let mut settings = PiiDetector { entities: EntitySelection::All, ..PiiDetector::default() };
    change(&mut settings);
    PiiScanner::compile(&settings).0.expect("the settings are valid")
}

fn hits(scanner: &PiiScanner, text: &str, key: Option<&str>) -> Vec<(String, String)> {
    let mut hits = Vec::new();
    scanner.scan(Text { text, origin: Origin::User, key }, &mut Scratch::default(), &mut hits);
    hits.iter()
        .map(|hit| {
            (
                scanner.rules()[hit.rule as usize].id.to_string(),
                text.get(hit.start..hit.end).expect("a span of the text").to_owned(),
            )
        })
        .collect()
}

/// What is found in `text` of one kind.
fn of(entity: &str, text: &str) -> Vec<String> {
    let all = scanner(|settings| settings.healthcare_mode = true);
    hits(&all, text, None).into_iter().filter(|(id, _)| id == entity).map(|(_, matched)| matched).collect()
}

fn none(entity: &str, texts: &[&str]) {
    for text in texts {
        assert_eq!(of(entity, text), Vec::<String>::new(), "{text}");
    }
}

fn one(entity: &str, texts: &[(&str, &str)]) {
    for (text, matched) in texts {
        assert_eq!(of(entity, text), [*matched], "{text}");
    }
}

#[test]
fn email_addresses_are_found_in_any_writing() {
    one(
        "EMAIL_ADDRESS",
        &[
            ("Write to pia.holm+news@shop.example.co.uk.", "pia.holm+news@shop.example.co.uk"),
            ("<a href=\"mailto:info@bücher.example\">", "info@bücher.example"),
            ("user=kay_9@example.org;", "kay_9@example.org"),
            ("さんにkay@example.orgまで", "kay@example.org"),
            ("pia . holm @ example . co . uk is hers", "pia . holm @ example . co . uk"),
            ("pia_holm at example dot org", "pia_holm at example dot org"),
            ("write pia.holm(at)example[.]org now", "pia.holm(at)example[.]org"),
            ("pia%40example%2Eorg", "pia%40example%2Eorg"),
            ("pia&#64;example&#46;org", "pia&#64;example&#46;org"),
            ("pi\u{200b}a@exam\u{ad}ple.org", "pi\u{200b}a@exam\u{ad}ple.org"),
            ("ｐｉａ＠ｅｘａｍｐｌｅ．ｏｒｇ", "ｐｉａ＠ｅｘａｍｐｌｅ．ｏｒｇ"),
            ("pi\u{430}@ex\u{430}mple.org", "pi\u{430}@ex\u{430}mple.org"),
        ],
    );
    none(
        "EMAIL_ADDRESS",
        &[
            "@app.route('/x')",
            "git clone git@host.example:team/repo",
            "npm i @scope/pkg@1.2.3",
            "lunch @ noon . We wait",
            "look at example.org and meet me at dot com",
            "a @ b",
            "@@@@ @.@ x@.y x@y",
        ],
    );
}

#[test]
fn web_addresses_end_where_the_sentence_goes_on() {
    one(
        "URL",
        &[
            ("See https://example.org/a?b=c#d, then go on.", "https://example.org/a?b=c#d"),
            ("(http://example.org/x_(y))", "http://example.org/x_(y)"),
            ("at www.example.org.", "www.example.org"),
            ("hxxps://bad.example/path", "hxxps://bad.example/path"),
            ("read example.com/docs/1 first", "example.com/docs/1"),
            ("请看https://example.org/路。", "https://example.org/"),
        ],
    );
    none("URL", &["catalog.schema.table", "src/main.rs/x", "postgres://x", "a :// b", "and/or"]);
}

#[test]
fn machine_addresses_are_strict() {
    one(
        "IP_ADDRESS",
        &[
            ("from 203.0.113.9:8080", "203.0.113.9"),
            ("net 198.51.100.0/24", "198.51.100.0"),
            ("addr 2001:db8::8a2e:370:7334.", "2001:db8::8a2e:370:7334"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("203[.]0[.]113[.]9", "203[.]0[.]113[.]9"),
        ],
    );
    none(
        "IP_ADDRESS",
        &[
            "127.0.0.1 and ::1 and 0.0.0.0",
            "mask 255.255.255.0",
            "version 10.4.3.22",
            "256.1.1.1 01.2.3.4 1.2.3 1.2.3.4.5",
            "std::vec a::b 12:34:56",
            "v1.2.3.4",
        ],
    );
    one(
        "MAC_ADDRESS",
        &[
            ("dev 3c:22:fb:9a:01:7e up", "3c:22:fb:9a:01:7e"),
            ("3C-22-FB-9A-01-7E", "3C-22-FB-9A-01-7E"),
            ("3c22.fb9a.017e", "3c22.fb9a.017e"),
        ],
    );
    none(
        "MAC_ADDRESS",
        &["00:00:00:00:00:00", "3c:22:fb:9a:01", "3c:22:fb:9a:01:7e:aa", "3c:22-fb:9a:01:7e"],
    );
}

#[test]
fn wallets_need_their_checksum() {
    one(
        "CRYPTO",
        &[
            ("to 1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),
            ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"),
            ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"),
            (
                "my ethereum wallet 0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed",
                "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed",
            ),
        ],
    );
    none(
        "CRYPTO",
        &[
            "to 1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb",
            "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5",
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD",
            "digest 0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed",
        ],
    );
}

#[test]
fn ibans_need_length_and_check_digits() {
    one(
        "IBAN_CODE",
        &[
            ("DE89370400440532013000", "DE89370400440532013000"),
            ("to GB82 WEST 1234 5698 7654 32 today", "GB82 WEST 1234 5698 7654 32"),
            ("fr14 2004 1010 0505 0001 3m02 606", "fr14 2004 1010 0505 0001 3m02 606"),
            ("NO93-8601-1117-947", "NO93-8601-1117-947"),
            ("D E 8 9 3 7 0 4 0 0 4 4 0 5 3 2 0 1 3 0 0 0", "D E 8 9 3 7 0 4 0 0 4 4 0 5 3 2 0 1 3 0 0 0"),
        ],
    );
    none("IBAN_CODE", &["DE8937040044053201300", "XX89370400440532013000", "ADE89370400440532013000"]);
}

#[test]
fn documents_are_found_beside_their_words_only() {
    one(
        "US_PASSPORT",
        &[
            ("The passport of my aunt is C01234567.", "C01234567"),
            ("Reisepass: 123456789", "123456789"),
            ("passport no. 5 1 2 is not one, but passport 512345678 is", "512345678"),
        ],
    );
    one(
        "US_DRIVER_LICENSE",
        &[
            ("driver's license D1234567", "D1234567"),
            ("Führerschein B072RRE2I55", "B072RRE2I55"),
            ("DL# 123456789", "123456789"),
        ],
    );
    one(
        "US_BANK_NUMBER",
        &[("checking account 000123456789", "000123456789"), ("routing number 021000021", "021000021")],
    );
    one("MEDICAL_RECORD_NUMBER", &[("MRN: 00482913", "00482913")]);
    one("HEALTH_INSURANCE_ID", &[("Medicare 1EG4-TE5-MK73", "1EG4-TE5-MK73")]);
    one("US_NPI", &[("NPI 1234567893", "1234567893")]);
    none("US_NPI", &["NPI 1234567894"]);
    none("US_PASSPORT", &["C01234567", "the compassport 123456789", "passport. Order 123456789"]);
    none("US_DRIVER_LICENSE", &["D1234567", "driver update 1234567"]);
    none("US_BANK_NUMBER", &["12345678", "account created on 2024-03-11", "order 123456789 of this account"]);
}

#[test]
fn a_key_says_what_its_value_is() {
    let all = scanner(|_| ());
    for (key, value, entity) in [
        ("ssn", "536904399", "US_SSN"),
        ("customerPhone", "2015550123", "PHONE_NUMBER"),
        ("passport_number", "512345678", "US_PASSPORT"),
        ("bankAccount", "0012345678", "US_BANK_NUMBER"),
        ("nhs", "9434765919", "UK_NHS"),
    ] {
        assert_eq!(hits(&all, value, Some(key)), [(entity.to_owned(), value.to_owned())], "{key}");
    }
    assert_eq!(hits(&all, "2015550123", Some("order_id")), []);
}

#[test]
fn one_thing_is_claimed_once() {
    let all = scanner(|_| ());
    for (text, entity) in [
        ("https://example.org/?mail=pia@example.org&tel=+12015550123", "URL"),
        ("4111 1111 1111 1111", "CREDIT_CARD"),
        ("maria.schneider@example.org", "EMAIL_ADDRESS"),
        ("card 5555555555554444", "CREDIT_CARD"),
    ] {
        let found = hits(&all, text, None);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert_eq!(found[0].0, entity);
    }
}

#[test]
fn an_address_inside_a_web_address_is_found_when_only_it_is_asked_for() {
    let mails = scanner(|settings| settings.entities = EntitySelection::Some(vec![Entity::EmailAddress]));
    let text = "https://example.org/?mail=pia@example.org";
    assert_eq!(hits(&mails, text, None), [("EMAIL_ADDRESS".to_owned(), "pia@example.org".to_owned())]);
}

#[test]
fn what_nobody_asked_for_is_not_taken_for_what_somebody_did() {
    let phones = scanner(|settings| {
        settings.entities = EntitySelection::Some(vec![Entity::PhoneNumber]);
        settings.pci_mode = false;
    });
    assert_eq!(hits(&phones, "phone: none, card: 4111 1111 1111 1111, ip 203.0.113.9", None), []);
}

#[test]
fn card_mode_adds_cards_codes_and_their_holders() {
    let pci = scanner(|settings| settings.entities = EntitySelection::Some(vec![]));
    let found = hits(&pci, "Maria Schneider pays with 4111 1111 1111 1111, CVV 123.", None);
    let ids: Vec<&str> = found.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["PERSON", "CREDIT_CARD", "CVV"]);
    assert_eq!(hits(&pci, "Maria Schneider pays tomorrow.", None), []);
    let off = scanner(|settings| {
        settings.entities = EntitySelection::Some(vec![]);
        settings.pci_mode = false;
    });
    assert_eq!(hits(&off, "Maria Schneider pays with 4111 1111 1111 1111, CVV 123.", None), []);
}

#[test]
fn a_higher_threshold_finds_less_and_a_lower_one_more() {
    let text = "0611111111 or 201 555 0123 or +12015550123";
    let count = |threshold| hits(&scanner(|settings| settings.threshold = threshold), text, None).len();
    assert_eq!((count(0.3), count(0.5), count(0.96), count(1.0)), (3, 2, 1, 0));
}

#[test]
fn patterns_of_the_pack_are_found_as_custom() {
    let own =
        scanner(|settings| settings.detect_patterns = vec!["EMP-[0-9]{4}".to_owned(), "B[0-9]+Z".to_owned()]);
    assert_eq!(
        hits(&own, "B12Z EMP-0042", None),
        [
            ("detect_patterns[1]".to_owned(), "B12Z".to_owned()),
            ("detect_patterns[0]".to_owned(), "EMP-0042".to_owned())
        ]
    );
    let mut marker = String::new();
    let rule = own.rules().iter().position(|rule| &*rule.id == "detect_patterns[0]").expect("a rule");
    own.replace(u32::try_from(rule).expect("few"), "EMP-0042", &mut marker);
    assert_eq!(marker, "<CUSTOM>");
    let (broken, problems) =
        PiiScanner::compile(&PiiDetector { detect_patterns: vec!["(".to_owned()], ..PiiDetector::default() });
    assert!(broken.is_none());
    assert_eq!(problems[0].path, "detect_patterns[0]");
}

#[test]
fn every_mistake_in_the_settings_is_named() {
    let mut settings = PiiDetector {
        threshold: 1.5,
        entities: EntitySelection::Some(vec![Entity::Url, Entity::Url]),
        ..PiiDetector::default()
    };
    settings.redaction.marker_format = MarkerFormat::Template("gone".to_owned());
    settings.redaction.custom_markers.insert("PERSN".to_owned(), "x".to_owned());
    settings.redaction.custom_markers.insert("URL".to_owned(), String::new());
    let (scanner, problems) = PiiScanner::compile(&settings);
    assert!(scanner.is_none());
    let found: Vec<(&str, ProblemKind)> =
        problems.iter().map(|problem| (problem.path.as_str(), problem.kind)).collect();
    assert_eq!(
        found,
        [
            ("threshold", ProblemKind::OutOfRange),
            ("entities[1]", ProblemKind::Duplicate),
            ("redaction.marker_format", ProblemKind::UnknownName),
            ("redaction.custom_markers.PERSN", ProblemKind::UnknownName),
            ("redaction.custom_markers.URL", ProblemKind::OutOfRange),
        ]
    );
}

#[test]
fn disguised_numbers_keep_their_offsets() {
    one(
        "PHONE_NUMBER",
        &[
            ("ring + 1 2 0 1 5 5 5 0 1 2 3 now", "+ 1 2 0 1 5 5 5 0 1 2 3"),
            ("ring %2B44%2020%207946%200958 now", "%2B44%2020%207946%200958"),
            ("ring +４４ ２０ ７９４６ ０９５８ now", "+４４ ２０ ７９４６ ０９５８"),
            ("ring +44\u{a0}20\u{a0}7946\u{a0}0958 now", "+44\u{a0}20\u{a0}7946\u{a0}0958"),
            ("ring +44 20 79\u{200b}46 0958 now", "+44 20 79\u{200b}46 0958"),
        ],
    );
    one("CREDIT_CARD", &[("4\u{200b}111 1111 1111 1111", "4\u{200b}111 1111 1111 1111")]);
}

/// The shortest time that scanning `size` bytes of `piece` takes, of a few rounds.
fn shortest(scanner: &PiiScanner, piece: &str, size: usize) -> f64 {
    let mut scratch = Scratch::default();
    let text = piece.repeat(size / piece.len());
    let mut best = f64::MAX;
    for _ in 0..3 {
        let mut hits = Vec::new();
        let start = crate::detect::processor_time();
        scanner.scan(Text { text: &text, origin: Origin::User, key: None }, &mut scratch, &mut hits);
        best = best.min((crate::detect::processor_time() - start).as_secs_f64());
    }
    best
}

#[test]
fn time_is_linear_on_hostile_texts() {
    let scanner = scanner(|settings| settings.healthcare_mode = true);
    for piece in [
        "1",
        "1 ",
        "1-",
        "4111 ",
        "4111 1111 1111 1112 ",
        "+1",
        "@",
        "a@",
        "@ ",
        "a.",
        "a . ",
        ":",
        "1:",
        "a at b dot ",
        "http://",
        "a.com/",
        "www.",
        "/)",
        "Anna ",
        "A. ",
        "Anna, ",
        "aа",
        "张",
        "田中",
        "김",
        "%40",
        "&#64;",
        "\u{200b}",
        "DE89 ",
        "account 1 ",
        "passport ",
        "a-",
        "a'",
        "van der ",
        "\n",
        "name,",
        "x=",
        "4\u{200b}",
        "(",
        "00",
        "ab:cd:",
        "0x",
        "email ",
    ] {
        // Thirty-two times the text: linear work takes about as many times longer, a square a thousand times. Other
        // work on the machine can only be taken for slowness a few times in a row.
        let linear =
            (0..5).any(|_| shortest(&scanner, piece, 1 << 17) < 128.0 * shortest(&scanner, piece, 1 << 12));
        assert!(linear, "{piece:?}");
    }
}

fn messy() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        "[ -~]{0,6}",
        "[0-9]{1,5}[-. /()+]{0,2}",
        "\\PC{0,3}",
        Just("\u{200b}".to_owned()),
        Just("%40".to_owned()),
        Just("&#64;".to_owned()),
        Just("(at)".to_owned()),
        Just(" at b dot com ".to_owned()),
        Just("phone ".to_owned()),
        Just("+44 (0)20 ".to_owned()),
        Just("Maria ".to_owned()),
        Just("van der ".to_owned()),
        Just("田中 太郎さん".to_owned()),
        Just("请联系张伟".to_owned()),
        Just("http://a.b/".to_owned()),
        Just("passport ".to_owned()),
    ];
    prop::collection::vec(pieces, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_gives_sorted_spans_on_character_borders_and_always_the_same(text in messy(), key in prop::option::of("[a-zA-Z_]{0,12}")) {
        let all = scanner(|settings| { settings.healthcare_mode = true; settings.threshold = 0.1; });
        let mut used = Scratch::default();
        let (mut first, mut second) = (Vec::new(), Vec::new());
        let text_ = Text { text: &text, origin: Origin::User, key: key.as_deref() };
        all.scan(text_, &mut used, &mut first);
        all.scan(text_, &mut used, &mut second);
        prop_assert_eq!(&first, &second);
        for hit in &first {
            prop_assert!(hit.start < hit.end && text.get(hit.start..hit.end).is_some());
            prop_assert!((hit.rule as usize) < all.rules().len());
            prop_assert!((0.1..=1.0).contains(&hit.score));
            let mut marker = String::new();
            all.replace(hit.rule, text.get(hit.start..hit.end).expect("a span of the text"), &mut marker);
            prop_assert!(!marker.is_empty());
        }
        prop_assert!(first.is_sorted_by_key(|hit| hit.start));
    }

    /// Every check that is used finds any single wrong digit.
    #[test]
    fn a_wrong_digit_is_not_found(
        (entity, good) in prop::sample::select(vec![
            ("CREDIT_CARD", "4111111111111111"),
            ("CREDIT_CARD", "378282246310005"),
            ("CREDIT_CARD", "6011 1111 1111 1117"),
            ("IBAN_CODE", "DE89370400440532013000"),
            ("IBAN_CODE", "GB82 WEST 1234 5698 7654 32"),
            ("UK_NHS", "NHS 943 476 5919"),
            ("US_NPI", "NPI 1234567893"),
            ("CRYPTO", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),
            ("CRYPTO", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"),
        ]),
        place in any::<prop::sample::Index>(),
        step in 1..10_u8,
    ) {
        prop_assert_eq!(of(entity, good).len(), 1);
        let digits: Vec<usize> = good.bytes().enumerate().filter(|(_, b)| b.is_ascii_digit()).map(|(at, _)| at).collect();
        let at = digits[place.index(digits.len())];
        let mut bytes = good.as_bytes().to_vec();
        bytes[at] = b'0' + (bytes[at] - b'0' + step) % 10;
        let bad = String::from_utf8(bytes).expect("digits");
        prop_assert!(of(entity, &bad).is_empty(), "{}", bad);
    }
}
