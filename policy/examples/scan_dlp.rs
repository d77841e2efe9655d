//! Runs the DLP detector with every built-in over JSON Lines and prints what `kt policy scan` prints, for
//! measurements of this detector alone.
//!
//!     scan_dlp data.jsonl > findings.jsonl     one line a record; a summary on stderr
//!     scan_dlp --speed MIB [built-in]          MB/s over benign text, and growth with the number of patterns and terms

#![expect(clippy::print_stdout, reason = "a program that prints")]

mod common;

use std::{error::Error, fmt::Write as _, hint::black_box};

#[expect(clippy::disallowed_types, reason = "measures work, there is no runtime here")]
use std::time::Instant;

use kt_policy::{
    detect::{Detector, Origin, Scratch, Text, dlp::DlpScanner},
    pack::kinds::{BuiltinSelection, DlpFilter, DlpPattern},
    verdict::Mode,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("--speed") => {
            let size = arguments.next().map_or(Ok(8), |size| size.parse())?;
            speed(size, arguments.next().is_some())
        }
        Some(path) => {
            let settings = DlpFilter { builtin: BuiltinSelection::All, ..DlpFilter::default() };
            common::scan(&compile(&settings)?, Origin::User, path)
        }
        None => Err("usage: scan_dlp DATA.jsonl | --speed MIB".into()),
    }
}

fn compile(settings: &DlpFilter) -> Result<DlpScanner, Box<dyn Error>> {
    let (scanner, problems) = DlpScanner::compile(settings);
    scanner.ok_or_else(|| format!("{problems:?}").into())
}

/// Prose, code, logs and JSON without secrets, different in each round.
fn benign(size: usize) -> String {
    let mut text = String::new();
    let mut round = 0_u32;
    while text.len() < size {
        round = round.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let _ = writeln!(
            text,
            "The quarterly report says that sales in region {} rose by {} percent; the team wants to know why the \
             forecast of last month was lower, and whether the trend will hold through the next season.\n\
             def load(path, retries={}):\n    for attempt in range(retries):\n        frame = spark.read.table(path)\n\
             \x20       if frame.count() > 0:\n            return frame.filter(frame.amount > {})\n\
             2026-03-{:02}T08:15:00Z INFO worker-{} finished batch {:08x} in {} ms, see https://docs.example.org/jobs/{}\n\
             {{\"order\": {}, \"customer\": \"c-{}\", \"items\": [{{\"sku\": \"A{}\", \"count\": 2}}], \"paid\": true}}",
            round % 17,
            round % 90,
            round % 7,
            round % 1000,
            round % 28 + 1,
            round % 64,
            round,
            round % 9000,
            round % 50_000,
            round % 100_000,
            round % 7_777,
            round % 3_333,
        );
    }
    text
}

#[expect(
    clippy::disallowed_types,
    clippy::cast_precision_loss,
    reason = "measures work, there is no runtime here"
)]
fn speed(mib: usize, only_built_in: bool) -> Result<(), Box<dyn Error>> {
    let text = benign(mib << 20);
    let chunks: Vec<&str> = pieces(&text, 4096);
    let measure = |name: &str, settings: &DlpFilter| -> Result<f64, Box<dyn Error>> {
        let compiling = Instant::now();
        let scanner = compile(settings)?;
        let compiled = compiling.elapsed();
        let mut scratch = Scratch::default();
        let mut hits = Vec::new();
        let mut best = f64::MAX;
        for _ in 0..5 {
            let start = Instant::now();
            for chunk in &chunks {
                scanner.scan(Text { text: chunk, origin: Origin::User, key: None }, &mut scratch, &mut hits);
            }
            best = best.min(start.elapsed().as_secs_f64());
        }
        let found = black_box(hits.len()) / 5;
        println!(
            "{name:<32} {:>8.1} MB/s  {:>7.2} ms  {found} hits  compiled in {} ms",
            text.len() as f64 / best / 1e6,
            best * 1e3,
            compiled.as_millis(),
        );
        Ok(best)
    };
    let none = DlpFilter::default();
    measure("built-in: all", &DlpFilter { builtin: BuiltinSelection::All, ..none.clone() })?;
    if only_built_in {
        return Ok(());
    }
    let patterns = |count: usize, form: &dyn Fn(usize) -> String| DlpFilter {
        patterns: (0..count)
            .map(|index| DlpPattern {
                name: format!("p{index}"),
                regex: form(index),
                action: None,
                mode: Mode::Enforce,
            })
            .collect(),
        ..none.clone()
    };
    let forms: [(&str, &dyn Fn(usize) -> String); 4] = [
        ("prefix literal", &|index| format!("{}-[a-f0-9]{{8,32}}", word(index))),
        ("word borders, any case", &|index| format!(r"(?i)\b{}-\d{{2,6}}\b", word(index))),
        ("inner literal", &|index| format!(r"[a-z0-9._]+@{}\.example", word(index))),
        ("no literal", &|index| format!(r"[A-Z]{{{}}}\d{{{}}}X", index % 7 + 3, index / 7 % 9 + 4)),
    ];
    for (name, form) in forms {
        let few = measure(&format!("{name}, 10"), &patterns(10, form))?;
        let count = if name == "no literal" { 60 } else { 1000 };
        let many = measure(&format!("{name}, {count}"), &patterns(count, form))?;
        println!("{:<32} {:>8.2}x", "", many / few);
    }
    let terms = |count: usize, fuzzy: bool, distance: u8| DlpFilter {
        blocked_terms: (0..count).map(|index| format!("project {}", word(index))).collect(),
        fuzzy_matching: fuzzy,
        max_distance: distance,
        ..none.clone()
    };
    for (name, fuzzy, distance) in
        [("terms", false, 0), ("terms, 1 mistake", true, 1), ("terms, 2 mistakes", true, 2)]
    {
        let few = measure(&format!("{name}, 10"), &terms(10, fuzzy, distance))?;
        let many = measure(&format!("{name}, 1000"), &terms(1000, fuzzy, distance))?;
        println!("{:<32} {:>8.2}x", "", many / few);
    }
    Ok(())
}

/// A pronounceable word of its own for each number.
fn word(index: usize) -> String {
    let mut word = String::new();
    let mut rest = index.wrapping_mul(2_654_435_761) % 1_000_003 + 10_000;
    while rest > 0 {
        for (letters, radix) in [("bdfgklmnprstvz", 14), ("aeiou", 5)] {
            word.extend(letters.chars().nth(rest % radix));
            rest /= radix;
        }
    }
    word
}

fn pieces(text: &str, size: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut cut = size.min(rest.len());
        while !rest.is_char_boundary(cut) {
            cut -= 1;
        }
        let (piece, others) = rest.split_at(cut);
        pieces.push(piece);
        rest = others;
    }
    pieces
}
