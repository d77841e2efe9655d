//! One detector over JSON Lines, printed as `kt policy scan` prints: for measuring the detector alone.

use std::{
    error::Error,
    fs,
    io::{self, BufWriter, Write as _},
};

#[expect(clippy::disallowed_types, reason = "measures work, there is no runtime here")]
use std::time::Instant;

use kt_policy::{
    detect::{Detector, Origin, Scratch, Text},
    verdict::Verdict,
};
use serde_json::{Map, Value, json};

/// Scans each record (`id`, `text`) of a file as a text of `origin`: a line a record on stdout, a summary on stderr.
#[expect(clippy::disallowed_types, reason = "measures work, there is no runtime here")]
pub(crate) fn scan(detector: &dyn Detector, origin: Origin, path: &str) -> Result<(), Box<dyn Error>> {
    let policy = detector.kind().as_str();
    let data = fs::read_to_string(path)?;
    let mut scratch = Scratch::default();
    let mut hits = Vec::new();
    let (mut records, mut bytes) = (0_usize, 0_usize);
    let mut out = BufWriter::new(io::stdout().lock());
    let start = Instant::now();
    for line in data.lines().filter(|line| !line.trim().is_empty()) {
        let record: Value = serde_json::from_str(line)?;
        let id = record.get("id").and_then(Value::as_str).ok_or("a record without id")?;
        let text = record.get("text").and_then(Value::as_str).ok_or("a record without text")?;
        records += 1;
        bytes += text.len();
        hits.clear();
        let before = Instant::now();
        let score = detector.scan(Text { text, origin, key: None }, &mut scratch, &mut hits);
        let took = before.elapsed().as_micros();
        let mut findings = Vec::new();
        let mut decision = Verdict::Allow;
        for hit in &hits {
            let rule = detector.rules().get(hit.rule as usize).ok_or("a hit without a rule")?;
            let points = |end: usize| text.get(..end).map(|part| part.chars().count());
            decision = decision.max(rule.verdict);
            findings.push(json!({
                "policy": policy,
                "entity": rule.entity.as_deref().unwrap_or(&rule.id),
                "start": points(hit.start),
                "end": points(hit.end),
                "score": hit.score,
            }));
        }
        let scores: Map<String, Value> =
            score.map(|score| (policy.to_owned(), json!(score))).into_iter().collect();
        let record = json!({
            "id": id, "decision": decision.as_str(), "findings": findings, "scores": scores, "took_us": took,
        });
        writeln!(out, "{record}")?;
    }
    out.flush()?;
    let elapsed = start.elapsed().as_millis();
    writeln!(io::stderr(), "{}", json!({"records": records, "bytes": bytes, "elapsed_ms": elapsed}))?;
    Ok(())
}
