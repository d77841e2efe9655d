//! What one request costs before it goes upstream: reading, walking, judging, rendering.
//!
//! `cargo bench -p kt-policy --bench request`. But for the last figure of each group detectors are stand-ins that search
//! for one word each, so that the figures are those of the machinery around them.

use std::{collections::BTreeMap, hint::black_box, sync::Arc, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kt_policy::{
    caller::{Caller, Proof},
    compiled::{ChainEntry, CompiledPack, CompiledPolicy, CompiledTarget, PackId, Serves},
    detect::{Detector, Hit, Rule, Scratch, Text},
    evaluate::{Deadline, Env, FailMode, NoModels, RenderOptions, Timer, Workspace},
    json::{Document, Limits},
    lint::LintOptions,
    models::ModelTable,
    pack::{BlockResponse, Rbac, RbacRole, providers::DataPolicy},
    request::Request,
    verdict::{Endpoint, Mode, Phase, PolicyKind, Verdict},
};

#[derive(Debug)]
struct Finder {
    kind: PolicyKind,
    word: &'static str,
    rules: Vec<Rule>,
}

impl Detector for Finder {
    fn kind(&self) -> PolicyKind {
        self.kind
    }

    fn rules(&self) -> &[Rule] {
        &self.rules
    }

    fn scan(&self, text: Text<'_>, _: &mut Scratch, hits: &mut Vec<Hit>) -> Option<f32> {
        hits.extend(memchr::memmem::find_iter(text.text.as_bytes(), self.word).map(|start| Hit {
            start,
            end: start + self.word.len(),
            rule: 0,
            score: 1.0,
        }));
        None
    }

    fn replace(&self, _: u32, _: &str, out: &mut String) {
        out.push_str("<WORD>");
    }
}

fn content(kind: PolicyKind, word: &'static str) -> ChainEntry {
    let rules =
        vec![Rule { id: Arc::from("word"), entity: None, verdict: Verdict::Redact, mode: Mode::Enforce }];
    entry(kind, CompiledPolicy::Content(Box::new(Finder { kind, word, rules })))
}

fn entry(kind: PolicyKind, policy: CompiledPolicy) -> ChainEntry {
    ChainEntry {
        kind,
        mode: Mode::Enforce,
        endpoints: BTreeMap::new(),
        phases: vec![Phase::Input, Phase::Output],
        message: None,
        policy,
    }
}

fn pack(word: &'static str) -> CompiledPack {
    let role = RbacRole {
        allowed_models: Some(vec!["databricks-meta-llama-3-3-70b-instruct".to_owned()]),
        max_tokens_per_request: Some(4096),
        ..RbacRole::default()
    };
    let rbac = Rbac { roles: BTreeMap::from([("data-engineer".to_owned(), role)]), ..Rbac::default() };
    CompiledPack {
        id: PackId { name: Arc::from("bench"), version: semver::Version::new(1, 0, 0), digest: [0; 32] },
        enabled: true,
        chain: vec![
            content(PolicyKind::PromptInjection, word),
            content(PolicyKind::PiiDetector, word),
            content(PolicyKind::DlpFilter, word),
            entry(PolicyKind::Rbac, CompiledPolicy::Rbac(rbac)),
            entry(PolicyKind::AuditLogger, CompiledPolicy::Audit),
        ],
        audit: None,
        targets: vec![CompiledTarget {
            id: Arc::from("llama"),
            model: Arc::from("databricks-meta-llama-3-3-70b-instruct"),
            serves: Serves::Chat,
            base_url: String::new(),
            secret: None,
            first_byte_timeout: Duration::from_mins(1),
            total_timeout: Duration::from_mins(10),
            stream_idle_timeout: Duration::from_mins(2),
            connect_timeout: Duration::from_secs(5),
            health_probe: None,
            region: None,
            data_policy: DataPolicy::default(),
            client_request_id: false,
            include_usage: false,
        }],
        fallback: None,
        aliases: BTreeMap::new(),
        hold_back: 256,
        block_response: BlockResponse::Conflict,
        attachments: BTreeMap::new(),
        exceptions: Vec::new(),
        redaction_metadata: false,
    }
}

/// A chat of `bytes` bytes with a system prompt and a few turns, escapes in one of them.
fn chat(bytes: usize) -> String {
    let turn = "Write a PySpark query to compute 7-day rolling average sales by region, then explain it. ";
    let mut text = turn.repeat(bytes / turn.len() + 1);
    text.truncate(bytes.saturating_sub(330));
    format!(
        r#"{{"model":"databricks-meta-llama-3-3-70b-instruct","messages":[{{"role":"system","content":"You are a data engineering expert."}},{{"role":"user","content":"Which table?"}},{{"role":"assistant","content":"The \"sales\" table.\nIt has a region."}},{{"role":"user","content":"{text}"}}],"max_tokens":1024,"temperature":0.2,"stream":true}}"#
    )
}

fn tools() -> String {
    let tool = r#"{"type":"function","function":{"name":"lookup","description":"Looks a table up in the catalogue","parameters":{"type":"object","properties":{"catalog":{"type":"string","description":"name of the catalogue"},"limit":{"type":"integer","minimum":1,"maximum":100}},"required":["catalog"]}}}"#;
    let call = r#"{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"lookup","arguments":"{\"catalog\":\"main\",\"limit\":10}"}}]},{"role":"tool","tool_call_id":"call_1","content":"{\"rows\":[{\"name\":\"sales\",\"size\":12345},{\"name\":\"regions\",\"size\":17}]}"}"#;
    format!(
        r#"{{"model":"databricks-meta-llama-3-3-70b-instruct","messages":[{{"role":"user","content":"What is in main?"}},{calls}],"tools":[{tools}]}}"#,
        calls = [call; 4].join(","),
        tools = [tool; 8].join(",")
    )
}

/// All that is done to a request before it goes upstream; the length of what is sent.
fn whole(pack: &CompiledPack, caller: &Caller, body: &[u8], work: &mut Workspace) -> Option<usize> {
    let env = Env {
        now: jiff::Timestamp::UNIX_EPOCH,
        deadline: Deadline::NEVER,
        fail_mode: FailMode::Block,
        timer: Timer::NONE,
    };
    let request = Request::parse(Endpoint::ChatCompletions, body, &Limits::default()).ok()?;
    let judgement = pack.judge(&request, caller, &env, work);
    let authorised = pack.authorise(&judgement, judgement.targets().next()?, &NoModels).ok()?;
    Some(authorised.render(body, &RenderOptions::default()).ok()?.body.len())
}

fn requests(c: &mut Criterion) {
    let caller = Caller {
        roles: Arc::from([Arc::from("data-engineer")]),
        proof: Proof::GatewayKey { key_id: Arc::from("k") },
        ..Caller::anonymous()
    };
    let limits = Limits::default();
    let endpoint = Endpoint::ChatCompletions;
    let (quiet, loud) = (pack("nowhere to be found"), pack("region"));
    let options = LintOptions { now: jiff::Timestamp::UNIX_EPOCH, models: ModelTable::built_in() };
    let seed = include_bytes!("../../examples/seed/databricks-enterprise.yaml");
    let seed = kt_policy::check(seed, &options).pack;
    assert!(seed.is_some(), "the seed's pack is valid");
    for (name, body) in [("chat 1 KB", chat(1024)), ("chat 64 KB", chat(65_536)), ("tools 4 KB", tools())] {
        let body = body.as_bytes();
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function("json", |b| b.iter(|| Document::parse(black_box(body), limits)));
        group.bench_function("serde_json value", |b| {
            b.iter(|| serde_json::from_slice::<serde_json::Value>(black_box(body)));
        });
        group.bench_function("json + walk", |b| {
            b.iter(|| Request::parse(endpoint, black_box(body), &limits));
        });
        for (what, pack) in [("whole, nothing found", &quiet), ("whole, redacted", &loud)] {
            let mut work = Workspace::default();
            assert!(whole(pack, &caller, body, &mut work).is_some(), "the request is allowed");
            group.bench_function(what, |b| {
                b.iter(|| whole(pack, &caller, black_box(body), &mut work));
            });
        }
        if let Some(seed) = &seed {
            let mut work = Workspace::default();
            group.bench_function("whole, the seed's pack", |b| {
                b.iter(|| whole(seed, &caller, black_box(body), &mut work));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, requests);
criterion_main!(benches);
