//! The corpora of the fuzz targets, run as tests: what was found once stays found.

#![cfg(test)]

#[path = "../../fuzz/checks/answer_stream.rs"]
mod answer_stream;
#[path = "../../fuzz/checks/finder.rs"]
mod finder;
#[path = "../../fuzz/checks/json.rs"]
mod json;
#[path = "../../fuzz/checks/pack_parser.rs"]
mod pack_parser;
#[path = "../../fuzz/checks/walker.rs"]
mod walker;

use std::{fs, path::Path};

fn each(corpus: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(corpus);
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("the corpus") {
        let path = entry.expect("an entry").path();
        println!("{}", path.display());
        check(&fs::read(path).expect("a readable file"));
        count += 1;
    }
    assert!(count > 0, "an empty corpus shows nothing");
}

#[test]
fn the_corpus_of_streamed_answers_passes() {
    each("answer_stream", answer_stream::check);
}

#[test]
fn the_json_corpus_passes() {
    each("json", json::check);
}

#[test]
fn the_walker_corpus_passes() {
    each("walker", walker::check);
}

#[test]
fn the_pack_corpus_passes() {
    each("pack_parser", pack_parser::check);
}

/// A poor man's fuzzer, for machines without the real one: bytes of the corpus changed, dropped and doubled, the same
/// on every run.
#[test]
fn mutations_of_the_corpora_pass() {
    let rounds = std::env::var("KT_MUTATIONS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(40);
    for (corpus, check) in [
        ("answer_stream", answer_stream::check as fn(&[u8])),
        ("json", json::check),
        ("pack_parser", pack_parser::check),
        ("walker", walker::check),
    ] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(corpus);
        let mut files: Vec<_> =
            fs::read_dir(&folder).expect("the corpus").map(|entry| entry.expect("an entry").path()).collect();
        files.sort();
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for path in files {
            let original = fs::read(&path).expect("a readable file");
            if original.len() > 4096 {
                continue;
            }
            for _ in 0..rounds {
                let mut bytes = original.clone();
                for _ in 0..=random.below(4) {
                    mutate(&mut bytes, &mut random);
                }
                check(&bytes);
            }
        }
    }
}

struct Random(u64);

impl Random {
    /// xorshift
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound.max(1)).expect("small")).expect("small")
    }
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    const PIECES: [&str; 16] = [
        "\"",
        "\\",
        "\\\"",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "needle",
        "\\u006eeedle",
        "1",
        "\\ud83d",
        "é",
        "null",
        "{\\\"needle\\\":1}",
    ];
    let at = random.below(bytes.len() + 1);
    match random.below(4) {
        0 => {
            let piece = PIECES[random.below(PIECES.len())];
            bytes.splice(at..at, piece.bytes());
        }
        1 if at < bytes.len() => {
            bytes.remove(at);
        }
        2 if at < bytes.len() => bytes[at] = PIECES[random.below(PIECES.len())].as_bytes()[0],
        _ => {
            let end = (at + random.below(24)).min(bytes.len());
            let copy = bytes[at..end].to_vec();
            let to = random.below(bytes.len() + 1);
            bytes.splice(to..to, copy);
        }
    }
}
