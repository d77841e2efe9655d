//! The model table: windows, limits, prices, retirements. Data with a version, never compiled-in truth: the file that
//! comes with the program can be replaced by another one.
//!
//! An unknown price is `None`, never 0.

use std::{collections::BTreeMap, sync::OnceLock};

use jiff::civil::Date;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    codes,
    decode::{Cx, Object, Path, amount, choice, head, integer, list, shown, text, unique_list},
    diag::{self, Diagnostic},
    evaluate::ModelLimits,
    pack::read::{MODEL_NAME, name},
    usage::Usage,
    yaml::{self, Node},
};

/// The table that comes with the program.
const BUILT_IN: &str = include_str!("../../data/models.yaml");

/// What is known of models, by concrete endpoint name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelTable {
    version: String,
    digest: [u8; 32],
    models: BTreeMap<String, Model>,
}

/// What is known of one model.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Model {
    /// Input and output tokens together.
    pub window: Option<u64>,
    /// The most output tokens.
    pub output_limit: Option<u64>,
    /// The parameter that bounds output tokens, when it is not `max_tokens`.
    pub token_parameter: Option<String>,
    /// It refuses any such parameter (`token_parameter: none`).
    pub refuses_token_parameter: bool,
    /// What one million tokens cost, in US dollars.
    pub prices: Prices,
    /// The day from which Databricks no longer serves it, when it is known; `retired` also without one.
    pub retired_on: Option<Date>,
    /// Databricks no longer serves it.
    pub retired: bool,
    /// What to use instead.
    pub successor: Option<String>,
}

/// US dollars for one million tokens, by class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Prices {
    /// Tokens of the prompt.
    pub input: Option<f64>,
    /// Tokens of the answer.
    pub output: Option<f64>,
    /// Tokens of the prompt that were read from a cache; `None`: as `input`.
    pub cached_input: Option<f64>,
}

impl ModelTable {
    /// The table that comes with the program.
    pub fn built_in() -> &'static Self {
        static TABLE: OnceLock<ModelTable> = OnceLock::new();
        TABLE.get_or_init(|| {
            let (table, findings) = Self::parse(BUILT_IN.as_bytes());
            debug_assert!(findings.is_empty(), "{findings:?}");
            table.unwrap_or_else(|| Self {
                version: "none".to_owned(),
                digest: [0; 32],
                models: BTreeMap::new(),
            })
        })
    }

    /// Reads a table. There is one exactly when no finding is an error.
    pub fn parse(source: &[u8]) -> (Option<Self>, Vec<Diagnostic>) {
        let root = match yaml::parse(source) {
            Ok(root) => root,
            Err(refusal) => return (None, vec![refusal]),
        };
        let mut cx = Cx::default();
        let read = table(&root, &Path::Root, &mut cx);
        let mut found = cx.found;
        diag::sort(&mut found);
        let broken = found.iter().any(Diagnostic::is_error);
        let table = read.filter(|_| !broken).map(|(version, models)| Self {
            version,
            digest: Sha256::digest(source).into(),
            models,
        });
        (table, found)
    }

    /// The version that the table gives itself.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// SHA-256 of its source.
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// What is known of an endpoint name.
    pub fn lookup(&self, model: &str) -> Option<&Model> {
        self.models.get(model)
    }

    /// The successor of a retired model.
    pub fn successor(&self, model: &str) -> Option<&str> {
        self.lookup(model).filter(|model| model.retired)?.successor.as_deref()
    }

    /// What a request cost, in millionths of a dollar; `None` when a price or a count that it needs is unknown.
    pub fn micro_usd(&self, model: &str, usage: &Usage) -> Option<u64> {
        let prices = &self.lookup(model)?.prices;
        let cached = usage.cache_read.unwrap_or(0);
        let prompt = usage.input?;
        let fresh = prompt.saturating_sub(cached);
        // Dollars for a million tokens are millionths of a dollar for one.
        let mut total = class(fresh, prices.input)? + class(cached, prices.cached_input.or(prices.input))?;
        if let Some(completion) = usage.output {
            total += class(completion, prices.output)?;
        }
        micros(total)
    }
}

#[expect(clippy::cast_precision_loss, reason = "token counts are far below 2^53")]
fn class(tokens: u64, price: Option<f64>) -> Option<f64> {
    if tokens == 0 { Some(0.0) } else { Some(tokens as f64 * price?) }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked against the range before"
)]
fn micros(total: f64) -> Option<u64> {
    (total.is_finite() && (0.0..=1e15).contains(&total)).then(|| total.round() as u64)
}

impl ModelLimits for ModelTable {
    fn output_limit(&self, model: &str) -> Option<u64> {
        self.lookup(model)?.output_limit
    }

    fn window(&self, model: &str) -> Option<u64> {
        self.lookup(model)?.window
    }

    fn token_parameter(&self, model: &str) -> Option<&str> {
        self.lookup(model)?.token_parameter.as_deref()
    }

    fn refuses_token_parameter(&self, model: &str) -> bool {
        self.lookup(model).is_some_and(|model| model.refuses_token_parameter)
    }
}

