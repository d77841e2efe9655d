//! The answer of a case, judged as a gateway would judge one that comes whole.

use jiff::Timestamp;
use kt_policy::{
    caller::Caller,
    compiled::CompiledPack,
    evaluate::{AnswerContext, AnswerReport, Deadline, FailMode, Refusal, Timer, Workspace},
    json::Limits,
    pack::TestAnswer,
    verdict::Endpoint,
};
use serde_json::{Value, json};

/// What the policies said of an answer, and what the client gets of it where it is not refused.
pub(super) struct Answered {
    pub(super) body: Result<Value, Refusal>,
    pub(super) report: AnswerReport,
}

/// Judges the answer to a request for `models`: the one that was asked for, and what it resolves to.
pub(super) fn judge(
    pack: &CompiledPack,
    answer: &TestAnswer,
    endpoint: Endpoint,
    caller: &Caller,
    models: &[&str],
    work: &mut Workspace,
) -> Result<Answered, String> {
    let body = body(answer, endpoint)?.to_string();
    let context = AnswerContext {
        endpoint,
        caller,
        models,
        now: Timestamp::now(),
        deadline: Deadline::NEVER,
        fail_mode: FailMode::Block,
        timer: Timer::NONE,
        limits: Limits::default(),
    };
    let answered = pack.judge_answer(&body, &context, work).map_err(|error| error.to_string())?;
    let body = answered.body.map(|body| serde_json::from_str(&body).unwrap_or_default());
    Ok(Answered { body, report: answered.report })
}

/// The body of an answer; around a text, that of the endpoint.
fn body(answer: &TestAnswer, endpoint: Endpoint) -> Result<Value, String> {
    let text = match answer {
        TestAnswer::Body(fields) => return Ok(Value::Object(fields.clone())),
        TestAnswer::Text(text) => text,
    };
    Ok(match endpoint {
        Endpoint::ChatCompletions => {
            json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]})
        }
        Endpoint::Completions => json!({"choices": [{"index": 0, "text": text}]}),
        Endpoint::Responses => {
            let content = json!([{"type": "output_text", "text": text}]);
            json!({"output": [{"type": "message", "role": "assistant", "content": content}]})
        }
        Endpoint::Embeddings => return Err("an embedding has no text to answer with".to_owned()),
    })
}
