//! How messages are put on the stream: small buffers for each session, and offers that are encoded once for a fleet.

use std::marker::PhantomData;

use bytes::BufMut as _;
use kt_proto::v1;
use prost::Message;
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use super::outbox::Outgoing;

/// What tonic allocates for each direction of a stream. Its own default, 8 KiB, is for streams that carry more than a
/// heartbeat in three seconds.
const SMALL: usize = 512;
const YIELD_AT: usize = 32 * 1024;

/// Something that is sent.
pub(crate) trait Encode: Send + 'static {
    fn encode(self, into: &mut EncodeBuf<'_>) -> Result<(), prost::EncodeError>;
}

impl Encode for Outgoing {
    fn encode(self, into: &mut EncodeBuf<'_>) -> Result<(), prost::EncodeError> {
        match self {
            Self::Message(message) => Message::encode(&message, into),
            Self::Offer(offer) => {
                into.reserve(offer.frame.len());
                into.put_slice(&offer.frame);
                Ok(())
            }
        }
    }
}

impl Encode for v1::FetchPackResponse {
    fn encode(self, into: &mut EncodeBuf<'_>) -> Result<(), prost::EncodeError> {
        into.reserve(self.encoded_len());
        Message::encode(&self, into)
    }
}

/// Sends `S`, takes `T`.
#[derive(Debug)]
pub(crate) struct Wire<S, T>(PhantomData<fn() -> (S, T)>);

// === impl Wire ===

impl<S, T> Wire<S, T> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<S: Encode, T: Message + Default + 'static> Codec for Wire<S, T> {
    type Encode = S;
    type Decode = T;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self::new()
    }

    fn decoder(&mut self) -> Self {
        Self::new()
    }
}

impl<S: Encode, T> Encoder for Wire<S, T> {
    type Item = S;
    type Error = Status;

    fn encode(&mut self, item: S, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(into).map_err(|error| Status::internal(error.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(SMALL, YIELD_AT)
    }
}

impl<S, T: Message + Default> Decoder for Wire<S, T> {
    type Item = T;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<T>, Status> {
        // A message that can't be read ends the stream: what was in it can't be known.
        T::decode(from).map(Some).map_err(|_| Status::invalid_argument("the message can't be read"))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(SMALL, YIELD_AT)
    }
}
