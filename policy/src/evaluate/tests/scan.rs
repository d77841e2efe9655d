//! Plain text through the content policies of a chain.

use super::*;

fn scan(pack: &CompiledPack, text: &str) -> TextScan {
    pack.scan_text(text, &mut Workspace::default())
}

fn spans(scan: &TextScan) -> Vec<(&str, usize, usize)> {
    scan.findings.iter().map(|finding| (&*finding.entity, finding.start, finding.end)).collect()
}

fn scored(id: &str, word: &str, score: f32) -> Words {
    Words::new(PolicyKind::PiiDetector).rule(id, word, Verdict::Redact, Mode::Enforce, score)
}

#[test]
fn the_decision_is_the_strongest_of_all_policies_and_every_policy_runs() {
    let pack = pack(vec![
        Words::new(PolicyKind::DlpFilter).word("key", "k3y", Verdict::Block).entry(),
        audit(),
        Words::new(PolicyKind::PiiDetector).word("PERSON", "Jo", Verdict::Redact).entry(),
        Words::new(PolicyKind::PromptInjection).word("x", "ignore", Verdict::Block).scored().entry(),
    ]);
    let both = scan(&pack, "é Jo: k3y");
    assert_eq!(both.decision, Verdict::Block);
    assert_eq!(spans(&both), [("PERSON", 2, 4), ("key", 6, 9)]);
    assert_eq!(both.scores, [(PolicyKind::PromptInjection, 0.25)]);
    assert_eq!(scan(&pack, "Jo").decision, Verdict::Redact);
    assert_eq!(scan(&pack, "").decision, Verdict::Allow);
}

#[test]
fn what_observes_is_listed_and_does_not_decide() {
    let mut pack = pack(vec![Words::new(PolicyKind::DlpFilter).word("key", "k3y", Verdict::Block).entry()]);
    pack.chain[0].mode = Mode::Observe;
    let scan = scan(&pack, "k3y");
    assert_eq!(scan.decision, Verdict::Allow);
    assert_eq!(scan.findings[0].effect, Effect::Observed);
}

#[test]
fn a_finding_inside_a_stronger_one_of_another_type_is_dropped() {
    let mail = scored("EMAIL", "jo@x.com", 0.9);
    let inside = pack(vec![mail.clone().rule("URL", "x.com", Verdict::Redact, Mode::Enforce, 0.5).entry()]);
    assert_eq!(spans(&scan(&inside, "to jo@x.com")), [("EMAIL", 3, 11)]);
    // No stronger: both stay (a token inside a connection string).
    let equal = pack(vec![mail.clone().rule("URL", "x.com", Verdict::Redact, Mode::Enforce, 0.9).entry()]);
    assert_eq!(spans(&scan(&equal, "to jo@x.com")), [("EMAIL", 3, 11), ("URL", 6, 11)]);
    // A block is stronger than a redaction.
    let blocked = pack(vec![mail.rule("URL", "x.com", Verdict::Block, Mode::Enforce, 0.1).entry()]);
    assert_eq!(spans(&scan(&blocked, "to jo@x.com")), [("EMAIL", 3, 11), ("URL", 6, 11)]);
}

#[test]
fn of_equals_over_the_same_span_the_earlier_in_the_chain_stays() {
    let one = scored("A", "word", 0.5);
    let two = Words::new(PolicyKind::DlpFilter).rule("B", "word", Verdict::Redact, Mode::Enforce, 0.5);
    assert_eq!(spans(&scan(&pack(vec![one.clone().entry(), two.clone().entry()]), "word")), [("A", 0, 4)]);
    assert_eq!(spans(&scan(&pack(vec![two.entry(), one.clone().entry()]), "word")), [("B", 0, 4)]);
    let stronger = Words::new(PolicyKind::DlpFilter).rule("B", "word", Verdict::Redact, Mode::Enforce, 0.6);
    assert_eq!(spans(&scan(&pack(vec![one.entry(), stronger.entry()]), "word")), [("B", 0, 4)]);
}

#[test]
fn a_text_that_is_json_is_scanned_by_leaf_too_and_counted_once() {
    let pack = pack(vec![scored("NAME", "Jo", 0.5).entry()]);
    assert_eq!(spans(&scan(&pack, r#"{"a":"Jo","b":"\u004ao"}"#)), [("NAME", 6, 8), ("NAME", 15, 22)]);
}

#[test]
fn pieces_give_what_the_whole_gives_wherever_they_are_cut() {
    let pack = pack(vec![scored("NAME", "Jo Smith", 0.5).entry()]);
    let text = "😀 dear Jo Smith, é";
    let whole = scan(&pack, text);
    assert_eq!(whole.findings.len(), 1);
    for (cut, _) in text.char_indices() {
        let mut feed = TextFeed::new();
        let (one, two) = text.split_at(cut);
        feed.push(one);
        feed.push(two);
        assert_eq!(feed.finish(&pack, &mut Workspace::default()), whole);
    }
}
