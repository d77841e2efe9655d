//! Test suites: those inside a pack, and those in files beside it.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::{
    ENDPOINTS,
    scalars::{LABEL, MODEL_NAME, key, name, sentence},
};
use crate::{
    codes,
    decode::{Cx, Object, Path, choice, head, json, list, map, text, unique_list},
    diag::{self, Diagnostic},
    pack::{TestAnswer, TestCase, TestExpectation, TestInput, TestSuite, Testing},
    verdict::{PolicyKind, Verdict},
    yaml::{self, Node, Value},
};

/// Reads a test file: a suite (`name`, `cases`), a list of cases, or one case. A suite without a name, and cases
/// without a suite, are called `stem`.
///
/// There are suites exactly when no finding is an error.
pub fn parse_tests(source: &[u8], stem: &str) -> (Vec<TestSuite>, Vec<Diagnostic>) {
    let root = match yaml::parse(source) {
        Ok(root) => root,
        Err(refusal) => return (Vec::new(), vec![refusal]),
    };
    let mut cx = Cx::default();
    let path = &Path::Root;
    let cases = match &root.value {
        Value::Map(entries) if entries.iter().any(|entry| entry.key == "cases") => {
            suite(&root, path, &mut cx, Some(stem))
        }
        Value::Map(_) => case(&root, path, &mut cx).map(|case| named(stem, vec![case])),
        _ => list(&root, path, &mut cx, case).map(|cases| named(stem, cases)),
    };
    let mut found = cx.found;
    diag::sort(&mut found);
    let broken = found.iter().any(Diagnostic::is_error);
    (cases.filter(|_| !broken).into_iter().collect(), found)
}

fn named(stem: &str, cases: Vec<TestCase>) -> TestSuite {
    TestSuite { name: stem.to_owned(), description: None, cases }
}

pub(super) fn testing(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<Testing> {
    let mut o = Object::open(node, path, cx)?;
    let suites = o.or("suites", path, cx, Vec::new(), |node, path, cx| {
        list(node, path, cx, |node, path, cx| suite(node, path, cx, None))
    });
    for key in ["default_threshold", "plugins", "strategies"] {
        let message = format!("`testing.{key}` has no effect here");
        let help = "remove it; a case says what must come of one request";
        o.refuse(key, path, cx, codes::NOT_ENFORCED, &message, help);
    }
    o.finish(path, cx);
    Some(Testing { suites })
}

fn suite(node: &Node, path: &Path<'_>, cx: &mut Cx, stem: Option<&str>) -> Option<TestSuite> {
    let mut o = Object::open(node, path, cx)?;
    let label = match stem {
        Some(stem) => Some(o.or("name", path, cx, stem.to_owned(), name(LABEL))),
        None => o.required("name", path, cx, name(LABEL)),
    };
    let description = o.optional("description", path, cx, text);
    let cases = o.required("cases", path, cx, |node, path, cx| list(node, path, cx, case));
    for key in ["target", "assertions"] {
        let message = format!("`{key}` has no effect here");
        let help = "remove it; say under `expected` of each case what must come of it";
        o.refuse(key, path, cx, codes::NOT_ENFORCED, &message, help);
    }
    o.finish(path, cx);
    Some(TestSuite { name: label?, description, cases: cases? })
}

fn case(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<TestCase> {
    let mut o = Object::open(node, path, cx)?;
    let label = o.required("name", path, cx, sentence);
    let input = o.required("input", path, cx, input);
    let answer = o.optional("answer", path, cx, answer);
    let expected = o.required("expected", path, cx, expected);
    o.finish(path, cx);
    Some(TestCase { name: label?, input: input?, answer, expected: expected? })
}

fn answer(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<TestAnswer> {
    match json(node, path, cx)? {
        Json::String(text) => Some(TestAnswer::Text(text)),
        Json::Object(fields) => Some(TestAnswer::Body(fields)),
        _ => {
            let message = "expected a text, or a mapping: the body of an answer".to_owned();
            cx.error(codes::WRONG_TYPE, path, head(node), message);
            None
        }
    }
}

/// The short forms of a body: one of these fields stands for the body that holds it.
const SHORT_FORMS: [&str; 3] = ["messages", "prompt", "input"];

fn input(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<TestInput> {
    let mut o = Object::open(node, path, cx)?;
    let endpoint = o.optional("endpoint", path, cx, choice(ENDPOINTS));
    let written = o.optional("body", path, cx, |node, path, cx| {
        if let Json::Object(fields) = json(node, path, cx)? {
            return Some(fields);
        }
        let message = "expected a mapping: the body of a request".to_owned();
        cx.error(codes::WRONG_TYPE, path, head(node), message);
        None
    });
    let has_body = o.has("body");
    let mut body = written.unwrap_or_default();
    let mut short: Map<String, Json> = Map::new();
    for field in SHORT_FORMS {
        if let Some(value) = o.optional(field, path, cx, json) {
            short.insert(field.to_owned(), value);
        }
    }
    if let Some(model) = o.optional("model", path, cx, name(MODEL_NAME)) {
        short.insert("model".to_owned(), Json::String(model));
    }
    if has_body && !short.is_empty() {
        let message = "`body` is the whole body: the short forms can't stand beside it".to_owned();
        cx.error(codes::CONFLICT, &path.key("body"), o.key_span("body"), message);
    }
    if !has_body && !SHORT_FORMS.iter().any(|field| short.contains_key(*field)) {
        let message = "the input holds no request".to_owned();
        let help = "add `messages`, `prompt`, `input` or `body`";
        cx.error_help(codes::MISSING_KEY, path, head(node), message, help);
    }
    body.extend(short);
    let input = TestInput {
        endpoint,
        body,
        headers: o
            .or("headers", path, cx, BTreeMap::new(), |node, path, cx| map(node, path, cx, key(LABEL), text)),
        roles: o.or("roles", path, cx, Vec::new(), |node, path, cx| {
            unique_list(node, path, cx, name(LABEL), String::clone)
        }),
        team: o.optional("team", path, cx, name(LABEL)),
    };
    o.finish(path, cx);
    Some(input)
}

fn expected(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<TestExpectation> {
    const VERDICTS: &[(&str, Verdict)] =
        &[("allow", Verdict::Allow), ("redact", Verdict::Redact), ("block", Verdict::Block)];
    const KINDS: &[(&str, PolicyKind)] = &[
        ("prompt-injection", PolicyKind::PromptInjection),
        ("pii-detector", PolicyKind::PiiDetector),
        ("dlp-filter", PolicyKind::DlpFilter),
        ("rbac", PolicyKind::Rbac),
        ("data-routing-policy", PolicyKind::DataRoutingPolicy),
    ];
    let mut o = Object::open(node, path, cx)?;
    let expected = TestExpectation {
        verdict: o.optional("verdict", path, cx, choice(VERDICTS)),
        policy: o.optional("policy", path, cx, choice(KINDS)),
        rule: o.optional("rule", path, cx, text),
        code: o.optional("code", path, cx, text),
        target: o.optional("target", path, cx, text),
        texts: o.or("texts", path, cx, BTreeMap::new(), |node, path, cx| {
            map(node, path, cx, |written, _, _, _| Some(written.to_owned()), text)
        }),
    };
    o.finish(path, cx);
    if expected == TestExpectation::default() {
        let message = "nothing is expected: the case can't fail".to_owned();
        cx.error_help(
            codes::MISSING_KEY,
            path,
            head(node),
            message,
            "add `verdict: allow`, `redact` or `block`",
        );
    }
    Some(expected)
}
