use super::*;

fn blocked(terms: &[&str], distance: u8) -> DlpScanner {
    scanner(&DlpFilter {
        blocked_terms: terms.iter().map(|&term| term.to_owned()).collect(),
        fuzzy_matching: distance > 0,
        max_distance: distance,
        ..DlpFilter::default()
    })
}

fn texts<'a>(scanner: &DlpScanner, text: &'a str) -> Vec<&'a str> {
    found(scanner, text).into_iter().map(|(_, text)| text).collect()
}

#[test]
fn terms_are_found_as_whole_words_in_any_case() {
    let terms = blocked(&["Titan", "project x", "Straße", "ΣΊΣΥΦΟΣ", "C++", "#secret"], 0);
    assert_eq!(texts(&terms, "TITAN titans titan's subtitan titan_x (titan)"), ["TITAN", "titan", "titan"]);
    assert_eq!(
        texts(&terms, "Project X, project  x, project\n\tX, projectx"),
        ["Project X", "project  x", "project\n\tX",]
    );
    assert_eq!(texts(&terms, "STRAẞE straße Straßenbahn"), ["STRAẞE", "straße"]);
    assert_eq!(texts(&terms, "σίσυφος Σίσυφος"), ["σίσυφος", "Σίσυφος"]);
    assert_eq!(texts(&terms, "C++ c++11 (C++)"), ["C++", "c++", "C++"]);
    assert_eq!(texts(&terms, "x#secret #SECRETS"), ["#secret"]);
    assert_eq!(redacted(&terms, "about Titan and more"), "about <BLOCKED_TERM> and more");
}

#[test]
fn terms_of_scripts_without_spaces_are_found_inside_of_sentences() {
    assert_eq!(texts(&blocked(&["機密計画"], 0), "これは機密計画です。"), ["機密計画"]);
}

#[test]
fn invisible_characters_do_not_hide_a_term() {
    assert_eq!(texts(&blocked(&["titan"], 0), "the ti\u{200b}tan plan"), ["ti\u{200b}tan"]);
}

#[test]
fn mistakes_are_forgiven_up_to_the_distance() {
    let one = blocked(&["titan", "project falcon"], 1);
    assert_eq!(
        texts(&one, "titan titen tittan tian ttan xtitan"),
        ["titan", "titen", "tittan", "tian", "ttan", "xtitan"]
    );
    assert_eq!(texts(&one, "tixxn titanic tin"), [""; 0]);
    assert_eq!(
        texts(&one, "Project Falcom, projekt falcon, projectfalcon, pro ject falcon"),
        ["Project Falcom", "projekt falcon", "projectfalcon", "pro ject falcon",]
    );
    let hits = scan(&one, "titen", None);
    assert!((hits[0].score - 0.8).abs() < 1e-6, "{hits:?}");
    let two = blocked(&["Überwachung"], 2);
    assert_eq!(
        texts(&two, "die überwachnug UBERWACHUNG berwachun"),
        ["überwachnug", "UBERWACHUNG", "berwachun"]
    );
}

#[test]
fn the_nearest_of_overlapping_windows_is_reported() {
    let two = blocked(&["alpha beta"], 2);
    assert_eq!(texts(&two, "x alpha beta y"), ["alpha beta"]);
    assert_eq!(texts(&two, "x alpho beta y"), ["alpho beta"]);
}

#[test]
fn thousands_of_terms_work() {
    let terms: Vec<String> = (0..5_000).map(|n| format!("codename{n:05}")).collect();
    let refs: Vec<&str> = terms.iter().map(String::as_str).collect();
    assert_eq!(texts(&blocked(&refs, 0), "codename04999 codename05000"), ["codename04999"]);
}

proptest! {
    #[test]
    fn fuzzy_terms_are_what_measuring_every_window_finds(
        term in "[abc]{5,8}( [abc]{2,4})?",
        words in proptest::collection::vec("[abc]{1,9}", 1..8),
        distance in 1_u8..3,
    ) {
        let text = words.join(" ");
        let fuzzy = blocked(&[&term], distance);
        let hits = scan(&fuzzy, &text, None);
        let count = term.split(' ').count();
        let mut expected = false;
        for len in count.saturating_sub(1).max(1)..=count + 1 {
            for window in words.windows(len) {
                expected |= strsim::levenshtein(&window.join(" "), &term) <= usize::from(distance);
            }
        }
        prop_assert_eq!(!hits.is_empty(), expected, "{:?} in {:?}: {:?}", term, text, hits);
        for hit in hits {
            let near = strsim::levenshtein(&text[hit.start..hit.end], &term);
            prop_assert!(near <= usize::from(distance));
        }
    }

    #[test]
    fn exact_terms_are_what_a_search_by_words_finds(
        words in proptest::collection::vec("(titan|Titan|titans|x|é)", 0..8),
        gap in "( |, |-)",
    ) {
        let text = words.join(&gap);
        let hits = scan(&blocked(&["titan"], 0), &text, None).len();
        let expected = words.iter().filter(|word| word.eq_ignore_ascii_case("titan")).count();
        prop_assert_eq!(hits, expected);
    }
}
