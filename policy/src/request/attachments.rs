//! Images, audio and files. Their bytes are not text and are not scanned; each is recorded.

use std::borrow::Cow;

use super::{FieldKind, walk::Walker};
use crate::{
    detect::Origin,
    json::{Kind, NodeId},
};

/// Something in a request that is not inspected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment<'b> {
    /// Where it stands.
    pub node: NodeId,
    /// Its media type as declared (`image/png`), in lower case and without parameters; `image/*`, `audio/*` or `*/*`
    /// where only the kind of part tells something.
    pub media_type: Cow<'b, str>,
    /// Whether its bytes are in the request; otherwise it is an address or an id.
    pub inline: bool,
}

/// Shorter data is read as text, whatever it is.
const SHORTEST_BASE64: usize = 64;
/// The longest media type that is taken over from a request into records.
const LONGEST_MEDIA_TYPE: usize = 64;

impl Walker<'_> {
    /// A part of a message or input that is an attachment: notes it, and visits all its other texts.
    ///
    /// `fallback` is the media type when the part itself tells none.
    pub(super) fn attachment(&mut self, part: NodeId, fallback: &'static str, origin: Origin) {
        let mut noted = false;
        for node in self.document.subtree(part) {
            if self.document.kind(node) != Kind::String {
                self.visit(node, FieldKind::AttachmentReference, origin);
                continue;
            }
            let key =
                self.document.nearest_key(node).map(|key| self.document.decoded(key)).unwrap_or_default();
            match &*key {
                "url" | "image_url" | "file_data" | "file_url" | "data" | "file_id" => {
                    noted |= self.payload(node, &key, fallback, origin);
                }
                _ => self.visit(node, FieldKind::AttachmentReference, origin),
            }
        }
        if !noted {
            self.attachments.push(Attachment {
                node: part,
                media_type: Cow::Borrowed(fallback),
                inline: false,
            });
        }
    }

    /// The value that holds an attachment or says where it is. Whether an attachment was noted.
    fn payload(&mut self, node: NodeId, key: &str, fallback: &'static str, origin: Origin) -> bool {
        let text = self.document.decoded(node);
        let bare = matches!(key, "data" | "file_data");
        if let Some((media_type, body)) = split_data_url(&text) {
            if is_base64(body) {
                let media_type = known_media_type(media_type).unwrap_or_else(|| fallback.to_owned());
                let inline = body.len() >= SHORTEST_BASE64;
                self.attachments.push(Attachment { node, media_type: Cow::Owned(media_type), inline });
                if !inline {
                    self.visit(node, FieldKind::AttachmentReference, origin);
                }
                return true;
            }
        } else if bare && text.len() >= SHORTEST_BASE64 && is_base64(&text) && !self.is_declared_text(node) {
            let media_type = self.declared_media_type(node).unwrap_or_else(|| fallback.to_owned());
            self.attachments.push(Attachment { node, media_type: Cow::Owned(media_type), inline: true });
            return true;
        }
        // An address, an id, or something that is no base64 after all: text.
        self.attachments.push(Attachment { node, media_type: Cow::Borrowed(fallback), inline: false });
        self.visit(node, FieldKind::AttachmentReference, origin);
        true
    }

    /// The image that an `image_generation_call` holds: base64, or text when it is none.
    pub(super) fn image_result(&mut self, value: NodeId) {
        let image =
            self.document.string(value).is_some_and(|text| text.len() >= SHORTEST_BASE64 && is_base64(&text));
        if image {
            let media_type = Cow::Borrowed("image/*");
            self.attachments.push(Attachment { node: value, media_type, inline: true });
        } else {
            self.everything(value, FieldKind::Unknown, Origin::Assistant);
        }
    }

    /// Whether what stands beside says that the data is plain text (`"type": "text"`).
    fn is_declared_text(&self, node: NodeId) -> bool {
        let beside = self.document.parent(node).and_then(|object| self.document.get(object, "type"));
        beside.is_some_and(|value| self.document.content(value) == "text")
    }

    /// The media type that stands beside base64: `media_type`, or the `format` of audio.
    fn declared_media_type(&self, node: NodeId) -> Option<String> {
        let object = self.document.parent(node)?;
        let beside = |key| self.document.get(object, key).and_then(|value| self.document.string(value));
        if let Some(declared) = beside("media_type") {
            return known_media_type(&declared);
        }
        let format = beside("format")?;
        (format.len() < 16 && format.bytes().all(|byte| byte.is_ascii_alphanumeric()))
            .then(|| format!("audio/{}", format.to_ascii_lowercase()))
    }
}

/// `data:<media type>;base64,<body>`.
fn split_data_url(text: &str) -> Option<(&str, &str)> {
    let rest =
        text.get(..5).filter(|scheme| scheme.eq_ignore_ascii_case("data:")).and_then(|_| text.get(5..))?;
    let (head, body) = rest.split_once(',')?;
    let (media_type, parameters) = head.split_once(';').unwrap_or((head, ""));
    let base64 = parameters.rsplit(';').next().is_some_and(|last| last.trim().eq_ignore_ascii_case("base64"));
    base64.then_some((media_type, body))
}

/// A media type in lower case, when it is one and short.
fn known_media_type(text: &str) -> Option<String> {
    let text = text.trim();
    let token = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'+' | b'-' | b'_'))
    };
    let (kind, subtype) = text.split_once('/')?;
    (text.len() <= LONGEST_MEDIA_TYPE && token(kind) && token(subtype)).then(|| text.to_ascii_lowercase())
}

/// Base64 in either alphabet, in lines or not.
fn is_base64(text: &str) -> bool {
    text.bytes().all(|byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=' | b'\r' | b'\n')
    })
}
