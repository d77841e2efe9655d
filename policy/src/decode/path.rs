//! Places in a document: how they are written, and where in the source they are.

use std::fmt;

use crate::{
    diag::Span,
    yaml::{Node, Value},
};

/// A place in the document, kept on the stack while it is read; written as `policy.rbac.roles["a b"].action`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Path<'p> {
    /// The document.
    Root,
    /// A key of a mapping.
    Key(&'p Path<'p>, &'p str),
    /// An item of a list.
    Index(&'p Path<'p>, usize),
}

impl<'p> Path<'p> {
    /// The place of a key below this one.
    pub(crate) const fn key(&'p self, key: &'p str) -> Self {
        Path::Key(self, key)
    }

    /// The place of an item below this one.
    pub(crate) const fn index(&'p self, index: usize) -> Self {
        Path::Index(self, index)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
            Path::Key(parent, key) => {
                parent.fmt(f)?;
                if is_plain(key) {
                    let dot = if matches!(parent, Path::Root) { "" } else { "." };
                    write!(f, "{dot}{key}")
                } else {
                    write!(f, "[{}]", quoted(key))
                }
            }
        }
    }
}

fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn quoted(key: &str) -> String {
    let mut out = String::from("\"");
    for c in key.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Where in the source the places of a document are.
///
/// Later stages name a place by its path and get its span; a place that does not exist (a missing key, a default)
/// is that of its closest parent.
#[derive(Debug, Clone)]
pub struct SourceMap {
    root: Node,
}

impl SourceMap {
    /// Keeps the tree that the places are looked up in.
    pub(crate) const fn new(root: Node) -> Self {
        Self { root }
    }

    /// The tree.
    pub(crate) const fn root(&self) -> &Node {
        &self.root
    }

    /// What to point at for a path: the value if it is a scalar, otherwise the key or list item that holds it.
    pub fn span(&self, path: &str) -> Option<Span> {
        self.look(path, false)
    }

    /// The key at a path, or the item if the path ends in an index.
    pub fn key_span(&self, path: &str) -> Option<Span> {
        self.look(path, true)
    }

    fn look(&self, path: &str, want_key: bool) -> Option<Span> {
        let mut node = &self.root;
        let mut rest = path;
        let mut place = None;
        while !rest.is_empty() {
            match &node.value {
                Value::Map(entries) => {
                    let Some((entry, tail)) =
                        entries.iter().find_map(|entry| Some((entry, after_key(rest, &entry.key)?)))
                    else {
                        return place;
                    };
                    place = Some(entry.key_span);
                    (node, rest) = (&entry.value, tail);
                }
                Value::List(items) => {
                    let Some((index, tail)) = after_index(rest) else { return place };
                    let Some(item) = items.get(index) else { return place };
                    place = Some(head(item));
                    (node, rest) = (item, tail);
                }
                _ => return place,
            }
        }
        match &node.value {
            Value::Map(_) | Value::List(_) => place,
            _ if want_key => place,
            _ => Some(node.span),
        }
    }
}

/// What to point at for a value as a whole: a scalar itself, of a mapping or list its first entry.
pub(crate) fn head(node: &Node) -> Span {
    match &node.value {
        Value::Map(entries) => entries.first().map_or(node.span, |first| first.key_span),
        Value::List(items) => items.first().map_or(node.span, head),
        _ => node.span,
    }
}

/// What follows `key` in a path that begins with it.
fn after_key<'p>(path: &'p str, key: &str) -> Option<&'p str> {
    let rest = if is_plain(key) {
        path.strip_prefix('.').unwrap_or(path).strip_prefix(key)?
    } else {
        path.strip_prefix('[')?.strip_prefix(quoted(key).as_str())?.strip_prefix(']')?
    };
    (rest.is_empty() || rest.starts_with(['.', '['])).then_some(rest)
}

/// The index that a path begins with, and what follows.
fn after_index(path: &str) -> Option<(usize, &str)> {
    let (digits, rest) = path.strip_prefix('[')?.split_once(']')?;
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    const SOURCE: &str = "a:\n  b-c:\n    - x: 1\n    - y: [2, 3]\n\"d e\": {f.g: true}\n";

    fn at(path: &str) -> &'static str {
        let map = SourceMap::new(yaml::parse(SOURCE.as_bytes()).unwrap());
        map.span(path).map_or("", |span| SOURCE.get(span.start..span.end).unwrap())
    }

    #[test]
    fn scalars_are_pointed_at_themselves_and_containers_by_their_key() {
        assert_eq!(at("a.b-c[0].x"), "1");
        assert_eq!(at("a.b-c[1].y[1]"), "3");
        assert_eq!(at("a.b-c[1].y"), "y");
        assert_eq!(at("a.b-c[1]"), "y");
        assert_eq!(at("a"), "a");
        assert_eq!(at("[\"d e\"][\"f.g\"]"), "true");
    }

    #[test]
    fn what_is_missing_is_its_closest_parent() {
        assert_eq!(at("a.b-c[0].z.deeper"), "x");
        assert_eq!(at("a.b-c[7]"), "b-c");
        assert_eq!(at("a.nothing"), "a");
        assert_eq!(at("nothing"), "");
        assert_eq!(at(""), "");
    }

    #[test]
    fn paths_are_written_as_they_are_looked_up() {
        let (root, key) = (Path::Root, "d e");
        let first = root.key(key);
        let second = first.key("f.g");
        assert_eq!(second.to_string(), "[\"d e\"][\"f.g\"]");
        let a = root.key("a");
        let b = a.key("b-c");
        assert_eq!(b.index(1).to_string(), "a.b-c[1]");
    }
}
