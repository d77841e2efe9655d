use super::{super::PiiScanner, checks};
use crate::{
    detect::{Detector, Origin, Scratch, Text},
    pack::kinds::{EntitySelection, PiiDetector},
};

/// What is found in `text`, as `ENTITY matched`, but for names.
fn found(text: &str) -> Vec<String> {
    let settings = PiiDetector { entities: EntitySelection::All, ..PiiDetector::default() };
    let scanner = PiiScanner::compile(&settings).0.expect("the settings are valid");
    let mut hits = Vec::new();
    scanner.scan(Text { text, origin: Origin::User, key: None }, &mut Scratch::default(), &mut hits);
    hits.iter()
        .map(|hit| {
            format!(
                "{} {}",
                scanner.rules()[hit.rule as usize].id,
                text.get(hit.start..hit.end).expect("a span of the text")
            )
        })
        .filter(|found| !found.starts_with("PERSON"))
        .collect()
}

#[test]
fn phone_numbers_of_many_regions_are_found_without_words() {
    for number in [
        "+1 212 555 0147",
        "+44 20 7946 0958",
        "+44 (0)20 7946 0958",
        "(+44) 20 7946 0958",
        "+49 (0) 30 901820",
        "+33 1 70 36 39 50",
        "+81-3-5555-0123",
        "+86 138 0013 8000",
        "+91 98765 43210",
        "+7 (495) 123-45-67",
        "+972 50-234-5678",
        "+35312345678",
        "0049 30 901820",
        "011 44 20 7946 0958",
        "(212) 555-0147",
        "212-555-0147",
        "212.555.0147",
        "1-800-555-0147",
        "020 7946 0958",
        "0161-496-0123",
        "01 70 36 39 50",
        "06-12-34-56-78",
        "030/901820",
        "0171 2345678",
        "06 12345678",
        "02 9876 5432",
        "0491 570 156",
        "(02) 9876 5432",
        "090-1234-5678",
        "98765 43210",
        "(11) 96123-4567",
        "612 34 56 78",
        "138 0013 8000",
        "8 (495) 123-45-67",
        "212-555-0147 ext. 12",
        "212-555-0147x12",
    ] {
        let text = format!("It is {number}, I think.");
        assert_eq!(found(&text), [format!("PHONE_NUMBER {number}")]);
    }
}

#[test]
fn plain_digits_are_phone_numbers_where_words_say_so() {
    for text in [
        "call 2125550147",
        "Telefon: 030901820",
        "мой номер 4951234567",
        "whatsapp 612345678",
        "name,phone\nx,612345678\n",
        "{\"mobile\": \"612345678\"}",
    ] {
        assert!(found(text).iter().any(|found| found.starts_with("PHONE_NUMBER")), "{text}");
    }
}

#[test]
fn other_numbers_are_no_phone_numbers() {
    for text in [
        "Order 2125550147 is late",
        "tracking number 1Z2125550147",
        "ts > 1711929600",
        "epoch 1711929600123",
        "2024-03-11 09:12:44",
        "11.03.2024 and 03/11/2024",
        "ISBN 978-3-16-148410-0",
        "ISBN 0-306-40615-2",
        "v2.10.3.4455",
        "Python 3.11.7",
        "1 234 567.89 EUR",
        "1,234,567 rows",
        "$2,125,550.14",
        "uuid 13ea8d8c-1ee7-4080-b682-c1c9da133bbb",
        "commit 01712345678abcdef",
        "INV-2024-081234",
        "1920x1080",
        "0.1234567",
        "pi is 3.14159265358979",
        "lat 48.8566 lon 2.3522",
        "port 8080, timeout_ms=30000",
        "2019-2023",
        "sum: 12 34 56",
        "+5",
        "C++ 11 22 33",
        "rows 100 200 300",
        "ID 612345678",
    ] {
        assert_eq!(found(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn two_numbers_beside_each_other_are_two() {
    assert_eq!(
        found("+44 20 7946 0958\n+44 20 7946 0959"),
        ["PHONE_NUMBER +44 20 7946 0958", "PHONE_NUMBER +44 20 7946 0959"]
    );
    assert_eq!(
        found("212-555-0147 212-555-0148"),
        ["PHONE_NUMBER 212-555-0147", "PHONE_NUMBER 212-555-0148"]
    );
}

#[test]
fn cards_are_known_by_issuer_and_check_digit() {
    for card in [
        "4111111111111111",
        "4111-1111-1111-1111",
        "5555 5555 5555 4444",
        "2223003122003222",
        "378282246310005",
        "3782 822463 10005",
        "6011000990139424",
        "30569309025904",
        "3530111333300000",
        "6200000000000005",
        "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
    ] {
        assert_eq!(found(&format!("it says {card} here")), [format!("CREDIT_CARD {card}")]);
    }
    for text in [
        "4111111111111112",
        "0.4111111111111111",
        "x4111111111111111",
        "0000000000000000",
        "9111111111111119",
    ] {
        assert_eq!(found(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn social_security_numbers_obey_the_rules_of_their_issuer() {
    for (text, expected) in [
        ("536-90-4399", "US_SSN 536-90-4399"),
        ("SSN 536904399", "US_SSN 536904399"),
        ("her social security number is 536 90 4399", "US_SSN 536 90 4399"),
        ("912-70-1234", "US_ITIN 912-70-1234"),
        ("ITIN 912701234", "US_ITIN 912701234"),
    ] {
        assert_eq!(found(text), [expected]);
    }
    for text in [
        "000-12-3456",
        "666-12-3456",
        "912-12-3456",
        "123-00-4567",
        "123-45-0000",
        "078-05-1120",
        "536904399",
        "part 536-90-43990",
    ] {
        assert_eq!(found(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn nhs_numbers_and_phone_numbers_are_told_apart_by_words() {
    assert_eq!(found("NHS number 943 476 5919"), ["UK_NHS 943 476 5919"]);
    assert_eq!(found("call 943-476-5919"), ["PHONE_NUMBER 943-476-5919"]);
    assert!(found("NHS number 943 476 5918").iter().all(|found| !found.starts_with("UK_NHS")));
}

#[test]
fn checks_agree_with_published_examples() {
    let digits = |text: &str| text.bytes().map(|byte| byte - b'0').collect::<Vec<u8>>();
    assert!(checks::luhn(&digits("79927398713")) && !checks::luhn(&digits("79927398710")));
    assert!(checks::nhs(&digits("9434765919")) && !checks::nhs(&digits("9434765910")));
    assert!(checks::npi(&digits("1234567893")) && !checks::npi(&digits("1234567890")));
    assert!(checks::routing(&digits("021000021")) && !checks::routing(&digits("021000022")));
    assert!(checks::ean13(&digits("9783161484100")) && !checks::ean13(&digits("9783161484101")));
    assert!(!checks::ssn(&digits("219099999")) && checks::itin(&digits("912701234")));
}
