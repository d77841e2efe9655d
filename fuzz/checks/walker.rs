//! What must hold of any body on any endpoint.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kt_policy::{
    caller::Caller,
    compiled::{ChainEntry, CompiledPack, CompiledPolicy, CompiledTarget, PackId, Serves},
    detect::{Detector, Hit, Rule, Scratch, Text},
    evaluate::{Deadline, Env, FailMode, NoModels, RenderOptions, Timer, Workspace},
    json::{Document, Limits},
    pack::{BlockResponse, providers::DataPolicy},
    request::Request,
    verdict::{Endpoint, Mode, Phase, PolicyKind, Verdict},
};

/// Everything is found and replaced: words, quotes, structure, parts of characters' escapes.
const WORDS: [&str; 9] = ["needle", "ed", "\"", ":", "}", "1", "\\", "é", "]"];

/// The first byte chooses the endpoint, the rest is the body.
///
/// Reading never panics. A body that is accepted is judged; what is sent is JSON that is accepted again, within which
/// nothing that was found is left; when nothing is found it is the body, byte for byte.
pub(crate) fn check(input: &[u8]) {
    const ENDPOINTS: [Endpoint; 4] =
        [Endpoint::ChatCompletions, Endpoint::Completions, Endpoint::Embeddings, Endpoint::Responses];
    let Some((which, body)) = input.split_first() else { return };
    let endpoint = ENDPOINTS[usize::from(*which) % ENDPOINTS.len()];
    let Ok(request) = Request::parse(endpoint, body, &Limits::default()) else { return };
    for words in [&WORDS[..2], &WORDS[..], &["nothing like it"]] {
        let pack = pack(request.model(), words);
        let env = Env {
            now: jiff::Timestamp::UNIX_EPOCH,
            deadline: Deadline::NEVER,
            fail_mode: FailMode::Allow,
            timer: Timer::NONE,
        };
        let judgement = pack.judge(&request, &Caller::anonymous(), &env, &mut Workspace::default());
        if judgement.refusal.is_some() {
            continue;
        }
        for finding in &judgement.findings {
            assert!(finding.start < finding.end, "{finding:?}");
            assert!(finding.place.pointer.starts_with('/'));
        }
        let authorised = pack.authorise(&judgement, 0, &NoModels).expect("nothing forbids it");
        let rendered = authorised.render(body, &RenderOptions::default()).expect("the judged body").body;
        // A mask may be longer than what it replaces, so only the limits of the text itself count.
        Document::parse(rendered.as_bytes(), Limits::default()).expect("what is sent is JSON");
        if judgement.verdict == Verdict::Allow {
            assert_eq!(rendered.as_bytes(), body);
        }
        if words.len() == 2 {
            let again =
                Request::parse(endpoint, rendered.as_bytes(), &Limits::default()).expect("a request again");
            assert!(again.fields().iter().all(|field| !field.text.contains("needle")), "{rendered}");
        }
    }
}

#[derive(Debug)]
struct Finder {
    words: Vec<String>,
    rules: Vec<Rule>,
}

impl Detector for Finder {
    fn kind(&self) -> PolicyKind {
        PolicyKind::DlpFilter
    }

    fn rules(&self) -> &[Rule] {
        &self.rules
    }

    fn scan(&self, text: Text<'_>, _: &mut Scratch, hits: &mut Vec<Hit>) -> Option<f32> {
        for (rule, word) in (0..).zip(&self.words) {
            hits.extend(text.text.match_indices(word.as_str()).map(|(start, word)| Hit {
                start,
                end: start + word.len(),
                rule,
                score: 1.0,
            }));
        }
        None
    }

    fn replace(&self, _: u32, _: &str, out: &mut String) {
        // Needs escaping at each level.
        out.push_str("<\"\\M>");
    }
}

fn pack(model: &str, words: &[&str]) -> CompiledPack {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let rule = |word: &String| Rule {
        id: Arc::from(word.as_str()),
        entity: None,
        verdict: Verdict::Redact,
        mode: Mode::Enforce,
    };
    let rules = words.iter().map(rule).collect();
    CompiledPack {
        id: PackId { name: Arc::from("fuzz"), version: semver::Version::new(1, 0, 0), digest: [0; 32] },
        enabled: true,
        chain: vec![ChainEntry {
            kind: PolicyKind::DlpFilter,
            mode: Mode::Enforce,
            endpoints: BTreeMap::new(),
            phases: vec![Phase::Input, Phase::Output],
            message: None,
            policy: CompiledPolicy::Content(Box::new(Finder { words, rules })),
        }],
        audit: None,
        targets: vec![CompiledTarget {
            id: Arc::from("target"),
            model: Arc::from(model),
            serves: Serves::Any,
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
        hold_back: 64,
        block_response: BlockResponse::Conflict,
        attachments: BTreeMap::new(),
        exceptions: Vec::new(),
        redaction_metadata: false,
    }
}
