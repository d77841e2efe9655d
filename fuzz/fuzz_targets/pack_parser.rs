//! Packs, from their bytes to their findings.
#![no_main]

#[path = "../checks/pack_parser.rs"]
mod pack_parser;

libfuzzer_sys::fuzz_target!(|input: &[u8]| pack_parser::check(input));
