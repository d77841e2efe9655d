//! Reading lists, and mappings whose keys are free.

use std::collections::BTreeMap;

use super::{Cx, Path, described, object::by_key, path::head, shown};
use crate::{
    codes,
    diag::Span,
    yaml::{Node, Value},
};

/// A list. Items that cannot be read are reported and left out.
pub(crate) fn list<'n, T>(
    node: &'n Node,
    path: &Path<'_>,
    cx: &mut Cx,
    mut decode: impl FnMut(&'n Node, &Path<'_>, &mut Cx) -> Option<T>,
) -> Option<Vec<T>> {
    let Value::List(nodes) = &node.value else {
        cx.lost.push(path.to_string());
        let message = format!("expected a list, found {}", described(node));
        match node.value {
            Value::Null => {
                cx.error_help(codes::WRONG_TYPE, path, node.span, message, "remove the key, or write `[]`");
            }
            Value::Text(_) | Value::Int(_) | Value::Float(_) | Value::Bool(_) => {
                cx.error_help(codes::WRONG_TYPE, path, node.span, message, "write `[…]` around it");
            }
            Value::List(_) | Value::Map(_) => cx.error(codes::WRONG_TYPE, path, head(node), message),
        }
        return None;
    };
    let items: Vec<T> =
        nodes.iter().enumerate().filter_map(|(at, item)| decode(item, &path.index(at), cx)).collect();
    if items.len() != nodes.len() {
        cx.lost.push(path.to_string());
    }
    Some(items)
}

/// A list that is not empty.
pub(crate) fn non_empty_list<'n, T>(
    node: &'n Node,
    path: &Path<'_>,
    cx: &mut Cx,
    decode: impl FnMut(&'n Node, &Path<'_>, &mut Cx) -> Option<T>,
) -> Option<Vec<T>> {
    if matches!(&node.value, Value::List(items) if items.is_empty()) {
        cx.error(codes::OUT_OF_RANGE, path, node.span, "the list is empty".to_owned());
        return None;
    }
    list(node, path, cx, decode)
}

/// A list in which nothing stands twice.
pub(crate) fn unique_list<'n, T: PartialEq>(
    node: &'n Node,
    path: &Path<'_>,
    cx: &mut Cx,
    mut decode: impl FnMut(&'n Node, &Path<'_>, &mut Cx) -> Option<T>,
    name: impl Fn(&T) -> String,
) -> Option<Vec<T>> {
    let mut seen = std::collections::BTreeSet::new();
    list(node, path, cx, |item, path, cx| {
        let value = decode(item, path, cx)?;
        let written = name(&value);
        if !seen.insert(written.clone()) {
            let message = format!("`{}` stands twice in the list", shown(&written));
            cx.error(codes::DUPLICATE_NAME, path, head(item), message);
        }
        Some(value)
    })
}

/// A mapping with free keys, each checked by `key` (which reports what is wrong with it).
pub(crate) fn map<'n, K: Ord, T>(
    node: &'n Node,
    path: &Path<'_>,
    cx: &mut Cx,
    mut key: impl FnMut(&str, Span, &Path<'_>, &mut Cx) -> Option<K>,
    mut decode: impl FnMut(&'n Node, &Path<'_>, &mut Cx) -> Option<T>,
) -> Option<BTreeMap<K, T>> {
    let Value::Map(entries) = &node.value else {
        cx.lost.push(path.to_string());
        let message = format!("expected a mapping, found {}", described(node));
        let help = matches!(node.value, Value::Null).then_some("remove the key, or write `{}`");
        match help {
            Some(help) => cx.error_help(codes::WRONG_TYPE, path, node.span, message, help),
            None => cx.error(codes::WRONG_TYPE, path, head(node), message),
        }
        return None;
    };
    let mut out = BTreeMap::new();
    let mut lost = false;
    for (written, entry) in by_key(entries, path, cx) {
        if written == "<<" {
            continue;
        }
        let place = path.key(written);
        let name = key(written, entry.key_span, &place, cx);
        let value = decode(&entry.value, &place, cx);
        match (name, value) {
            (Some(name), Some(value)) => {
                out.insert(name, value);
            }
            _ => lost = true,
        }
    }
    if lost {
        cx.lost.push(path.to_string());
    }
    Some(out)
}
