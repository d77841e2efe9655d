//! What waits to be sent on one stream: at most one of each kind, the latest wins.
//!
//! A gateway that is slow to read gets what is wanted now, never what was wanted in between.

use std::sync::Arc;

use kt_proto::v1;

use super::offer::{Document, Offer};

/// A message to a gateway.
#[derive(Debug, Clone)]
pub(crate) enum Outgoing {
    Message(v1::ServerMessage),
    /// Encoded already, shared with the other sessions of the fleet.
    Offer(Arc<Offer>),
}

/// What waits.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    welcome: Option<Box<v1::Welcome>>,
    /// Ahead of the assignment: a revoked key is to be refused within a second.
    key_set: Option<Arc<Offer>>,
    assignment: Option<Arc<Offer>>,
    drain: Option<v1::Drain>,
    heartbeat: Option<v1::ServerHeartbeat>,
}

// === impl Outbox ===

impl Outbox {
    pub(crate) fn welcome(&mut self, welcome: v1::Welcome) {
        self.welcome = Some(Box::new(welcome));
    }

    pub(crate) fn heartbeat(&mut self, heartbeat: v1::ServerHeartbeat) {
        self.heartbeat = Some(heartbeat);
    }

    pub(crate) fn drain(&mut self, drain: v1::Drain) {
        self.drain = Some(drain);
    }

    /// Takes the place of an offer of the same document that was not sent yet.
    pub(crate) fn offer(&mut self, offer: Arc<Offer>) {
        let document = offer.document;
        *self.slot(document) = Some(offer);
    }

    /// Forgets the unsent offer of a document.
    pub(crate) fn withdraw(&mut self, document: Document) {
        *self.slot(document) = None;
    }

    fn slot(&mut self, document: Document) -> &mut Option<Arc<Offer>> {
        match document {
            Document::Assignment => &mut self.assignment,
            Document::KeySet => &mut self.key_set,
        }
    }

    /// Whether anything waits that [`Self::take`] would give.
    pub(crate) fn has(&self, free: impl Fn(Document) -> bool) -> bool {
        self.welcome.is_some()
            || (self.key_set.is_some() && free(Document::KeySet))
            || (self.assignment.is_some() && free(Document::Assignment))
            || self.drain.is_some()
            || self.heartbeat.is_some()
    }

    /// The next message, if any waits. An offer of a document that is not `free` stays, and may still be replaced.
    pub(crate) fn take(&mut self, free: impl Fn(Document) -> bool) -> Option<Outgoing> {
        use v1::server_message::Message;
        if let Some(welcome) = self.welcome.take() {
            return Some(message(Message::Welcome(*welcome)));
        }
        for document in [Document::KeySet, Document::Assignment] {
            if free(document)
                && let Some(offer) = self.slot(document).take()
            {
                return Some(Outgoing::Offer(offer));
            }
        }
        if let Some(drain) = self.drain.take() {
            return Some(message(Message::Drain(drain)));
        }
        self.heartbeat.take().map(|heartbeat| message(Message::Heartbeat(heartbeat)))
    }
}

pub(crate) fn message(message: v1::server_message::Message) -> Outgoing {
    Outgoing::Message(v1::ServerMessage { message: Some(message) })
}
