//! What delivery counts.
//!
//! Labels come from closed sets; nothing that a gateway writes becomes one.

use kt_proto::v1;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{offer::Document, outbox::Outgoing, session::End};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    why: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    document: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    document: &'static str,
    /// `applied`, or the stage at which it was refused.
    outcome: &'static str,
}

/// What delivery counts; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct DeliveryMetrics {
    sessions: Gauge,
    refused: Family<Why, Counter>,
    ended: Family<Why, Counter>,
    offers: Family<Of, Counter>,
    conflicts: Family<Of, Counter>,
    answers: Family<Answer, Counter>,
    fetches: Counter,
    fetched_bytes: Counter,
}

// === impl DeliveryMetrics ===

impl DeliveryMetrics {
    /// Puts them among the metrics of the control plane.
    pub fn register(&self, registry: &mut Registry) {
        macro_rules! register {
            ($($field:ident => $name:literal, $help:literal;)*) => {
                $(registry.register($name, $help, self.$field.clone());)*
            };
        }
        register! {
            sessions => "gateway_sessions", "Streams of gateways that are open";
            refused => "gateway_hellos_refused", "Streams that were refused, by reason";
            ended => "gateway_sessions_ended", "Streams that have ended, by reason";
            offers => "gateway_offers", "Documents that were sent to gateways";
            conflicts => "gateway_conflicts",
                "Fleets found with another document of the same generation than the store has; an alarm";
            answers => "gateway_answers", "Answers of gateways, by outcome";
            fetches => "gateway_fetches", "Sources of packs that were sent to gateways";
            fetched_bytes => "gateway_fetched_bytes", "Bytes of them";
        }
    }

    pub(super) fn opened(&self) {
        self.sessions.inc();
    }

    pub(super) fn closed(&self) {
        self.sessions.dec();
    }

    pub(super) fn refused(&self, why: v1::refused::Why) {
        use v1::refused::Why as Of;
        let why = match why {
            Of::Unspecified => "unspecified",
            Of::Busy => "busy",
            Of::UnknownFleet => "unknown_fleet",
            Of::WrongFleet => "wrong_fleet",
            Of::Malformed => "malformed",
            Of::Draining => "draining",
            Of::Starting => "starting",
            Of::Replaced => "replaced",
        };
        self.refused.get_or_create(&Why { why }).inc();
    }

    pub(super) fn ended(&self, end: &End) {
        let why = match end {
            End::Gone => "gone",
            End::Silent => "silent",
            End::Drained => "drained",
            End::Replaced => "replaced",
            End::Stuck => "stuck",
            End::Unauthorised(_) => "unauthorised",
            End::Malformed(_) => "malformed",
        };
        self.ended.get_or_create(&Why { why }).inc();
    }

    pub(super) fn sent(&self, outgoing: &Outgoing) {
        if let Outgoing::Offer(offer) = outgoing {
            self.offers.get_or_create(&Of { document: offer.document.name() }).inc();
        }
    }

    pub(super) fn received(&self, message: &v1::GatewayMessage) {
        use v1::gateway_message::Message;
        let (document, outcome) = match &message.message {
            Some(Message::Applied(applied)) => (applied.document(), "applied"),
            Some(Message::Rejected(rejected)) => (rejected.document(), rejected.stage().word()),
            _ => return,
        };
        let document = Document::of(document).map_or("unspecified", Document::name);
        self.answers.get_or_create(&Answer { document, outcome }).inc();
    }

    pub(super) fn conflicted(&self, document: Document) {
        self.conflicts.get_or_create(&Of { document: document.name() }).inc();
    }

    pub(super) fn fetched(&self, bytes: usize) {
        self.fetches.inc();
        self.fetched_bytes.inc_by(bytes as u64);
    }
}
