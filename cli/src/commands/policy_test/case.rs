//! One case: the request is judged as a gateway would, and compared with what is expected of it.

use std::sync::Arc;

use jiff::Timestamp;
use kt_policy::{
    caller::{Caller, Proof},
    compiled::CompiledPack,
    evaluate::{Deadline, Env, FailMode, Judgement, RenderOptions, Timer, Workspace},
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
    let difference = difference(pack, models, &judgement, &case.expected, &bytes);
    Outcome {
        verdict: Some(judgement.verdict.as_str()),
        code: judgement.refusal.as_ref().map(|refusal| refusal.code.to_string()),
        difference,
    }
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

/// The first thing that is not as expected.
fn difference(
    pack: &CompiledPack,
    models: &ModelTable,
    judgement: &Judgement,
    expected: &TestExpectation,
    body: &str,
) -> Option<String> {
    let refusal = judgement.refusal.as_ref();
    let told = |name: &str, wanted: &str, got: &str| {
        (wanted != got).then(|| format!("{name}: wanted {wanted}, got {got}"))
    };
    let why =
        || refusal.map(|refusal| format!(" ({}: {})", refusal.code, refusal.message)).unwrap_or_default();
    if let Some(wanted) = expected.verdict
        && wanted != judgement.verdict
    {
        return Some(format!("verdict: wanted {wanted}, got {}{}", judgement.verdict, why()));
    }
    if let Some(wanted) = expected.policy {
        let got = refusal
            .and_then(|refusal| refusal.policy)
            .or_else(|| {
                judgement.findings.iter().max_by_key(|finding| finding.verdict).map(|finding| finding.policy)
            })
            .map_or("none", |kind| kind.as_str());
        if let Some(difference) = told("policy", wanted.as_str(), got) {
            return Some(difference);
        }
    }
    if let Some(wanted) = &expected.rule {
        let refused = refusal.and_then(|refusal| refusal.rule.as_deref());
        let found = judgement.findings.iter().any(|finding| *finding.rule == **wanted);
        if refused != Some(wanted) && !found {
            return Some(format!("rule: wanted {wanted}, got {}", refused.unwrap_or("none")));
        }
    }
    if let Some(wanted) = &expected.code
        && let Some(difference) = told("code", wanted, refusal.map_or("none", |refusal| refusal.code))
    {
        return Some(difference);
    }
    let first = judgement.targets().next();
    if let Some(wanted) = &expected.target {
        let got = first.and_then(|index| pack.targets.get(index)).map_or("none", |target| &target.id);
        if let Some(difference) = told("target", wanted, got) {
            return Some(difference);
        }
    }
    if expected.texts.is_empty() {
        return None;
    }
    if judgement.verdict == Verdict::Block {
        return Some(format!("texts: the request is refused{}", why()));
    }
    let rendered = first
        .and_then(|index| pack.authorise(judgement, index, models).ok())
        .and_then(|authorised| authorised.render(body.as_bytes(), &RenderOptions::default()).ok())
        .and_then(|rendered| serde_json::from_str::<Value>(&rendered.body).ok());
    let Some(rendered) = rendered else { return Some("texts: no target may be used".to_owned()) };
    expected.texts.iter().find_map(|(place, wanted)| {
        let pointer = pointer(place);
        match rendered.pointer(&pointer).and_then(Value::as_str) {
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
    use super::pointer;

    #[test]
    fn places_are_read_as_records_write_them() {
        assert_eq!(pointer("messages[0].content"), "/messages/0/content");
        assert_eq!(pointer("input"), "/input");
        assert_eq!(pointer("messages[12].content[0].text"), "/messages/12/content/0/text");
    }
}
