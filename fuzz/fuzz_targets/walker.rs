//! Requests of every endpoint, judged, masked and rendered.
#![no_main]

#[path = "../checks/finder.rs"]
mod finder;
#[path = "../checks/walker.rs"]
mod walker;

libfuzzer_sys::fuzz_target!(|input: &[u8]| walker::check(input));
