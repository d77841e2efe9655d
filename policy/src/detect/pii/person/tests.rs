use crate::{
    detect::{Detector, Origin, Scratch, Text, pii::PiiScanner},
    pack::kinds::{Entity, EntitySelection, PiiDetector},
};

fn scanner() -> PiiScanner {
    let settings =
        PiiDetector { entities: EntitySelection::Some(Entity::ALL.to_vec()), ..PiiDetector::default() };
    PiiScanner::compile(&settings).0.expect("the settings are valid")
}

/// The names found in `text`.
fn names_under<'a>(text: &'a str, key: Option<&str>) -> Vec<&'a str> {
    let scanner = scanner();
    let mut hits = Vec::new();
    scanner.scan(Text { text, origin: Origin::User, key }, &mut Scratch::default(), &mut hits);
    hits.iter()
        .filter(|hit| &*scanner.rules()[hit.rule as usize].id == "PERSON")
        .map(|hit| text.get(hit.start..hit.end).expect("a span of the text"))
        .collect()
}

fn names(text: &str) -> Vec<&str> {
    names_under(text, None)
}

fn redacted(text: &str) -> String {
    let scanner = scanner();
    let mut hits = Vec::new();
    scanner.scan(Text { text, origin: Origin::User, key: None }, &mut Scratch::default(), &mut hits);
    let mut out = text.to_owned();
    for hit in hits.iter().rev() {
        let mut marker = String::new();
        let matched = text.get(hit.start..hit.end).expect("a span of the text");
        scanner.replace(hit.rule, matched, &mut marker);
        out.replace_range(hit.start..hit.end, &marker);
    }
    out
}

#[test]
fn the_sentence_of_the_demo_is_redacted_whole() {
    assert_eq!(
        redacted(
            "Summarise the call with Maria Schneider (maria.schneider@example.com, +1 415 555 0132) about churn."
        ),
        "Summarise the call with <PERSON> (<EMAIL_ADDRESS>, <PHONE_NUMBER>) about churn."
    );
}

#[test]
fn names_of_many_cultures_are_found() {
    for name in [
        "Maria Schneider",
        "Jean-Pierre Dupont",
        "Siobhan O'Brien",
        "José Luis Rodríguez",
        "Ayşe Yılmaz",
        "Łukasz Wójcik",
        "Ludwig van der Meer",
        "Ana de la Cruz",
        "Chinedu Okafor",
        "Priya Sharma",
        "Kenji Tanaka",
        "Hyun-woo Kim",
        "Ahmed Al-Sayed",
        "John Q. Miller",
    ] {
        let text = format!("We met {name} at the office.");
        assert_eq!(names(&text), [name]);
    }
}

#[test]
fn words_around_make_a_name_of_unknown_words() {
    for (text, name) in [
        ("My name is Xqar Blenvik and I want a refund.", "Xqar Blenvik"),
        ("Dear Mr Blenvik, thank you.", "Blenvik"),
        ("Please ask Dr. Qarvo about it.", "Qarvo"),
        ("user = User(name=\"Xqar Blenvik\")", "Xqar Blenvik"),
        ("name,city\nXqar Blenvik,Rome\n", "Xqar Blenvik"),
    ] {
        assert_eq!(names(text), [name], "{text}");
    }
    assert_eq!(names_under("Xqar Blenvik", Some("customer_name")), ["Xqar Blenvik"]);
}

#[test]
fn names_in_other_scripts_are_found() {
    assert_eq!(names("Свяжитесь с клиентом Иванов Пётр Сергеевич по телефону."), ["Иванов Пётр Сергеевич"]);
    assert_eq!(names("请联系王小明,谢谢。"), ["王小明"]);
    assert_eq!(names("田中 太郎さんにご連絡ください。"), ["田中 太郎"]);
    assert_eq!(names("김민수님께 연락하세요"), ["김민수"]);
}

#[test]
fn names_in_odd_case_and_order_are_found() {
    assert_eq!(names("we spoke with maria schneider yesterday"), ["maria schneider"]);
    assert_eq!(names("Ticket opened by MARIA SCHNEIDER."), ["MARIA SCHNEIDER"]);
    assert_eq!(names("Patient Schneider, Maria was seen."), ["Schneider, Maria"]);
    assert_eq!(names("Please call J. Schneider back."), ["J. Schneider"]);
}

#[test]
fn disguised_names_keep_their_offsets() {
    assert_eq!(names("call with Ma\u{200b}ria Schnei\u{ad}der today"), ["Ma\u{200b}ria Schnei\u{ad}der"]);
    assert_eq!(names("call with Maria\u{a0}Schneider today"), ["Maria\u{a0}Schneider"]);
}

#[test]
fn places_firms_and_terms_are_no_names() {
    for text in [
        "Plan a trip from San Francisco to Santa Barbara.",
        "How far is Victoria Falls from the capital of Jordan?",
        "Explain the Turing test and Bayes rule.",
        "The Morgan Stanley connector fails on Windows Server.",
        "Compare Johnson & Johnson with Procter & Gamble.",
        "Write a haiku about Paris in April.",
        "Will the build pass in May? Mark it as done.",
        "SELECT count(*) FROM catalog.schema.table;",
        "Python and Ruby run on Linux.",
    ] {
        assert_eq!(names(text), Vec::<&str>::new(), "{text}");
    }
}

#[test]
fn lists_are_folded_and_without_doubles() {
    for list in [
        include_str!("../data/given.txt"),
        include_str!("../data/family.txt"),
        include_str!("../data/words.txt"),
        include_str!("../data/given_cyrillic.txt"),
    ] {
        let words: Vec<&str> =
            list.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace).collect();
        assert!(words.is_sorted_by(|a, b| a < b));
        for word in words {
            let mut folded = String::new();
            super::lexicon::fold(word, &mut folded);
            assert_eq!(folded, word);
        }
    }
}

proptest::proptest! {
    #[test]
    fn any_text_gives_sorted_spans_on_character_borders(
        text in "([A-Z][a-z]{1,5}|[a-z' .,:=|\n\"<@-]|[А-Яа-я]|[王李田中\u{200b}\u{301}김]| van | name=|Maria ){0,60}"
    ) {
        let scanner = scanner();
        let mut hits = Vec::new();
        scanner.scan(Text { text: &text, origin: Origin::User, key: None }, &mut Scratch::default(), &mut hits);
        for hit in &hits {
            proptest::prop_assert!(hit.start < hit.end && text.get(hit.start..hit.end).is_some());
        }
        proptest::prop_assert!(hits.is_sorted_by_key(|hit| hit.start));
    }
}
