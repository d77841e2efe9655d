//! Tokens used, as upstream answers tell it.
//!
//! Nothing about it can be relied upon (`reference/databricks-serving.md` §4): Llama streams repeat a growing count in
//! every chunk, Claude ones hold `null` until the end, some answers have none, and Responses name the fields otherwise.
//! So each answer or chunk is observed, and for each number the last one that is not `null` holds; nothing is summed.

use crate::json::{Document, Kind, Limits, NodeId, Reading};

/// Token counts by class; absent: never told.
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

impl Usage {
    /// Takes over what an answer, or the data of one event of a stream, tells. Anything else is passed over.
    pub fn observe(&mut self, json: &[u8]) {
        // Most chunks of most streams tell nothing.
        if memchr::memmem::find(json, b"\"usage\"").is_none() {
            return;
        }
        let Ok(text) = std::str::from_utf8(json) else { return };
        let Ok(document) = Document::parse_text(text, Limits::default(), Reading::Lenient, Vec::new()) else {
            return;
        };
        let root = document.root();
        // Events of responses carry the whole response.
        let holders = [Some(root), document.get(root, "response"), document.get(root, "message")];
        for holder in holders.into_iter().flatten() {
            if let Some(usage) = document.get(holder, "usage") {
                self.take(&document, usage);
            }
        }
    }

    fn take(&mut self, document: &Document<'_>, usage: NodeId) {
        let number =
            |object: NodeId, key: &str| document.get(object, key).and_then(|at| unsigned(document, at));
        let nested = |object: &str, key: &str| document.get(usage, object).and_then(|at| number(at, key));
        let keep = |slot: &mut Option<u64>, told: Option<u64>| *slot = told.or(*slot);
        keep(&mut self.input, number(usage, "prompt_tokens").or_else(|| number(usage, "input_tokens")));
        keep(&mut self.output, number(usage, "completion_tokens").or_else(|| number(usage, "output_tokens")));
        keep(&mut self.total, number(usage, "total_tokens"));
        keep(
            &mut self.cache_read,
            number(usage, "cache_read_input_tokens")
                .or_else(|| nested("prompt_tokens_details", "cached_tokens"))
                .or_else(|| nested("input_tokens_details", "cached_tokens")),
        );
        keep(&mut self.cache_write, number(usage, "cache_creation_input_tokens"));
        keep(
            &mut self.reasoning,
            number(usage, "reasoning_tokens")
                .or_else(|| nested("completion_tokens_details", "reasoning_tokens"))
                .or_else(|| nested("output_tokens_details", "reasoning_tokens")),
        );
    }

    /// Whether anything was told.
    pub fn is_known(&self) -> bool {
        *self != Self::default()
    }
}

fn unsigned(document: &Document<'_>, node: NodeId) -> Option<u64> {
    (document.kind(node) == Kind::Number).then(|| document.unsigned(node)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(chunks: &[&str]) -> Usage {
        let mut usage = Usage::default();
        for chunk in chunks {
            usage.observe(chunk.as_bytes());
        }
        usage
    }

    #[test]
    fn growing_counts_are_not_summed() {
        let usage = observed(&[
            r#"{"usage":{"prompt_tokens":30,"completion_tokens":1,"total_tokens":31}}"#,
            r#"{"usage":{"prompt_tokens":30,"completion_tokens":2,"total_tokens":32}}"#,
            r#"{"choices":[]}"#,
        ]);
        assert_eq!((usage.input, usage.output, usage.total), (Some(30), Some(2), Some(32)));
    }

    #[test]
    fn nulls_do_not_undo_a_number() {
        let usage = observed(&[
            r#"{"usage":{"prompt_tokens":12,"completion_tokens":null,"total_tokens":null}}"#,
            r#"{"usage":{"prompt_tokens":null,"completion_tokens":7,"total_tokens":19}}"#,
            r#"{"usage":null}"#,
        ]);
        assert_eq!((usage.input, usage.output, usage.total), (Some(12), Some(7), Some(19)));
    }

    #[test]
    fn responses_name_the_fields_otherwise_and_nest_them() {
        let usage = observed(&[concat!(
            r#"{"type":"response.completed","response":{"usage":{"input_tokens":5,"#,
            r#""input_tokens_details":{"cached_tokens":3},"output_tokens":9,"#,
            r#""output_tokens_details":{"reasoning_tokens":4},"total_tokens":14}}}"#
        )]);
        assert_eq!((usage.input, usage.output, usage.total), (Some(5), Some(9), Some(14)));
        assert_eq!((usage.cache_read, usage.reasoning), (Some(3), Some(4)));
    }

    #[test]
    fn what_is_no_json_or_tells_nothing_leaves_it_unknown() {
        let usage =
            observed(&["[DONE]", "\"usage\"", "{\"usage\":3", "{}", r#"{"usage":{"prompt_tokens":-1}}"#]);
        assert!(!usage.is_known());
    }
}
