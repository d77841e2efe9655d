//! `kt policy scan`: the content policies of a pack over texts, a line of JSON for each.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Write as _},
    ops::Range,
    path::PathBuf,
    sync::{Arc, mpsc},
    thread,
};

use kt_policy::{
    compiled::CompiledPack,
    evaluate::{TextFeed, TextScan, Workspace},
};
use serde::{Deserialize, Serialize};

use super::pack_file;
use crate::exit::{CliError, Exit};

/// Runs the content policies of a pack over texts.
///
/// Reads JSON Lines with `id`, `text` and, for `--chunked`, `chunks` (cut positions in code points). Prints a line for
/// each in the order of the input; a summary is the last line on stderr.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The pack.
    #[arg(long, value_name = "FILE")]
    policy_config: PathBuf,

    /// The texts; `-` is stdin.
    #[arg(long, value_name = "FILE", default_value = "-")]
    input: PathBuf,

    /// Feeds each text in pieces cut at `chunks`.
    #[arg(long)]
    chunked: bool,

    /// Adds to each line what the findings rest on and what each policy cost: `reasons`, with rule, place, weight and the
    /// words that weighed most, and `cost_us`, explaining included. It repeats words of the text.
    #[arg(long)]
    explain: bool,

    /// Texts that are scanned at the same time.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
}

#[derive(Deserialize)]
struct Input {
    id: serde_json::Value,
    text: String,
    #[serde(default)]
    chunks: Vec<usize>,
}

#[derive(Serialize)]
struct Output<'a> {
    id: &'a serde_json::Value,
    decision: &'a str,
    findings: Vec<Finding<'a>>,
    scores: serde_json::Map<String, serde_json::Value>,
    took_us: u128,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasons: Option<Vec<Reason>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_us: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Serialize)]
struct Reason {
    policy: &'static str,
    rule: Arc<str>,
    start: usize,
    end: usize,
    weight: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    words: Vec<String>,
}

#[derive(Serialize)]
struct Finding<'a> {
    policy: &'a str,
    entity: &'a str,
    start: usize,
    end: usize,
    score: f64,
}

#[derive(Serialize)]
struct Summary {
    records: u64,
    bytes: u64,
    elapsed_ms: u128,
}

/// What is wrong with the input.
type Bad = CliError;

/// Scans everything.
#[expect(clippy::disallowed_types, reason = "measures work off the runtime")]
pub(crate) fn run(args: &Args) -> Result<Exit, CliError> {
    let pack = pack_file::compile(&args.policy_config)?;
    let input: Box<dyn io::Read + Send> = if args.input.as_os_str() == "-" {
        Box::new(io::stdin())
    } else {
        let file = File::open(&args.input)
            .map_err(|error| CliError::usage(format!("can't read `{}`: {error}", args.input.display())))?;
        Box::new(file)
    };
    let started = std::time::Instant::now();
    let mut summary = scan_all(&pack, args, BufReader::new(input))?;
    summary.elapsed_ms = started.elapsed().as_millis();
    let line = serde_json::to_string(&summary)
        .map_err(|error| CliError::failure(format!("can't write the summary: {error}")))?;
    writeln!(anstream::stderr().lock(), "{line}")?;
    Ok(Exit::Success)
}

/// Each worker takes lines in turn and has a short queue of its own, so that results come back in the order of the
/// input and memory stays bounded.
fn scan_all(
    pack: &CompiledPack,
    args: &Args,
    input: BufReader<Box<dyn io::Read + Send>>,
) -> Result<Summary, Bad> {
    let jobs = usize::from(args.jobs);
    thread::scope(|scope| {
        let mut to_workers = Vec::with_capacity(jobs);
        let mut from_workers = Vec::with_capacity(jobs);
        for _ in 0..jobs {
            let (lines, todo) = mpsc::sync_channel::<(u64, String)>(64);
            let (done, results) = mpsc::sync_channel::<Result<(String, usize), Bad>>(64);
            to_workers.push(lines);
            from_workers.push(results);
            scope.spawn(move || {
                let mut work = Workspace::default();
                for (number, line) in todo {
                    // The receiver ends early only when the run failed.
                    if done.send(scan_line(pack, args, number, &line, &mut work)).is_err() {
                        return;
                    }
                }
            });
        }
        let reader = scope.spawn(move || -> Result<(), Bad> {
            let mut workers = to_workers.iter().cycle();
            for (number, line) in (1_u64..).zip(input.lines()) {
                let line =
                    line.map_err(|error| CliError::usage(format!("can't read line {number}: {error}")))?;
                if line.trim().is_empty() {
                    continue;
                }
                if workers.next().is_none_or(|worker| worker.send((number, line)).is_err()) {
                    return Ok(());
                }
            }
            Ok(())
        });
        let mut out = io::BufWriter::new(io::stdout().lock());
        let mut summary = Summary { records: 0, bytes: 0, elapsed_ms: 0 };
        // Round robin as the lines were given out: the first worker without a result is the end.
        for results in from_workers.iter().cycle() {
            let Ok(result) = results.recv() else { break };
            let (line, bytes) = result?;
            writeln!(out, "{line}")?;
            summary.records += 1;
            summary.bytes += bytes as u64;
        }
        out.flush()?;
        drop(from_workers);
        reader.join().map_err(|_| CliError::failure("the reader of the input failed"))??;
        Ok(summary)
    })
}

