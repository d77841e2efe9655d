//! Delivery to the gateways.

mod admission;
mod offer;
mod outbox;
mod session;
mod status;
