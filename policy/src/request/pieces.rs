//! The pieces of one text: a client may cut a message into parts, and the model reads them as one.

use super::{FieldKind, walk::Walker};
use crate::{
    detect::Origin,
    json::{Kind, NodeId},
};

/// A field that is a piece of a longer text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The list that the part stands in.
    list: NodeId,
    /// What the parts are: a refusal between two texts does not part them.
    kind: FieldKind,
    /// Index of the field.
    pub(crate) field: usize,
}

impl Piece {
    /// A field that is a piece of what stands in `list`.
    pub(crate) const fn new(list: NodeId, kind: FieldKind, field: usize) -> Self {
        Self { list, kind, field }
    }
}

/// The texts that were sent in pieces, each as its two or more pieces in the order of the body.
pub(crate) fn in_pieces(pieces: &[Piece]) -> impl Iterator<Item = &[Piece]> {
    pieces.chunk_by(|a, b| (a.list, a.kind) == (b.list, b.kind)).filter(|pieces| pieces.len() > 1)
}

/// Brings the pieces of one text together.
pub(crate) fn sorted(mut pieces: Vec<Piece>) -> Vec<Piece> {
    pieces.sort_by_key(|piece| (piece.list, piece.kind as u8, piece.field));
    pieces
}

impl Walker<'_> {
    /// Notes the text of a part of `list`, whose fields are those from `from` on.
    pub(super) fn piece(&mut self, list: NodeId, part: NodeId, kind: FieldKind, from: usize) {
        let text = match self.document.kind(part) {
            Kind::String => Some(part),
            // What a reader of this type of part takes.
            Kind::Object => {
                let own = match kind {
                    FieldKind::Refusal => "refusal",
                    FieldKind::Reasoning => "thinking",
                    _ => "text",
                };
                [own, "text", "content"].into_iter().find_map(|key| self.document.get(part, key))
            }
            _ => None,
        };
        let Some(text) = text.filter(|text| self.document.kind(*text) == Kind::String) else { return };
        let fields = self.fields.get(from..).unwrap_or_default();
        if let Some(at) = fields.iter().position(|field| field.node == text) {
            self.pieces.push(Piece::new(list, kind, from + at));
        }
    }

    /// Visits an object in which lists of parts may stand under `lists`.
    pub(super) fn holder(&mut self, object: NodeId, lists: &[&str], kind: FieldKind, origin: Origin) {
        if self.document.kind(object) != Kind::Object {
            self.everything(object, kind, origin);
            return;
        }
        let mut members = self.document.children(object, Kind::Object);
        while let Some((key, value)) = members.member(&self.document) {
            self.visit(key, kind, origin);
            if lists.iter().any(|name| self.document.is_key(key, name)) {
                self.content(value, kind, origin);
            } else {
                self.everything(value, kind, origin);
            }
        }
    }
}