#[expect(clippy::disallowed_types, reason = "measures work off the runtime")]
fn scan_line(
    pack: &CompiledPack,
    args: &Args,
    number: u64,
    line: &str,
    work: &mut Workspace,
) -> Result<(String, usize), Bad> {
    let bad = |what: String| CliError::usage(format!("line {number} of the input: {what}"));
    let input: Input = serde_json::from_str(line).map_err(|error| bad(error.to_string()))?;
    let started = std::time::Instant::now();
    let scan = if args.chunked {
        let mut feed = TextFeed::new();
        for piece in pieces(&input.text, &input.chunks) {
            feed.push(piece);
        }
        feed.finish(pack, work)
    } else {
        pack.scan_text(&input.text, work)
    };
    let took_us = started.elapsed().as_micros();
    let mut output = output(&input, &scan, took_us);
    if args.explain {
        let (reasons, cost) = explain(pack, &input.text, work);
        output.reasons = Some(reasons);
        output.cost_us = Some(cost);
    }
    let output = serde_json::to_string(&output).map_err(|error| bad(error.to_string()))?;
    Ok((output, input.text.len()))
}

fn output<'a>(input: &'a Input, scan: &'a TextScan, took_us: u128) -> Output<'a> {
    let findings = scan
        .findings
        .iter()
        .map(|finding| Finding {
            policy: finding.policy.as_str(),
            entity: &finding.entity,
            start: finding.start,
            end: finding.end,
            score: rounded(finding.score),
        })
        .collect();
    let scores =
        scan.scores.iter().map(|(policy, score)| (policy.to_string(), rounded(*score).into())).collect();
    Output {
        id: &input.id,
        decision: scan.decision.as_str(),
        findings,
        scores,
        took_us,
        reasons: None,
        cost_us: None,
    }
}

/// What each policy sees in a text, and the microseconds of its scan and explanation.
#[expect(clippy::disallowed_types, reason = "measures work off the runtime")]
fn explain(
    pack: &CompiledPack,
    text: &str,
    work: &mut Workspace,
) -> (Vec<Reason>, serde_json::Map<String, serde_json::Value>) {
    let (mut reasons, mut cost) = (Vec::new(), serde_json::Map::new());
    let characters: Vec<char> = text.chars().collect();
    let word = |place: &Range<usize>| characters.get(place.clone()).unwrap_or_default().iter().collect();
    for (index, policy) in pack.content_policies() {
        let started = std::time::Instant::now();
        let seen = pack.explain_text(index, text, work);
        let took = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        cost.insert(policy.to_string(), took.into());
        reasons.extend(seen.into_iter().map(|reason| Reason {
            policy: policy.as_str(),
            rule: reason.rule,
            start: reason.place.start,
            end: reason.place.end,
            weight: rounded(reason.weight),
            words: reason.words.iter().map(word).collect(),
        }));
    }
    (reasons, cost)
}

/// Scores are 32 bit numbers; four digits tell them apart and read well.
fn rounded(score: f32) -> f64 {
    (f64::from(score) * 10_000.0).round() / 10_000.0
}

/// The pieces of a text between cut positions in code points; positions out of order or beyond the end do not count.
fn pieces<'t>(text: &'t str, cuts: &[usize]) -> Vec<&'t str> {
    let mut pieces = Vec::with_capacity(cuts.len() + 1);
    let mut rest = text;
    let mut at = 0;
    for &cut in cuts {
        let Some(length) = cut.checked_sub(at) else { continue };
        let Some((byte, _)) = rest.char_indices().nth(length) else { break };
        let (piece, after) = rest.split_at_checked(byte).unwrap_or((rest, ""));
        pieces.push(piece);
        rest = after;
        at = cut;
    }
    pieces.push(rest);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_the_text_whatever_the_cuts() {
        assert_eq!(pieces("añb€c", &[1, 3]), ["a", "ñb", "€c"]);
        assert_eq!(pieces("abc", &[]), ["abc"]);
        assert_eq!(pieces("abc", &[2, 1, 9]), ["ab", "c"]);
        assert_eq!(pieces("abc", &[0, 3]), ["", "abc"]);
    }
}
