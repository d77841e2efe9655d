//! Tokens used, as upstream answers tell it.
//!
//! Nothing about it can be relied upon (`reference/databricks-serving.md` §4): Llama streams repeat a growing count in
//! every chunk, Claude ones hold `null` until the end, some answers have none, and Responses name the fields otherwise.
//! So for each number the last one that is a count holds; nothing is summed.

use serde::{Deserialize, Deserializer};

/// Token counts by class; absent: never told, never 0. Reads the `usage` of chat, completions, embeddings and responses,
/// with Anthropic's cache counts as Databricks passes them on; whatever is no count is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the input, cached ones included.
    pub input: Option<u64>,
    /// Tokens of the output, reasoning included.
    pub output: Option<u64>,
    /// Both together, as told.
    pub total: Option<u64>,
    /// Input tokens read from a cache.
    pub cache_read: Option<u64>,
    /// Input tokens written to a cache.
    pub cache_write: Option<u64>,
    /// Output tokens spent on reasoning.
    pub reasoning: Option<u64>,
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
            input: reported.prompt_tokens.0.or(reported.input_tokens.0),
            output: reported.completion_tokens.0.or(reported.output_tokens.0),
            total: reported.total_tokens.0,
            cache_read: reported.cache_read_input_tokens.0.or(prompt.cached_tokens.0),
            cache_write: reported.cache_creation_input_tokens.0,
            reasoning: completion.reasoning_tokens.0.or(reported.reasoning_tokens.0),
        })
    }
}

impl Usage {
    /// Takes over what is said anew.
    pub fn update(&mut self, newer: Self) {
        self.input = newer.input.or(self.input);
        self.output = newer.output.or(self.output);
        self.total = newer.total.or(self.total);
        self.cache_read = newer.cache_read.or(self.cache_read);
        self.cache_write = newer.cache_write.or(self.cache_write);
        self.reasoning = newer.reasoning.or(self.reasoning);
    }

    /// Whether anything was reported.
    pub fn is_known(&self) -> bool {
        *self != Self::default()
    }

    /// The usage that an answer reports, however large the answer is.
    pub fn of_answer(bytes: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            usage: Option<Usage>,
        }
        serde_json::from_slice::<Answer>(bytes).ok().and_then(|answer| answer.usage).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(json: &str) -> Usage {
        serde_json::from_str(json).expect("usage")
    }

    #[test]
    fn growing_counts_are_not_summed_and_nulls_do_not_undo_a_number() {
        let mut seen = usage(r#"{"prompt_tokens":30,"completion_tokens":1,"total_tokens":31}"#);
        seen.update(usage(r#"{"prompt_tokens":null,"completion_tokens":2,"total_tokens":32}"#));
        seen.update(Usage::default());
        assert_eq!((seen.input, seen.output, seen.total), (Some(30), Some(2), Some(32)));
    }

    #[test]
    fn every_api_names_the_fields_otherwise() {
        let claude = usage(
            r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"cache_read_input_tokens":4,"cache_creation_input_tokens":3}"#,
        );
        assert_eq!((claude.input, claude.cache_read, claude.cache_write), (Some(10), Some(4), Some(3)));
        let responses = usage(
            r#"{"input_tokens":5,"input_tokens_details":{"cached_tokens":3},"output_tokens":9,"output_tokens_details":{"reasoning_tokens":4},"total_tokens":14}"#,
        );
        assert_eq!((responses.input, responses.output, responses.total), (Some(5), Some(9), Some(14)));
        assert_eq!((responses.cache_read, responses.reasoning), (Some(3), Some(4)));
    }

    #[test]
    fn what_is_no_count_leaves_it_unknown() {
        for answer in [
            "not json",
            "[DONE]",
            r#"{"usage":"none"}"#,
            r#"{"usage":null}"#,
            r#"{"usage":{"prompt_tokens":-1}}"#,
        ] {
            assert!(!Usage::of_answer(answer.as_bytes()).is_known(), "{answer}");
        }
        let partly = br#"{"usage":{"prompt_tokens":-1,"total_tokens":1.5,"completion_tokens":3}}"#;
        assert_eq!(Usage::of_answer(partly).output, Some(3));
    }
}
