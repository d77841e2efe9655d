//! gRPC messages on the bodies of HTTP/2 streams, for thousands of streams that say little.
//!
//! tonic keeps for each stream the buffers of its largest message; here a buffer lives as long as a message is in it.
//! Offers and sources of packs are not copied: what is sent is the one encoded copy that all share.

use std::{
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http_body::Frame;
use http_body_util::BodyExt as _;
use kt_proto::v1;
use prost::Message;
use tokio::sync::mpsc;
use tonic::{Status, body::Body};

use super::outbox::Outgoing;

/// What stands before each message: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// A buffer that is larger is given back when it is empty.
const KEPT: usize = 1024;
/// The largest message of a gateway; a rejection with all its reasons is the largest that makes sense.
const MAX_MESSAGE: usize = 256 * 1024;

/// The messages that a caller sends.
#[derive(Debug)]
pub(super) struct Inbound<T> {
    body: Body,
    buffer: BytesMut,
    message: PhantomData<fn() -> T>,
}

/// Pieces of messages on their way out, or how the stream ends. Small: a channel keeps room for 32 of them.
pub(super) type Piece = Result<Bytes, Box<Status>>;

/// The body of an answer: pieces of messages as they come through a channel, then the status.
#[derive(Debug)]
pub(super) struct Answer {
    pieces: mpsc::Receiver<Piece>,
    is_over: bool,
}

// === impl Inbound ===

impl<T: Message + Default> Inbound<T> {
    pub(super) fn new(body: Body) -> Self {
        Self { body, buffer: BytesMut::new(), message: PhantomData }
    }

    /// The next message; `None`: the caller has ended its half. May be dropped and asked again without a loss.
    pub(super) async fn message(&mut self) -> Result<Option<T>, Status> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(status)) => return Err(status),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(Status::invalid_argument("the stream ends within a message")),
            }
        }
    }

    /// A message, if a whole one is there.
    fn take(&mut self) -> Result<Option<T>, Status> {
        let mut prefix = &*self.buffer;
        if prefix.len() < PREFIX {
            return Ok(None);
        }
        if prefix.get_u8() != 0 {
            return Err(Status::unimplemented("messages of gateways are not compressed"));
        }
        let length = usize::try_from(prefix.get_u32()).unwrap_or(usize::MAX);
        if length > MAX_MESSAGE {
            return Err(Status::resource_exhausted(format!("a message is larger than {MAX_MESSAGE} bytes")));
        }
        let Some(bytes) = prefix.get(..length) else { return Ok(None) };
        // A message that can't be read ends the stream: what was in it can't be known.
        let message = T::decode(bytes).map_err(|_| Status::invalid_argument("the message can't be read"))?;
        self.buffer.advance(PREFIX + length);
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT {
            self.buffer = BytesMut::new();
        }
        Ok(Some(message))
    }
}

// === impl Answer ===

impl Answer {
    /// The answer to a call, from the headers on.
    pub(super) fn respond(pieces: mpsc::Receiver<Piece>) -> http::Response<Body> {
        let mut response = http::Response::new(Body::new(Self { pieces, is_over: false }));
        response.headers_mut().insert(http::header::CONTENT_TYPE, tonic::metadata::GRPC_CONTENT_TYPE);
        response
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let status = match std::task::ready!(self.pieces.poll_recv(context)) {
            Some(Ok(piece)) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
            Some(Err(status)) => *status,
            None => Status::ok(""),
        };
        self.is_over = true;
        let mut trailers = http::HeaderMap::new();
        status.add_header(&mut trailers)?;
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }
}

/// What goes out for a message to a gateway.
pub(super) fn outgoing(message: &Outgoing) -> Bytes {
    match message {
        Outgoing::Message(message) => framed(message),
        Outgoing::Offer(offer) => offer.frame.clone(),
    }
}

