//! Reading a mapping key by key.

use std::collections::BTreeMap;

use super::{Cx, Path, closest, described, listed, path::head, shown};
use crate::{
    codes,
    diag::{Code, Span},
    yaml::{Entry, Node, Value},
};

/// A mapping that is being read: keys are asked for one after the other, and [`Object::finish`] reports the rest.
pub(crate) struct Object<'n> {
    entries: BTreeMap<&'n str, &'n Entry>,
    /// Keys that were asked for and are valid.
    known: Vec<&'static str>,
    /// Keys that were refused by name.
    refused: Vec<&'static str>,
    /// What a missing key points at.
    span: Span,
}

impl<'n> Object<'n> {
    /// Opens a mapping; reports anything else, and keys that stand twice.
    pub(crate) fn open(node: &'n Node, path: &Path<'_>, cx: &mut Cx) -> Option<Self> {
        let Value::Map(list) = &node.value else {
            cx.lost.push(path.to_string());
            let message = format!("expected a mapping, found {}", described(node));
            if matches!(node.value, Value::Null) {
                cx.error_help(codes::WRONG_TYPE, path, node.span, message, "remove the key, or write `{}`");
            } else {
                cx.error(codes::WRONG_TYPE, path, head(node), message);
            }
            return None;
        };
        Some(Self {
            entries: by_key(list, path, cx),
            known: Vec::new(),
            refused: Vec::new(),
            span: head(node),
        })
    }

    /// What a missing key points at instead of the first entry.
    pub(crate) const fn point_at(&mut self, span: Span) {
        self.span = span;
    }

    /// Whether the key is there, whatever its value.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The value of a valid key, undecoded.
    pub(crate) fn node(&mut self, key: &'static str) -> Option<&'n Node> {
        self.known.push(key);
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// The span of a key.
    pub(crate) fn key_span(&self, key: &str) -> Span {
        self.entries.get(key).map_or(self.span, |entry| entry.key_span)
    }

    /// A key that must be there.
    pub(crate) fn required<T>(
        &mut self,
        key: &'static str,
        path: &Path<'_>,
        cx: &mut Cx,
        decode: impl FnOnce(&'n Node, &Path<'_>, &mut Cx) -> Option<T>,
    ) -> Option<T> {
        if let Some(node) = self.node(key) {
            return decode(node, &path.key(key), cx);
        }
        cx.lost.push(path.key(key).to_string());
        cx.error(codes::MISSING_KEY, &path.key(key), self.span, format!("the key `{key}` is missing"));
        None
    }

    /// A key that can be absent.
    pub(crate) fn optional<T>(
        &mut self,
        key: &'static str,
        path: &Path<'_>,
        cx: &mut Cx,
        decode: impl FnOnce(&'n Node, &Path<'_>, &mut Cx) -> Option<T>,
    ) -> Option<T> {
        let node = self.node(key)?;
        decode(node, &path.key(key), cx)
    }

    /// A key that stands for its default when it is absent.
    pub(crate) fn or<T>(
        &mut self,
        key: &'static str,
        path: &Path<'_>,
        cx: &mut Cx,
        default: T,
        decode: impl FnOnce(&'n Node, &Path<'_>, &mut Cx) -> Option<T>,
    ) -> T {
        self.optional(key, path, cx, decode).unwrap_or(default)
    }

    /// A key that other documents know and this reader refuses, with what to do instead. Its value is not shown.
    pub(crate) fn refuse(
        &mut self,
        key: &'static str,
        path: &Path<'_>,
        cx: &mut Cx,
        code: Code,
        message: &str,
        help: &str,
    ) {
        self.refused.push(key);
        if let Some(entry) = self.entries.get(key) {
            cx.error_help(code, &path.key(key), entry.key_span, message.to_owned(), help);
        }
    }

    /// Reports the keys that nobody asked for.
    pub(crate) fn finish(self, path: &Path<'_>, cx: &mut Cx) {
        for (key, entry) in &self.entries {
            if self.known.contains(key) || self.refused.contains(key) || *key == "<<" {
                continue;
            }
            let valid = listed(self.known.iter().copied());
            let help = match closest(key, self.known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`? valid keys: {valid}"),
                None => format!("valid keys: {valid}"),
            };
            let message = format!("unknown key `{}`", shown(key));
            cx.error_help(codes::UNKNOWN_KEY, &path.key(key), entry.key_span, message, help);
        }
    }
}

/// The entries by key; those that repeat a key, and merge keys, are reported and the first is kept.
pub(super) fn by_key<'n>(list: &'n [Entry], path: &Path<'_>, cx: &mut Cx) -> BTreeMap<&'n str, &'n Entry> {
    let mut entries = BTreeMap::new();
    for entry in list {
        let key = entry.key.as_str();
        if key == "<<" {
            let message = "merge keys (`<<`) are not read".to_owned();
            let help = "write the keys out: a pack says everything where it holds";
            cx.error_help(codes::MERGE_KEY, &path.key(key), entry.key_span, message, help);
        }
        if entries.contains_key(key) {
            let message = format!("the key `{}` stands twice", shown(key));
            cx.error_help(
                codes::DUPLICATE_KEY,
                &path.key(key),
                entry.key_span,
                message,
                "keep one of them: readers of YAML do not agree on which one counts",
            );
        } else {
            entries.insert(key, entry);
        }
    }
    entries
}
