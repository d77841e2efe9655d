//! An answer of a model, read once: every text in it, whole or as an event of a stream.
//!
//! The walker is the counterpart of [`crate::request`]: what the protocol knows is read by what it is, everything else is
//! visited as text. Left out are words and ids of the protocol at their own places, numbers under known names, and the
//! base64 of sound and images.
//!
//! In an event, a text that continues what earlier events began names its [`Channel`]: the place of the text in the whole
//! answer. Whatever stands in a `delta` is one, known or not. Everything else in an event is a text by itself.

mod responses;
#[cfg(test)]
mod tests;
mod walk;

use std::{borrow::Cow, fmt};

use crate::{
    json::{Document, JsonError, Limits, NodeId, Reading},
    request::{Field, FieldKind, Inspected, Piece},
    verdict::Endpoint,
};

/// An answer, or an event of one. Its debug form tells sizes, never a text.
pub(crate) struct Answer<'b> {
    document: Document<'b>,
    fields: Vec<Field<'b>>,
    pieces: Vec<Piece>,
    /// The fields that continue a text, in the order of the event.
    pub(crate) streamed: Vec<Streamed>,
    /// Log probabilities: the same text once more, token by token.
    pub(crate) probabilities: Vec<NodeId>,
    /// The texts that this event ends.
    pub(crate) ends: Vec<Ended>,
}

impl fmt::Debug for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("fields", &self.fields.len())
            .field("streamed", &self.streamed.len())
            .finish_non_exhaustive()
    }
}

/// A field that continues a text.
#[derive(Debug, Clone)]
pub(crate) struct Streamed {
    /// Index of the field.
    pub(crate) field: usize,
    /// Which text.
    pub(crate) channel: Channel,
    /// It is a token of the log probabilities.
    pub(crate) is_probability: bool,
}

/// A piece of a text that goes on.
pub(crate) struct Taken<'b> {
    pub(crate) node: NodeId,
    pub(crate) text: Cow<'b, str>,
    pub(crate) channel: Channel,
    pub(crate) is_probability: bool,
}

/// A text that comes in pieces.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Channel {
    /// Where it stands in the whole answer, as a JSON Pointer (`/choices/0/message/content`). Keys that the protocol does
    /// not know are told apart but not spelled.
    pub(crate) pointer: String,
    /// What ends with it: the index of the choice, or of the item of a response.
    pub(crate) group: u64,
    /// What it is.
    pub(crate) kind: FieldKind,
    /// A `message` beside the `delta`s: the same places once more.
    pub(crate) is_twin: bool,
}

/// The pointer of a channel as records have it: keys that may be texts are not told apart.
pub(crate) fn recorded(pointer: &str) -> String {
    let mut recorded = String::with_capacity(pointer.len());
    for step in pointer.split('/').skip(1) {
        recorded.push('/');
        if step.starts_with(walk::UNSPELLED) {
            recorded.push(walk::UNSPELLED);
        } else {
            recorded.push_str(step);
        }
    }
    recorded
}

/// Which texts an event ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Those of a choice or item.
    Group(u64),
    /// All.
    All,
}

/// How an answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// All of it.
    Whole,
    /// As the data of one event of a stream.
    Event,
}

impl<'b> Answer<'b> {
    /// Reads an answer. Leniently: it is the client's reader that must understand it, and nothing may hide from this one.
    ///
    /// # Errors
    /// When it is not one JSON text, names a key twice, or is beyond `limits`.
    pub(crate) fn parse(
        endpoint: Endpoint,
        form: Form,
        text: &'b str,
        limits: Limits,
    ) -> Result<Self, JsonError> {
        let document = Document::parse_text(text, limits, Reading::Answer, Vec::new())?;
        Ok(walk::walk(endpoint, form, document))
    }

    /// Its texts with their places.
    pub(crate) fn inspected(&self) -> Inspected<'_> {
        Inspected { document: &self.document, fields: &self.fields, pieces: &self.pieces }
    }

    /// The body with the place of everything in it.
    pub(crate) const fn document(&self) -> &Document<'b> {
        &self.document
    }

    /// Takes the fields that continue a text out of the others.
    pub(crate) fn take_streamed(&mut self) -> Vec<Taken<'b>> {
        let streamed = std::mem::take(&mut self.streamed);
        let mut taken = Vec::with_capacity(streamed.len());
        for Streamed { field, channel, is_probability } in streamed {
            let Some(field) = self.fields.get_mut(field) else { continue };
            // Left behind empty, so that the places of the others stay.
            let text = std::mem::take(&mut field.text);
            taken.push(Taken { node: field.node, text, channel, is_probability });
        }
        if self.fields.iter().all(|field| field.text.is_empty()) {
            self.fields.clear();
            self.pieces.clear();
        }
        taken
    }
}
