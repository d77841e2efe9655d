//! The splitter of event streams.
#![no_main]

#[path = "../checks/sse_splitter.rs"]
mod sse_splitter;

libfuzzer_sys::fuzz_target!(|input: &[u8]| sse_splitter::check(input));
