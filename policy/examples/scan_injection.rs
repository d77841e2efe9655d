//! Scans JSON Lines (`id`, `text`) with `prompt-injection` at its defaults and prints one JSON object a record, in the
//! form that `kt policy scan` prints: for measuring the detector alone.
//!
//! usage: scan_injection FILE.jsonl [user|data|operator] > predictions.jsonl

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write},
    process::ExitCode,
};

use kt_policy::{
    detect::{Detector, Origin, Scratch, Text, injection::InjectionDetector},
    pack::kinds::PromptInjection,
};

#[derive(serde::Deserialize)]
struct Record {
    id: String,
    text: String,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let path =
        arguments.next().ok_or_else(|| io::Error::other("usage: scan_injection FILE.jsonl [origin]"))?;
    let origin = match arguments.next().as_deref() {
        Some("data") => Origin::Data,
        Some("operator") => Origin::Operator,
        _ => Origin::User,
    };
    let (detector, problems) = InjectionDetector::compile(&PromptInjection::default());
    let detector = detector.ok_or_else(|| io::Error::other(format!("{problems:?}")))?;
    let mut scratch = Scratch::default();
    let mut hits = Vec::new();
    let mut out = BufWriter::new(io::stdout().lock());
    let (mut bytes, mut total) = (0_usize, 0_u128);
    for line in BufReader::new(File::open(path)?).lines() {
        let record: Record = serde_json::from_str(&line?).map_err(io::Error::other)?;
        hits.clear();
        #[expect(clippy::disallowed_types, reason = "measures work, there is no runtime here")]
        let begin = std::time::Instant::now();
        let text = Text { text: &record.text, origin, key: None };
        let score = detector.scan(text, &mut scratch, &mut hits).unwrap_or(0.0);
        let took = begin.elapsed();
        bytes += record.text.len();
        total += took.as_nanos();
        let points = |at: usize| record.text.get(..at).map_or(0, |head| head.chars().count());
        let findings: Vec<_> = hits
            .iter()
            .map(|hit| {
                let rule = detector.rules().get(hit.rule as usize).map_or("", |rule| &*rule.id);
                serde_json::json!({
                    "policy": "prompt-injection", "entity": rule, "score": hit.score,
                    "start": points(hit.start), "end": points(hit.end),
                })
            })
            .collect();
        let decision = if findings.is_empty() { "allow" } else { "block" };
        let record = serde_json::json!({
            "id": record.id, "decision": decision, "findings": findings,
            "scores": {"prompt-injection": score}, "took_us": took.as_micros(),
        });
        writeln!(out, "{record}")?;
    }
    out.flush()?;
    writeln!(io::stderr(), "{{\"bytes\":{bytes},\"took_us\":{}}}", total / 1000)
}