/// What stands before a piece of a source to make it a [`v1::FetchPackResponse`]; the piece itself is not copied.
pub(super) fn chunk_head(chunk: &Bytes) -> Bytes {
    const CHUNK: u32 = 1;
    let mut field = BytesMut::new();
    prost::encoding::encode_key(CHUNK, prost::encoding::WireType::LengthDelimited, &mut field);
    prost::encoding::encode_varint(chunk.len() as u64, &mut field);
    let mut head = BytesMut::with_capacity(PREFIX + field.len());
    prefix(&mut head, field.len() + chunk.len());
    head.extend_from_slice(&field);
    head.freeze()
}

/// A message with its prefix.
pub(super) fn framed(message: &v1::ServerMessage) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX + length);
    prefix(&mut frame, length);
    message.encode_raw(&mut frame);
    frame.freeze()
}

fn prefix(into: &mut BytesMut, length: usize) {
    into.put_u8(0);
    // Nothing that is sent comes near; a wrong length would end the stream.
    into.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
}

#[cfg(test)]
mod tests {
    use http_body_util::{Full, StreamBody};

    use super::*;

    fn heartbeat(text: &str) -> v1::GatewayMessage {
        let heartbeat = v1::GatewayHeartbeat { degraded: vec![text.to_owned()], ..Default::default() };
        v1::GatewayMessage { message: Some(v1::gateway_message::Message::Heartbeat(heartbeat)) }
    }

    fn bytes_of(messages: &[v1::GatewayMessage]) -> Vec<u8> {
        let mut bytes = BytesMut::new();
        for message in messages {
            prefix(&mut bytes, message.encoded_len());
            message.encode_raw(&mut bytes);
        }
        bytes.to_vec()
    }

    #[tokio::test]
    async fn messages_come_out_whole_however_they_were_cut_and_nothing_is_kept() {
        let sent = [heartbeat("one"), heartbeat(&"x".repeat(20_000)), heartbeat("")];
        let bytes = bytes_of(&sent);
        for size in [1, 2, 7, 4096, bytes.len()] {
            let frames: Vec<_> = bytes
                .chunks(size)
                .map(|piece| Ok::<_, Status>(Frame::data(Bytes::copy_from_slice(piece))))
                .collect();
            let body = Body::new(StreamBody::new(futures_util::stream::iter(frames)));
            let mut inbound = Inbound::<v1::GatewayMessage>::new(body);
            for message in &sent {
                assert_eq!(inbound.message().await.unwrap().as_ref(), Some(message));
            }
            assert_eq!(inbound.message().await.unwrap(), None);
            assert!(inbound.buffer.capacity() <= KEPT);
        }
    }

    #[tokio::test]
    async fn what_is_no_message_ends_the_stream() {
        let cut = &bytes_of(&[heartbeat("one")])[..6];
        let cases: [(&[u8], tonic::Code); 4] = [
            (cut, tonic::Code::InvalidArgument),
            (&[0, 0, 0, 0, 1, 0xff], tonic::Code::InvalidArgument),
            (&[1, 0, 0, 0, 0], tonic::Code::Unimplemented),
            (&[0, 0xff, 0xff, 0xff, 0xff], tonic::Code::ResourceExhausted),
        ];
        for (bytes, code) in cases {
            let body = Body::new(Full::new(Bytes::copy_from_slice(bytes)));
            let refused = Inbound::<v1::GatewayMessage>::new(body).message().await.unwrap_err();
            assert_eq!(refused.code(), code);
        }
    }

    #[test]
    fn a_chunk_reads_back_as_the_message_of_the_protocol() {
        for length in [1, 127, 128, 65_536] {
            let chunk = Bytes::from(vec![7; length]);
            let pieces = [chunk_head(&chunk), chunk.clone()].concat();
            let message = v1::FetchPackResponse::decode(&pieces[PREFIX..]).unwrap();
            assert_eq!(message.chunk, chunk);
            assert_eq!(pieces[1..PREFIX], u32::try_from(pieces.len() - PREFIX).unwrap().to_be_bytes());
        }
    }
}
