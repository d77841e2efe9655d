//! One case: the request is judged as a gateway would, and compared with what is expected of it.

mod answer;

use std::sync::Arc;

use jiff::Timestamp;
use kt_policy::{
    caller::{Caller, Proof},
    compiled::CompiledPack,
    evaluate::{Deadline, Env, FailMode, Finding, Judgement, Refusal, RenderOptions, Timer, Workspace},
    json::Limits,
    models::ModelTable,
    pack::{TestCase, TestExpectation, TestInput},
    request::Request,
    verdict::{Endpoint, Verdict},
};
use serde_json::{Map, Value};

/// What came of a case.
pub(super) struct Outcome {
    pub(super) verdict: Option<&'static str>,
    pub(super) code: Option<String>,
    pub(super) difference: Option<String>,
}

/// What came of request and answer together.
struct Judged<'j> {
    verdict: Verdict,
    refusal: Option<&'j Refusal>,
    findings: Vec<&'j Finding>,
    /// The first candidate target.
    target: Option<usize>,
}

/// Runs a case. Every case has a caller whose identity counts as proven, as a case tests policy, not login.
pub(super) fn run(
    pack: &CompiledPack,
    models: &ModelTable,
    case: &TestCase,
    work: &mut Workspace,
) -> Outcome {
    let failed = |difference: String| Outcome { verdict: None, code: None, difference: Some(difference) };
    let mut body = case.input.body.clone();
    let endpoint = match endpoint(&case.input, &body) {
        Ok(endpoint) => endpoint,
        Err(difference) => return failed(difference),
    };
    if !body.contains_key("model") {
        let Some(target) = pack.targets.iter().find(|target| target.serves.answers(endpoint)) else {
            return failed(format!("no target of the pack answers {}", endpoint.as_str()));
        };
        body.insert("model".to_owned(), Value::from(target.model.as_ref()));
    }
    let bytes = Value::Object(body).to_string();
    let request = match Request::parse(endpoint, bytes.as_bytes(), &Limits::default()) {
        Ok(request) => request,
        Err(error) => {
            let code = error.code().to_owned();
            let difference = difference_of_refusal(&case.expected, &code).or_else(|| {
                case.expected.code.is_none().then(|| format!("the request is malformed: {error}"))
            });
            return Outcome { verdict: None, code: Some(code), difference };
        }
    };
    let caller = caller(&case.input);
    let env = Env {
        now: Timestamp::now(),
        deadline: Deadline::NEVER,
        fail_mode: FailMode::Block,
        timer: Timer::NONE,
    };
    let judgement = pack.judge(&request, &caller, &env, work);
    // A request that is refused gets no answer.
    let answer = case.answer.as_ref().filter(|_| judgement.refusal.is_none());
    let asked: Vec<&str> = [request.model()].into_iter().chain(judgement.model.as_deref()).collect();
    let answered =
        answer.map(|answer| answer::judge(pack, answer, endpoint, &caller, &asked, work)).transpose();
    let answered = match answered {
        Ok(answered) => answered,
        Err(difference) => return failed(format!("answer: {difference}")),
    };
    let of_answer = answered.iter().flat_map(|answered| &answered.report.findings);
    let judged = Judged {
        verdict: answered
            .as_ref()
            .map_or(judgement.verdict, |answered| judgement.verdict.max(answered.report.verdict)),
        refusal: answered
            .as_ref()
            .and_then(|answered| answered.body.as_ref().err())
            .or(judgement.refusal.as_ref()),
        findings: judgement.findings.iter().chain(of_answer).collect(),
        target: judgement.targets().next(),
    };
    let texts = || {
        let request = rendered(pack, models, &judgement, &bytes)?;
        let answer = answered.as_ref().and_then(|answered| answered.body.as_ref().ok());
        Some([Some(request), answer.cloned()])
    };
    let difference = difference(pack, &judged, &case.expected, texts);
    Outcome {
        verdict: Some(judged.verdict.as_str()),
        code: judged.refusal.map(|refusal| refusal.code.to_string()),
        difference,
    }
}

