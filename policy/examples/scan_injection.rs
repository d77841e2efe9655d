//! Scans JSON Lines (`id`, `text`) with `prompt-injection` at its defaults and prints one JSON object a record, in the
//! form that `kt policy scan` prints: for measuring the detector alone.
//!
//! usage: scan_injection FILE.jsonl [user|data|operator] > predictions.jsonl

mod common;

use std::error::Error;

use kt_policy::{
    detect::{Origin, injection::InjectionDetector},
    pack::kinds::PromptInjection,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: scan_injection FILE.jsonl [user|data|operator]")?;
    let origin = match arguments.next().as_deref() {
        Some("data") => Origin::Data,
        Some("operator") => Origin::Operator,
        _ => Origin::User,
    };
    let (detector, problems) = InjectionDetector::compile(&PromptInjection::default());
    let detector = detector.ok_or_else(|| format!("{problems:?}"))?;
    common::scan(&detector, origin, &path)
}
