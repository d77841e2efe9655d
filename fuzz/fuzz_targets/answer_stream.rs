//! Answers that come in pieces, judged and masked while they pass.
#![no_main]

#[path = "../checks/answer_stream.rs"]
mod answer_stream;
#[path = "../checks/finder.rs"]
mod finder;

libfuzzer_sys::fuzz_target!(|input: &[u8]| answer_stream::check(input));
