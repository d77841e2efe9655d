//! The corpora of the fuzz targets, run as tests: what was found once stays found.

#![cfg(test)]

#[path = "../../fuzz/checks/sse_splitter.rs"]
mod sse_splitter;
#[path = "../../fuzz/checks/wire_framer.rs"]
mod wire_framer;

use std::{fs, path::Path};

use proptest::{prelude::*, test_runner::Config};

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 15, "{} inputs", files.len());
    files.into_iter().map(|file| fs::read(file).unwrap()).collect()
}

#[test]
fn the_splitter_holds_on_its_corpus() {
    corpus("sse_splitter").iter().for_each(|input| sse_splitter::check(input));
}

#[test]
fn the_framer_holds_on_its_corpus() {
    corpus("wire_framer").iter().for_each(|input| wire_framer::check(input));
}

/// Two inputs of a corpus, cut and joined, with bytes changed.
fn mutated(name: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let inputs = corpus(name);
    let piece = || (prop::sample::select(inputs.clone()), any::<prop::sample::Index>());
    let changes = prop::collection::vec(
        (any::<prop::sample::Index>(), prop::sample::select(b"\r\n: 01;,dAx\x00\xc3".to_vec())),
        0..4,
    );
    (piece(), piece(), changes).prop_map(|((first, at), (second, from), changes)| {
        let mut bytes = first[..at.index(first.len() + 1)].to_vec();
        bytes.extend_from_slice(&second[from.index(second.len() + 1)..]);
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(Config { cases: 2000, ..Config::default() })]

    #[test]
    fn the_splitter_holds_on_mutations_of_its_corpus(input in mutated("sse_splitter")) {
        sse_splitter::check(&input);
    }

    #[test]
    fn the_framer_holds_on_mutations_of_its_corpus(input in mutated("wire_framer")) {
        wire_framer::check(&input);
    }
}
