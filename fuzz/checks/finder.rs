//! A pack whose one policy finds words, exactly: what it says of any text is plain to see.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kt_policy::{
    compiled::{ChainEntry, CompiledPack, CompiledPolicy, CompiledTarget, PackId, Serves},
    detect::{Detector, Hit, Rule, Scratch, Text},
    pack::{BlockResponse, providers::DataPolicy},
    verdict::{Mode, Phase, PolicyKind, Verdict},
};

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

/// A pack that serves `model` and replaces every one of `words`, in requests and answers.
pub(crate) fn pack(model: &str, words: &[&str]) -> CompiledPack {
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