/// The request as it would be sent.
fn rendered(pack: &CompiledPack, models: &ModelTable, judgement: &Judgement, body: &str) -> Option<Value> {
    let authorised = pack.authorise(judgement, judgement.targets().next()?, models).ok()?;
    let rendered = authorised.render(body.as_bytes(), &RenderOptions::default()).ok()?;
    serde_json::from_str(&rendered.body).ok()
}

fn endpoint(input: &TestInput, body: &Map<String, Value>) -> Result<Endpoint, String> {
    let told = if body.contains_key("messages") {
        Some(Endpoint::ChatCompletions)
    } else if body.contains_key("prompt") {
        Some(Endpoint::Completions)
    } else if body.contains_key("input") {
        Some(Endpoint::Embeddings)
    } else {
        None
    };
    input
        .endpoint
        .or(told)
        .ok_or_else(|| "the input has neither `messages` nor `prompt` nor `input`".to_owned())
}

fn caller(input: &TestInput) -> Caller {
    let header = |name: &str| {
        input.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    };
    let from_header = header("x-user-role").into_iter().flat_map(|roles| roles.split(',')).map(str::trim);
    let roles: Vec<Arc<str>> = input
        .roles
        .iter()
        .map(String::as_str)
        .chain(from_header)
        .filter(|role| !role.is_empty())
        .map(Arc::from)
        .collect();
    Caller {
        subject: Some(Arc::from(header("x-user-id").unwrap_or("test"))),
        roles: roles.into(),
        team: input.team.as_deref().map(Arc::from),
        cost_center: None,
        proof: Proof::GatewayKey { key_id: Arc::from("test") },
    }
}

fn difference_of_refusal(expected: &TestExpectation, code: &str) -> Option<String> {
    match &expected.code {
        Some(wanted) if wanted != code => Some(format!("code: wanted {wanted}, got {code}")),
        _ => None,
    }
}

/// The first thing that is not as expected. `texts`: request and answer as they would be sent.
fn difference(
    pack: &CompiledPack,
    judged: &Judged<'_>,
    expected: &TestExpectation,
    texts: impl FnOnce() -> Option<[Option<Value>; 2]>,
) -> Option<String> {
    let refusal = judged.refusal;
    let told = |name: &str, wanted: &str, got: &str| {
        (wanted != got).then(|| format!("{name}: wanted {wanted}, got {got}"))
    };
    let why =
        || refusal.map(|refusal| format!(" ({}: {})", refusal.code, refusal.message)).unwrap_or_default();
    if let Some(wanted) = expected.verdict
        && wanted != judged.verdict
    {
        return Some(format!("verdict: wanted {wanted}, got {}{}", judged.verdict, why()));
    }
    if let Some(wanted) = expected.policy {
        let got = refusal
            .and_then(|refusal| refusal.policy)
            .or_else(|| {
                judged.findings.iter().max_by_key(|finding| finding.verdict).map(|finding| finding.policy)
            })
            .map_or("none", |kind| kind.as_str());
        if let Some(difference) = told("policy", wanted.as_str(), got) {
            return Some(difference);
        }
    }
    if let Some(wanted) = &expected.rule {
        let refused = refusal.and_then(|refusal| refusal.rule.as_deref());
        let found = judged.findings.iter().any(|finding| *finding.rule == **wanted);
        if refused != Some(wanted) && !found {
            return Some(format!("rule: wanted {wanted}, got {}", refused.unwrap_or("none")));
        }
    }
    if let Some(wanted) = &expected.code
        && let Some(difference) = told("code", wanted, refusal.map_or("none", |refusal| refusal.code))
    {
        return Some(difference);
    }
    if let Some(wanted) = &expected.target {
        let got = judged.target.and_then(|index| pack.targets.get(index)).map_or("none", |target| &target.id);
        if let Some(difference) = told("target", wanted, got) {
            return Some(difference);
        }
    }
    if expected.texts.is_empty() {
        return None;
    }
    if judged.verdict == Verdict::Block {
        return Some(format!("texts: request or answer is refused{}", why()));
    }
    let Some(bodies) = texts() else { return Some("texts: no target may be used".to_owned()) };
    expected.texts.iter().find_map(|(place, wanted)| {
        let pointer = pointer(place);
        let mut found = bodies.iter().flatten().filter_map(|body| body.pointer(&pointer)?.as_str());
        match found.next() {
            Some(got) if got == wanted => None,
            Some(got) => Some(format!("texts[{place}]: wanted `{wanted}`, got `{got}`")),
            None => Some(format!("texts[{place}]: there is no such text")),
        }
    })
}

