//! What `prompt-injection` finds of texts that its model has not learnt from, and that it finds the same everywhere.
//!
//! `training/held-back/injection.jsonl` is made by `kt-train injection-texts --held-back --seed 23 --texts 1200`.

use std::{fmt::Write as _, fs, path::Path};

use kt_policy::{
    detect::{Detector as _, Origin, Scratch, Text, injection::InjectionDetector},
    pack::kinds::PromptInjection,
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

struct Judged {
    id: String,
    attack: bool,
    score: f32,
    /// The rules of the findings, with their places in bytes.
    findings: Vec<String>,
}

fn held_back() -> Vec<Judged> {
    let (detector, problems) = InjectionDetector::compile(&PromptInjection::default());
    let detector = detector.unwrap_or_else(|| panic!("{problems:?}"));
    let mut scratch = Scratch::default();
    let data = fs::read_to_string(repository().join("training/held-back/injection.jsonl")).unwrap();
    let judge = |line: &str| {
        let record: Value = serde_json::from_str(line).unwrap();
        let mut hits = Vec::new();
        let text = Text { text: record["text"].as_str().unwrap(), origin: Origin::User, key: None };
        let score = detector.scan(text, &mut scratch, &mut hits).unwrap();
        let name = |rule: u32| &detector.rules()[rule as usize].id;
        Judged {
            id: record["id"].as_str().unwrap().to_owned(),
            attack: record["label"] == 1,
            score,
            findings: hits
                .iter()
                .map(|hit| format!("{}@{}..{}", name(hit.rule), hit.start, hit.end))
                .collect(),
        }
    };
    data.lines().map(judge).collect()
}

/// The figures are in docs/models/injection.md; the limits lie a little below them.
#[test]
fn texts_of_other_words_are_told_apart_as_well_as_the_model_card_says() {
    let judged = held_back();
    let share = |attack: bool| {
        let of_kind = || judged.iter().filter(|text| text.attack == attack);
        f64::from(u32::try_from(of_kind().filter(|text| text.score >= 0.5).count()).unwrap())
            / f64::from(u32::try_from(of_kind().count()).unwrap())
    };
    let (recall, false_positives) = (share(true), share(false));
    assert!(recall >= RECALL, "recall {recall:.3}");
    assert!(false_positives <= FALSE_POSITIVES, "false positives {false_positives:.3}");
}

const RECALL: f64 = 0.80;
const FALSE_POSITIVES: f64 = 0.07;

#[test]
fn verdicts_are_the_same_on_every_machine() {
    let mut verdicts = String::new();
    for text in held_back().iter().take(120) {
        writeln!(verdicts, "{} {:.6} {}", text.id, text.score, text.findings.join(" ")).unwrap();
    }
    insta::assert_snapshot!(verdicts);
}

#[test]
fn the_model_card_names_the_model() {
    let model = fs::read(repository().join("policy/src/detect/injection/model/injection.bin")).unwrap();
    let digest = hex::encode(Sha256::digest(&model));
    let card = fs::read_to_string(repository().join("docs/models/injection.md")).unwrap();
    assert!(card.contains(&digest), "docs/models/injection.md does not name {digest}");
}
