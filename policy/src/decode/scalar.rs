//! Reading single values.

use std::ops::RangeInclusive;

use super::{Cx, Path, closest, described, listed, object::by_key, path::head, shown};
use crate::{
    codes,
    yaml::{Node, Value},
};

fn wrong_type(node: &Node, path: &Path<'_>, cx: &mut Cx, expected: &str, help: Option<&str>) {
    let message = format!("expected {expected}, found {}", described(node));
    match help {
        Some(help) => cx.error_help(codes::WRONG_TYPE, path, head(node), message, help),
        None => cx.error(codes::WRONG_TYPE, path, head(node), message),
    }
}

/// A text, kept as it is. Numbers and `true` are no texts: what is written without quotes is not always what was
/// meant (`1.0`, `0x1f`, `1e3`).
pub(crate) fn text(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<String> {
    match &node.value {
        Value::Text(text) => Some(text.clone()),
        Value::Int(_) | Value::Float(_) | Value::Bool(_) => {
            wrong_type(node, path, cx, "a text", Some("put it in quotes"));
            None
        }
        _ => {
            wrong_type(node, path, cx, "a text", None);
            None
        }
    }
}

/// `true` or `false`.
pub(crate) fn boolean(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<bool> {
    match &node.value {
        Value::Bool(value) => Some(*value),
        Value::Text(text) if matches!(text.to_ascii_lowercase().as_str(), "yes" | "on" | "true") => {
            wrong_type(node, path, cx, "`true` or `false`", Some("write `true` without quotes"));
            None
        }
        Value::Text(text) if matches!(text.to_ascii_lowercase().as_str(), "no" | "off" | "false") => {
            wrong_type(node, path, cx, "`true` or `false`", Some("write `false` without quotes"));
            None
        }
        _ => {
            wrong_type(node, path, cx, "`true` or `false`", None);
            None
        }
    }
}

/// A whole number within a range.
pub(crate) fn integer<T>(range: RangeInclusive<u32>) -> impl Fn(&Node, &Path<'_>, &mut Cx) -> Option<T>
where
    T: From<u32>,
{
    move |node, path, cx| {
        let value = match &node.value {
            Value::Int(value) => *value,
            Value::Text(text) if text.trim().parse::<i128>().is_ok() => {
                wrong_type(node, path, cx, "a whole number", Some("remove the quotes"));
                return None;
            }
            _ => {
                wrong_type(node, path, cx, "a whole number", None);
                return None;
            }
        };
        let within = u32::try_from(value).ok().filter(|value| range.contains(value));
        if within.is_none() {
            let message = format!("`{value}` is outside {} to {}", range.start(), range.end());
            cx.error(codes::OUT_OF_RANGE, path, node.span, message);
        }
        within.map(T::from)
    }
}

/// A number from 0 to 1.
pub(crate) fn fraction(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<f64> {
    let value = number(node, path, cx)?;
    if (0.0..=1.0).contains(&value) {
        return Some(value);
    }
    cx.error(codes::OUT_OF_RANGE, path, node.span, format!("`{value}` is outside 0 to 1"));
    None
}

/// A number that is zero or more.
pub(crate) fn amount(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<f64> {
    let value = number(node, path, cx)?;
    if value.is_finite() && value >= 0.0 {
        return Some(value);
    }
    cx.error(codes::OUT_OF_RANGE, path, node.span, format!("`{value}` is not a price"));
    None
}

fn number(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<f64> {
    match &node.value {
        Value::Float(value) => Some(*value),
        // Every u32 is exact in an f64; what is larger is out of every range here.
        Value::Int(value) => {
            Some(u32::try_from(*value).map_or(if *value < 0 { -1.0 } else { f64::MAX }, f64::from))
        }
        Value::Text(text) if text.trim().parse::<f64>().is_ok() => {
            wrong_type(node, path, cx, "a number", Some("remove the quotes"));
            None
        }
        _ => {
            wrong_type(node, path, cx, "a number", None);
            None
        }
    }
}

/// One of a fixed set of words.
pub(crate) fn choice<T: Copy>(
    words: &'static [(&'static str, T)],
) -> impl Fn(&Node, &Path<'_>, &mut Cx) -> Option<T> {
    move |node, path, cx| {
        let written = match &node.value {
            Value::Text(text) => text.clone(),
            Value::Int(value) => value.to_string(),
            Value::Bool(value) => value.to_string(),
            _ => {
                let valid = listed(words.iter().map(|(word, _)| *word));
                wrong_type(node, path, cx, "a word", Some(&format!("valid values: {valid}")));
                return None;
            }
        };
        let value = words.iter().find(|(word, _)| *word == written).map(|(_, value)| *value);
        if value.is_none() {
            unknown_value(&written, words.iter().map(|(word, _)| *word), node, path, cx);
        }
        value
    }
}

/// Reports a word that is not among those that are known.
pub(crate) fn unknown_value<'k>(
    written: &str,
    known: impl Iterator<Item = &'k str> + Clone,
    node: &Node,
    path: &Path<'_>,
    cx: &mut Cx,
) {
    let valid = listed(known.clone());
    let help = match closest(written, known) {
        Some(meant) => format!("did you mean `{meant}`? valid values: {valid}"),
        None => format!("valid values: {valid}"),
    };
    let message = format!("unknown value `{}`", shown(written));
    cx.error_help(codes::UNKNOWN_VALUE, path, node.span, message, help);
}

/// Whatever JSON can say.
pub(crate) fn json(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<serde_json::Value> {
    use serde_json::Value as Json;
    Some(match &node.value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) => {
            let number =
                u64::try_from(*value).map(Into::into).or_else(|_| i64::try_from(*value).map(Into::into));
            let Ok(number) = number else {
                let message = format!("`{value}` is too large for a number of JSON");
                cx.error(codes::OUT_OF_RANGE, path, node.span, message);
                return None;
            };
            Json::Number(number)
        }
        Value::Float(value) => {
            let Some(number) = serde_json::Number::from_f64(*value) else {
                let message = format!("`{value}` is no number of JSON");
                cx.error(codes::OUT_OF_RANGE, path, node.span, message);
                return None;
            };
            Json::Number(number)
        }
        Value::Text(text) => Json::String(text.clone()),
        Value::List(items) => {
            let items = items.iter().enumerate().filter_map(|(at, item)| json(item, &path.index(at), cx));
            Json::Array(items.collect())
        }
        Value::Map(entries) => {
            let entries = by_key(entries, path, cx);
            let fields = entries
                .into_iter()
                .filter_map(|(key, entry)| Some((key.to_owned(), json(&entry.value, &path.key(key), cx)?)));
            Json::Object(fields.collect())
        }
    })
}