/// `messages[0].content` as a JSON Pointer.
fn pointer(place: &str) -> String {
    let mut pointer = String::with_capacity(place.len() + 1);
    for part in place.split(['.', '[']) {
        pointer.push('/');
        pointer.push_str(part.trim_end_matches(']'));
    }
    pointer
}

#[cfg(test)]
mod tests {
    use kt_policy::{evaluate::Workspace, models::ModelTable, pack::parse_tests};

    use super::{pointer, run};

    const PACK: &str = "
pack: {name: t, version: 1.0.0}
policies: {chain: [pii-detector, dlp-filter]}
policy: {dlp-filter: {builtin: all, action: block}}
providers:
  targets: [{id: a, provider: 'databricks:chat:m', base_url: 'https://x.azuredatabricks.net/serving-endpoints', secret_key_ref: {env: T}}]
";

    fn difference(case: &str) -> Option<String> {
        let checked = kt_policy::check(PACK.as_bytes(), &crate::commands::lint_options());
        let (suites, found) = parse_tests(case.as_bytes(), "t");
        assert!(found.is_empty(), "{found:?}");
        let pack = checked.pack.unwrap();
        run(&pack, ModelTable::built_in(), &suites[0].cases[0], &mut Workspace::default()).difference
    }

    #[test]
    fn the_answer_of_a_case_is_judged_too() {
        let asks = "input: {messages: [{role: user, content: hello}]}\nname: n\n";
        for answer in [
            "answer: write to jane.roe@example.com",
            "answer: {choices: [{message: {content: write to jane.roe@example.com}}]}",
        ] {
            for expected in [
                "{verdict: redact, policy: pii-detector, rule: EMAIL_ADDRESS}",
                "{texts: {'messages[0].content': hello, 'choices[0].message.content': 'write to <EMAIL_ADDRESS>'}}",
            ] {
                assert_eq!(difference(&format!("{asks}{answer}\nexpected: {expected}")), None);
            }
            let told = difference(&format!("{asks}{answer}\nexpected: {{verdict: allow}}")).unwrap();
            assert_eq!(told, "verdict: wanted allow, got redact");
        }
        let blocked = "answer: take dapi0a1b2c3d4e5f60718293a4b5c6d7e8f9";
        for expected in
            ["{verdict: block, code: output_blocked, policy: dlp-filter}", "{rule: DATABRICKS_TOKEN}"]
        {
            assert_eq!(difference(&format!("{asks}{blocked}\nexpected: {expected}")), None);
        }
        let told =
            difference(&format!("{asks}{blocked}\nexpected: {{texts: {{'choices[0].text': x}}}}")).unwrap();
        assert!(told.starts_with("texts: request or answer is refused (output_blocked"), "{told}");
    }

    #[test]
    fn a_request_that_is_refused_gets_no_answer() {
        let case = "
name: n
input: {messages: [{role: user, content: take dapi0a1b2c3d4e5f60718293a4b5c6d7e8f9}]}
answer: hello
expected: {code: input_blocked}
";
        assert_eq!(difference(case), None);
    }

    #[test]
    fn an_embedding_has_no_text_to_answer_with() {
        let case = "{name: n, input: {input: hello, model: m}, answer: hello, expected: {verdict: allow}}";
        assert!(difference(case).unwrap().contains("embedding"));
    }

    #[test]
    fn places_are_read_as_records_write_them() {
        assert_eq!(pointer("messages[0].content"), "/messages/0/content");
        assert_eq!(pointer("input"), "/input");
        assert_eq!(pointer("messages[12].content[0].text"), "/messages/12/content/0/text");
    }
}
