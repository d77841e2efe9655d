//! Token counts as upstreams report them.

use serde::{Deserialize, Deserializer};

/// Token counts; a class that was not reported is absent, never 0. Reads the forms of chat, completions, embeddings
/// and responses, with Anthropic's cache counts as Databricks passes them on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) prompt: Option<u64>,
    pub(crate) completion: Option<u64>,
    pub(crate) total: Option<u64>,
    pub(crate) cached: Option<u64>,
    pub(crate) cache_write: Option<u64>,
    pub(crate) reasoning: Option<u64>,
}

#[derive(Deserialize)]
struct Reported {
    #[serde(default)]
    prompt_tokens: Count,
    #[serde(default)]
    input_tokens: Count,
    #[serde(default)]
    completion_tokens: Count,
    #[serde(default)]
    output_tokens: Count,
    #[serde(default)]
    total_tokens: Count,
    #[serde(default)]
    cache_read_input_tokens: Count,
    #[serde(default)]
    cache_creation_input_tokens: Count,
    #[serde(default)]
    reasoning_tokens: Count,
    #[serde(default, alias = "input_tokens_details")]
    prompt_tokens_details: Option<Details>,
    #[serde(default, alias = "output_tokens_details")]
    completion_tokens_details: Option<Details>,
}

#[derive(Deserialize, Clone, Copy, Default)]
struct Details {
    #[serde(default)]
    cached_tokens: Count,
    #[serde(default)]
    reasoning_tokens: Count,
}

/// A count, or anything else that then counts as not reported.
#[derive(Clone, Copy, Default)]
struct Count(Option<u64>);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Any {
            Number(u64),
            Other(serde::de::IgnoredAny),
        }
        Ok(Self(match Any::deserialize(deserializer)? {
            Any::Number(number) => Some(number),
            Any::Other(_) => None,
        }))
    }
}

impl<'de> Deserialize<'de> for Usage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let reported = Reported::deserialize(deserializer)?;
        let prompt = reported.prompt_tokens_details.unwrap_or_default();
        let completion = reported.completion_tokens_details.unwrap_or_default();
        Ok(Self {
            prompt: reported.prompt_tokens.0.or(reported.input_tokens.0),
            completion: reported.completion_tokens.0.or(reported.output_tokens.0),
            total: reported.total_tokens.0,
            cached: reported.cache_read_input_tokens.0.or(prompt.cached_tokens.0),
            cache_write: reported.cache_creation_input_tokens.0,
            reasoning: completion.reasoning_tokens.0.or(reported.reasoning_tokens.0),
        })
    }
}

impl Usage {
    /// Takes over what is said anew.
    pub(crate) fn update(&mut self, newer: Self) {
        self.prompt = newer.prompt.or(self.prompt);
        self.completion = newer.completion.or(self.completion);
        self.total = newer.total.or(self.total);
        self.cached = newer.cached.or(self.cached);
        self.cache_write = newer.cache_write.or(self.cache_write);
        self.reasoning = newer.reasoning.or(self.reasoning);
    }

    /// Whether anything was reported.
    pub(crate) fn is_known(&self) -> bool {
        *self != Self::default()
    }

    /// The usage that an answer reports, however large the answer is.
    pub(crate) fn of_answer(bytes: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            usage: Option<Usage>,
        }
        serde_json::from_slice::<Answer>(bytes).ok().and_then(|answer| answer.usage).unwrap_or_default()
    }
}

impl From<Usage> for kt_policy::usage::Usage {
    fn from(usage: Usage) -> Self {
        Self {
            input: usage.prompt,
            output: usage.completion,
            total: usage.total,
            cache_read: usage.cached,
            cache_write: usage.cache_write,
            reasoning: usage.reasoning,
        }
    }
}
