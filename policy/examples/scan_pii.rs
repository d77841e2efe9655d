//! Runs the PII detector with every entity type over JSON Lines and prints what `kt policy scan` prints, for
//! measurements of this detector alone.
//!
//!     scan_pii data.jsonl > findings.jsonl     one line a record; a summary on stderr
//!     scan_pii --speed                         microseconds for texts of 1 KB, and growth on hostile ones

#![expect(clippy::print_stdout, reason = "a program that prints")]

mod common;

use std::{error::Error, hint::black_box};

#[expect(clippy::disallowed_types, reason = "measures work, there is no runtime here")]
use std::time::Instant;

use kt_policy::{
    detect::{Detector, Origin, Scratch, Text, pii::PiiScanner},
    pack::kinds::{EntitySelection, PiiDetector},
};

fn main() -> Result<(), Box<dyn Error>> {
    let settings = PiiDetector { entities: EntitySelection::All, ..PiiDetector::default() };
    let (scanner, problems) = PiiScanner::compile(&settings);
    let scanner = scanner.ok_or_else(|| format!("{problems:?}"))?;
    match std::env::args().nth(1).as_deref() {
        Some("--speed") => speed(&scanner),
        Some(path) => common::scan(&scanner, Origin::User, path)?,
        None => return Err("usage: scan_pii DATA.jsonl | --speed".into()),
    }
    Ok(())
}

/// Ordinary texts of 1 KB, and what is meant to be slow.
fn texts() -> Vec<(&'static str, String)> {
    let fill = |piece: &str| piece.chars().cycle().take(1024).collect::<String>();
    vec![
        (
            "prose",
            fill(
                "The quarterly report says that sales rose in most regions; the team in Lisbon wants to know why the \
                 forecast was lower, and whether the trend will hold. Please compare the two tables and explain the \
                 difference in a few sentences that a new colleague could follow without the dashboard. ",
            ),
        ),
        (
            "code",
            fill(
                "def load(path, retries=3):\n    for attempt in range(retries):\n        frame = \
                 spark.read.table(path)\n        if frame.count() > 0:\n            return frame.filter(frame.amount > \
                 100)\n",
            ),
        ),
        (
            "records",
            fill(
                "{\"customer\": {\"name\": \"Greta Lindholm\", \"mail\": \"g.lindholm@example.org\", \"phone\": \
                 \"+46 70 123 45 67\", \"card\": \"4111 1111 1111 1111\", \"ip\": \"203.0.113.9\"}},\n",
            ),
        ),
        ("digits", fill("1")),
        ("spread digits", fill("1 ")),
        ("groups of digits", fill("0411-")),
        ("card-like", fill("4111 1111 1111 1112 ")),
        ("at signs", fill("@")),
        ("at signs in words", fill("a@")),
        ("dots", fill("a.")),
        ("colons", fill("1:")),
        ("slashes", fill("a.com/")),
        ("schemes", fill("http://a")),
        ("capitals", fill("Anna ")),
        ("initials", fill("A. ")),
        ("commas", fill("Anna, ")),
        ("Cyrillic in Latin", fill("a\u{430}")),
        ("Han", fill("\u{5f20}\u{4f1f}")),
        ("zero width", fill("4\u{200b}")),
        ("escapes", fill("%40")),
        ("IBAN-like", fill("DE89 3704 0044 0532 0130 01 ")),
        ("accounts", fill("account 1234567 ")),
        ("passports", fill("passport ")),
        ("at words", fill("a at b dot ")),
    ]
}

#[expect(
    clippy::disallowed_types,
    clippy::cast_precision_loss,
    reason = "measures work, there is no runtime here"
)]
fn speed(scanner: &PiiScanner) {
    let mut scratch = Scratch::default();
    let mut measure = |text: &str, rounds: u32| {
        let mut best = f64::MAX;
        let mut hits = Vec::new();
        for _ in 0..5 {
            let start = Instant::now();
            for _ in 0..rounds {
                hits.clear();
                scanner.scan(Text { text, origin: Origin::User, key: None }, &mut scratch, &mut hits);
            }
            best = best.min(start.elapsed().as_secs_f64() * 1e6 / f64::from(rounds));
        }
        (best, black_box(hits.len()))
    };
    println!("{:<20} {:>10} {:>8} {:>22}", "1 KB of", "us", "hits", "us a KB of 256 KB");
    for (name, text) in texts() {
        let kilobytes = text.len() as f64 / 1024.0;
        let (small, hits) = measure(&text, 200);
        let large = text.repeat(256);
        let (long, _) = measure(&large, 1);
        println!("{name:<20} {:>10.1} {hits:>8} {:>22.1}", small / kilobytes, long / 256.0 / kilobytes);
    }
}