fn table(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<(String, BTreeMap<String, Model>)> {
    let mut o = Object::open(node, path, cx)?;
    let version = o.required("version", path, cx, text);
    let models = o.required("models", path, cx, |node, path, cx| {
        let entries = list(node, path, cx, |node, path, cx| {
            let (name, model) = model(node, path, cx)?;
            Some((name, model, head(node)))
        })?;
        let mut models = BTreeMap::new();
        for (name, model, span) in entries {
            if models.contains_key(&name) {
                let message = format!("the model `{}` stands twice", shown(&name));
                cx.error(codes::DUPLICATE_NAME, path, span, message);
            }
            models.insert(name, model);
        }
        Some(models)
    });
    o.finish(path, cx);
    Some((version?, models?))
}

/// `None`: the model takes none.
const PARAMETERS: &[(&str, Option<&str>)] = &[
    ("max_tokens", Some("max_tokens")),
    ("max_completion_tokens", Some("max_completion_tokens")),
    ("none", None),
];

fn model(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<(String, Model)> {
    let tokens = integer::<u64>(1..=100_000_000);
    let mut o = Object::open(node, path, cx)?;
    let label = o.required("name", path, cx, name(MODEL_NAME));
    let window = o.optional("window", path, cx, &tokens);
    let output_limit = o.optional("output_limit", path, cx, &tokens);
    let token_parameter = o.optional("token_parameter", path, cx, choice(PARAMETERS));
    let prices = o.or("prices", path, cx, Prices::default(), prices);
    let is_retired = o.has("retired");
    let retired_on = o.optional("retired", path, cx, |node, path, cx| {
        let written = text(node, path, cx)?;
        match written.parse::<Date>() {
            Ok(day) => Some(Some(day)),
            Err(_) if written == "unknown-day" => Some(None),
            Err(_) => {
                let message = format!("`{}` is not a day", shown(&written));
                cx.error_help(
                    codes::BAD_FORMAT,
                    path,
                    node.span,
                    message,
                    "write `2026-02-15`, or `unknown-day`",
                );
                None
            }
        }
    });
    let successor = o.optional("successor", path, cx, name(MODEL_NAME));
    o.optional("source", path, cx, |node, path, cx| unique_list(node, path, cx, text, String::clone));
    o.finish(path, cx);
    let model = Model {
        window,
        output_limit,
        token_parameter: token_parameter.flatten().map(str::to_owned),
        refuses_token_parameter: token_parameter == Some(None),
        prices,
        retired_on: retired_on.flatten(),
        retired: is_retired,
        successor,
    };
    Some((label?, model))
}

fn prices(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<Prices> {
    let mut o = Object::open(node, path, cx)?;
    let prices = Prices {
        input: o.optional("input", path, cx, amount),
        output: o.optional("output", path, cx, amount),
        cached_input: o.optional("cached_input", path, cx, amount),
    };
    o.finish(path, cx);
    Some(prices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_table_is_whole() {
        let (table, findings) = ModelTable::parse(BUILT_IN.as_bytes());
        assert_eq!(findings, []);
        let table = table.unwrap();
        let llama = table.lookup("databricks-meta-llama-3-3-70b-instruct").unwrap();
        assert_eq!((llama.window, llama.retired), (Some(128_000), false));
        for (name, model) in &table.models {
            assert!(!model.retired || model.successor.is_some(), "{name} has no successor");
            if let Some(successor) = &model.successor {
                assert!(table.lookup(successor).is_some_and(|model| !model.retired), "{name} -> {successor}");
            }
        }
    }

    #[test]
    fn an_unknown_price_is_no_cost_and_not_zero() {
        let source =
            "version: '1'\nmodels:\n  - {name: a, prices: {input: 0.5, output: 1.5}}\n  - {name: b}\n";
        let table = ModelTable::parse(source.as_bytes()).0.unwrap();
        let tokens = Usage { input: Some(1_000), output: Some(2_000), ..Usage::default() };
        assert_eq!(table.micro_usd("a", &tokens), Some(3_500));
        assert_eq!(table.micro_usd("b", &tokens), None);
        assert_eq!(table.micro_usd("c", &tokens), None);
        assert_eq!(table.micro_usd("a", &Usage::default()), None);
    }

    #[test]
    fn a_model_can_refuse_the_token_parameter() {
        let source = "version: '1'\nmodels:\n  - {name: a, token_parameter: none}\n  - {name: b}\n";
        let table = ModelTable::parse(source.as_bytes()).0.unwrap();
        assert!(table.refuses_token_parameter("a"));
        assert!(!table.refuses_token_parameter("b") && !table.refuses_token_parameter("c"));
        assert_eq!(table.token_parameter("a"), None);
    }

    #[test]
    fn a_table_with_mistakes_names_each_of_them() {
        let source = "version: '1'\nmodels:\n  - {name: a, windw: 3}\n  - {name: a, retired: soon}\n";
        let (table, findings) = ModelTable::parse(source.as_bytes());
        assert_eq!(table, None);
        let codes: Vec<String> = findings.iter().map(|finding| finding.code.to_string()).collect();
        assert_eq!(codes, ["KT0101", "KT0106", "KT0107"]);
    }
}
