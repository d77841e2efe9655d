//! Offsets: from a text inside a text up to the field, from a field to the body, from bytes to code points.

use std::{collections::BTreeMap, ops::Range};

use super::texts::{Leaf, Source, Texts};
use crate::json::OffsetMap;

/// Maps ranges between an entry and the text it stands in. The map of an entry is made once, when it is first needed.
#[derive(Debug)]
pub(super) struct Mapper<'t> {
    texts: &'t Texts,
    source: Source<'t>,
    /// By entry: between its decoded text and its written form in the text of the parent.
    nested: BTreeMap<usize, OffsetMap>,
    /// By field: between its decoded text and the body.
    fields: BTreeMap<u32, OffsetMap>,
}

impl<'t> Mapper<'t> {
    pub(super) const fn new(texts: &'t Texts, source: Source<'t>) -> Self {
        Self { texts, source, nested: BTreeMap::new(), fields: BTreeMap::new() }
    }

    fn nested(&mut self, index: usize, parent: usize, raw: Range<usize>) -> &OffsetMap {
        let (texts, source) = (self.texts, self.source);
        self.nested
            .entry(index)
            .or_insert_with(|| OffsetMap::new(texts.text(source, parent).get(raw).unwrap_or_default()))
    }

    /// The range of the parent's text that a range of the entry's text stands in; `None` for a field.
    pub(super) fn up(&mut self, index: usize, range: Range<usize>) -> Option<(usize, Range<usize>)> {
        let entry = *self.texts.entry(index)?;
        let parent = entry.parent? as usize;
        let raw = entry.raw();
        let start = raw.start;
        let range = if entry.escaped { self.nested(index, parent, raw).to_raw(range) } else { range };
        Some((parent, start + range.start..start + range.end))
    }

    /// The part of a child's text that a range of its parent's text covers: all of a number or literal.
    pub(super) fn down(&mut self, child: usize, range: &Range<usize>) -> Range<usize> {
        let Some(entry) = self.texts.entry(child).copied() else { return 0..0 };
        let raw = entry.raw();
        if matches!(entry.leaf, Leaf::Number | Leaf::Literal) {
            return 0..raw.len();
        }
        let range = range.start.max(raw.start) - raw.start..range.end.min(raw.end).saturating_sub(raw.start);
        match (entry.escaped, entry.parent) {
            (true, Some(parent)) => self.nested(child, parent as usize, raw).to_decoded(range),
            _ => range,
        }
    }

    /// The range of the field's text.
    pub(super) fn field(&mut self, index: usize, range: Range<usize>) -> Range<usize> {
        let (mut index, mut range) = (index, range);
        while let Some((parent, outer)) = self.up(index, range.clone()) {
            (index, range) = (parent, outer);
        }
        range
    }

    /// The range of the body that a range of a field's text stands in.
    pub(super) fn body(&mut self, field: u32, range: Range<usize>) -> Option<Range<usize>> {
        let Source::Body(body) = self.source else { return Some(range) };
        let document = body.document;
        let node = self.source.node(field as usize)?;
        let start = document.content_span(node).start;
        let range = if document.is_escaped(node) {
            self.fields.entry(field).or_insert_with(|| OffsetMap::new(document.content(node))).to_raw(range)
        } else {
            range
        };
        Some(start + range.start..start + range.end)
    }
}

/// Bytes between two counted places.
const STEP: usize = 128;

/// Counts the code points before a byte of a text, in constant time after one pass.
#[derive(Debug)]
pub(super) struct CodePoints<'t> {
    text: &'t str,
    /// Code points before every `STEP`th byte; empty when all is ASCII.
    counted: Vec<usize>,
}

impl<'t> CodePoints<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let mut counted = Vec::new();
        if !text.is_ascii() {
            counted.reserve(text.len() / STEP + 1);
            let mut before = 0;
            for block in text.as_bytes().chunks(STEP) {
                counted.push(before);
                before += count(block);
            }
        }
        Self { text, counted }
    }

    /// How many code points start before byte `offset`.
    pub(super) fn before(&self, offset: usize) -> usize {
        let offset = offset.min(self.text.len());
        if self.counted.is_empty() {
            return offset;
        }
        let block = (offset / STEP).min(self.counted.len() - 1);
        let rest = self.text.as_bytes().get(block * STEP..offset).unwrap_or_default();
        self.counted.get(block).copied().unwrap_or(0) + count(rest)
    }
}

/// Every code point has one byte that is no continuation.
fn count(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| (**byte & 0xc0) != 0x80).count()
}
