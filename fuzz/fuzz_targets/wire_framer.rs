//! The guard below hyper.
#![no_main]

#[path = "../checks/wire_framer.rs"]
mod wire_framer;

libfuzzer_sys::fuzz_target!(|input: &[u8]| wire_framer::check(input));
