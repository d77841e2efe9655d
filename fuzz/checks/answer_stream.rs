//! What must hold of any answer that comes in pieces.

use kt_policy::{
    caller::Caller,
    compiled::CompiledPack,
    evaluate::{
        AnswerContext, AnswerReport, AnswerStream, Deadline, FailMode, StreamSettings, Timer, Workspace,
    },
    json::{Document, Limits},
    verdict::Endpoint,
};
use serde_json::{Value, json};

use super::finder::pack;

const ENDPOINTS: [Endpoint; 3] = [Endpoint::ChatCompletions, Endpoint::Completions, Endpoint::Responses];

/// The first byte chooses the endpoint. Then come events, a line each: their data.
///
/// Or, where the first byte is odd, how long the pieces are (a byte) and a text: it comes in such pieces, and must leave
/// as it would as a whole.
pub(crate) fn check(input: &[u8]) {
    let Some((which, rest)) = input.split_first() else { return };
    let endpoint = ENDPOINTS[usize::from(*which / 2) % ENDPOINTS.len()];
    let Ok(text) = std::str::from_utf8(rest) else { return };
    if which % 2 == 0 {
        let events: Vec<String> = text.lines().map(str::to_owned).collect();
        any_events(endpoint, &events);
    } else {
        let mut characters = text.chars();
        let length = characters.next().map_or(1, |length| length as usize % 97 + 1);
        any_text(characters.as_str(), length);
    }
}

/// Whatever comes: what leaves is what came, in its order, as JSON where it was, byte for byte where nothing was found.
fn any_events(endpoint: Endpoint, events: &[String]) {
    for words in [&["needle", "ed", "\""][..], &["nothing like it"]] {
        let passed = pass(&pack("m", words), endpoint, events);
        let came = events.get(..passed.left.len()).expect("no more than came");
        assert!(passed.is_stopped || passed.left.len() == events.len(), "nothing is lost");
        for ((frame, data), (index, came)) in passed.left.iter().zip(came.iter().enumerate()) {
            assert_eq!(*frame, index, "in their order");
            let Some(data) = data else { continue };
            assert_ne!(words.len(), 1, "nothing is found, and nothing replaced");
            if Document::parse(came.as_bytes(), Limits::default()).is_ok() {
                Document::parse(data.as_bytes(), Limits::default()).expect("JSON stays JSON");
            }
        }
        for finding in &passed.report.findings {
            assert!(finding.start < finding.end, "{finding:?}");
            let pointer = &finding.place.pointer;
            assert!(pointer.is_empty() || pointer.starts_with('/'), "{finding:?}");
        }
    }
}

/// A text in pieces leaves as it would as a whole, with the same findings.
fn any_text(text: &str, length: usize) {
    let pack = pack("m", &["needle", "ed", "é}"]);
    let characters: Vec<char> = text.chars().collect();
    let pieces: Vec<String> = characters.chunks(length).map(|piece| piece.iter().collect()).collect();
    let delta = |piece: &String| json!({"choices": [{"index": 0, "delta": {"content": piece}}]}).to_string();
    let events: Vec<String> = pieces.iter().map(delta).collect();
    let passed = pass(&pack, Endpoint::ChatCompletions, &events);
    assert!(!passed.is_stopped && passed.left.len() == events.len());
    let said = |((_, data), came): (&(usize, Option<String>), &String)| {
        let event: Value = serde_json::from_str(data.as_ref().unwrap_or(came)).expect("JSON");
        event["choices"][0]["delta"]["content"].as_str().expect("still a text").to_owned()
    };
    let left: String = passed.left.iter().zip(&events).map(said).collect();

    let body = json!({"choices": [{"index": 0, "message": {"content": text}}]}).to_string();
    let whole = with_context(Endpoint::ChatCompletions, |context| {
        let answered = pack.judge_answer(&body, context, &mut Workspace::default()).expect("JSON");
        let body: Value = serde_json::from_str(&answered.body.expect("nothing blocks")).expect("JSON");
        (body["choices"][0]["message"]["content"].as_str().expect("a text").to_owned(), answered.report)
    });
    assert_eq!(left, whole.0);
    let places = |report: &AnswerReport| {
        let mut places: Vec<(usize, usize)> =
            report.findings.iter().map(|finding| (finding.start, finding.end)).collect();
        places.sort_unstable();
        places
    };
    if whole.1.findings_omitted == 0 && passed.report.findings_omitted == 0 {
        assert_eq!(places(&passed.report), places(&whole.1));
    }
}

struct Passed {
    /// Which event, and its data where something was replaced.
    left: Vec<(usize, Option<String>)>,
    is_stopped: bool,
    report: AnswerReport,
}

fn pass(pack: &CompiledPack, endpoint: Endpoint, events: &[String]) -> Passed {
    let mut stream = AnswerStream::new(pack, endpoint, StreamSettings { held_bytes: 1 << 20 });
    let mut work = Workspace::default();
    let mut left = Vec::new();
    let mut take = |stream: &mut AnswerStream<usize>| {
        left.extend(std::iter::from_fn(|| stream.pop()).map(|released| (released.frame, released.data)));
    };
    let is_stopped = with_context(endpoint, |context| {
        for (index, event) in events.iter().enumerate() {
            let pushed = stream.push(index, event, pack, context, &mut work);
            take(&mut stream);
            if pushed.is_err() {
                return true;
            }
        }
        let ended = stream.end(pack, context, &mut work);
        take(&mut stream);
        ended.is_err()
    });
    Passed { left, is_stopped, report: stream.report(pack, is_stopped) }
}

fn with_context<T>(endpoint: Endpoint, work: impl FnOnce(&AnswerContext<'_>) -> T) -> T {
    let caller = Caller::anonymous();
    work(&AnswerContext {
        endpoint,
        caller: &caller,
        models: &["m"],
        now: jiff::Timestamp::UNIX_EPOCH,
        deadline: Deadline::NEVER,
        fail_mode: FailMode::Block,
        timer: Timer::NONE,
        limits: Limits::default(),
    })
}
