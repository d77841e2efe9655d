//! The fuzz target's corpus.

#[path = "../../../fuzz/checks/segment.rs"]
mod segment;

#[test]
fn the_segment_reader_holds_on_its_corpus() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/segment");
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() > 15, "{} inputs", files.len());
    for file in files {
        segment::check(&std::fs::read(file).unwrap());
    }
}
