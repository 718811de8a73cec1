//! What a caller says before there is a message: frames of HTTP/2, on their way through the socket's layer to h2.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tonic::codegen::http::{HeaderMap, Request, Response};

use super::choice_and_rest;
use crate::commands::serve::MAX_HEADERS;
use crate::server::socket::authority::{AnyAuthority, MAX_FRAME_SIZE, PREFACE};

/// What a client of HTTP/2 begins with: the preface, and an empty frame of settings.
const HELLO: &[u8; PREFACE + HEAD] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const HEAD: usize = 9;
/// The most that a frame may become longer: 32 bytes, and the head of a frame for what no longer fits.
const MAX_GROWTH: usize = 32 + HEAD;
/// How often a caller is asked whether it says more, until it has hung up. All else has been done by then.
const PATIENCE: u8 = 50;
/// What stands in place of an authority.
const LOCALHOST: &[u8] = b"localhost";

/// What a server of h2 makes of a caller's bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The calls, as their service gets to see them, by their words.
    pub calls: Vec<String>,
    /// All frames of the server.
    pub answer: Vec<u8>,
}

/// A caller's end of a connection.
struct Caller {
    said: Vec<u8>,
    at: usize,
    /// How many bytes there are at once.
    piece: usize,
    asked: u8,
    authority: Option<AnyAuthority>,
    heard: Arc<Mutex<Vec<u8>>>,
}

/// The frames of a caller, in pieces whose size the first byte says. It comes out like this:
///
/// - however the bytes are cut into pieces, h2 gets the same;
/// - no frame becomes much longer;
/// - what has gone through once goes through again and means the same;
/// - where there is no authority, h2 answers with the same bytes as without the layer, but where it overlooks something
///   in a block of several frames; where there is one, and h2 refuses nothing, it serves the same calls but for that.
pub fn authority(input: &[u8]) {
    let (piece, frames) = choice_and_rest(input);
    let said = [HELLO, frames].concat();
    let whole = rewritten(&said, said.len());
    assert_eq!(rewritten(&said, usize::from(piece) + 1), whole);
    let heads = said.len() / HEAD;
    assert!(whole.len() <= said.len() + heads * MAX_GROWTH);

    let layered = outcome(&said, true);
    assert_eq!(outcome(&whole, true), layered);
    let plain = outcome(&said, false);
    let has_authority = whole
        .windows(LOCALHOST.len())
        .any(|bytes| bytes == LOCALHOST);
    if has_parts_of_blocks(&said) && layered.has_refusal() {
        return;
    }
    if !has_authority {
        assert_eq!(layered, plain);
    } else if !plain.has_refusal() {
        // Not the other way round: a caller may give up a call before h2 has said that it refuses it.
        let served: Vec<_> = layered
            .calls
            .iter()
            .map(|call| without_authority(call))
            .collect();
        for call in &plain.calls {
            assert!(
                served.contains(&without_authority(call)),
                "{call}: {served:?}"
            );
        }
    }
}

/// What h2 gets of this, said in pieces of so many bytes.
pub fn rewritten(said: &[u8], piece: usize) -> Vec<u8> {
    let mut authority = AnyAuthority::default();
    let mut caller = Caller::new(said, piece, None);
    // More than is there: the caller has hung up already.
    caller.asked = PATIENCE;
    let mut context = Context::from_waker(Waker::noop());
    let (mut whole, mut space) = (Vec::new(), vec![0; piece.clamp(1, 8192)]);
    loop {
        let mut buffer = ReadBuf::new(&mut space);
        match authority.poll_read(Pin::new(&mut caller), &mut context, &mut buffer) {
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => return whole,
            Poll::Ready(Ok(())) => whole.extend_from_slice(buffer.filled()),
            other => panic!("{other:?}"),
        }
    }
}

/// What a server makes of all this, with the layer before it or without.
pub fn outcome(said: &[u8], has_layer: bool) -> Outcome {
    let authority = has_layer.then(AnyAuthority::default);
    let caller = Caller::new(said, said.len().max(1), authority);
    let heard = Arc::clone(&caller.heard);
    let runtime = Builder::new_current_thread().enable_time().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("{error}"));
    let calls = runtime.block_on(serve(caller));
    let answer = std::mem::take(&mut *heard.lock());
    Outcome { calls, answer }
}

/// Serves as `commands/serve.rs` has it, and says what calls there were.
async fn serve(caller: Caller) -> Vec<String> {
    let handshake = h2::server::Builder::new()
        .max_header_list_size(MAX_HEADERS)
        .max_frame_size(MAX_FRAME_SIZE)
        .handshake::<_, Bytes>(caller);
    let Ok(mut connection) = handshake.await else {
        return Vec::new();
    };
    let mut calls = JoinSet::new();
    while let Some(Ok((request, answer))) = connection.accept().await {
        calls.spawn(serve_call(request, answer));
    }
    let mut calls = calls.join_all().await;
    calls.sort();
    calls
}

async fn serve_call(request: Request<RecvStream>, mut answer: SendResponse<Bytes>) -> String {
    let (head, mut body) = request.into_parts();
    let stream = body.stream_id().as_u32();
    let mut message = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        message.extend_from_slice(&data);
    }
    let trailers = body.trailers().await.ok().flatten().unwrap_or_default();
    _ = answer.send_response(Response::new(()), true);
    format!(
        "{stream:05} {} {} {} {message:?} {}",
        head.method,
        head.uri,
        fields(&head.headers),
        fields(&trailers)
    )
}

/// All fields, with the order of those of one name.
fn fields(fields: &HeaderMap) -> String {
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort_by_key(|(name, _)| name.as_str());
    format!("{fields:?}")
}

/// The words of a call, without the authority in its URI.
fn without_authority(call: &str) -> String {
    let mut words: Vec<_> = call.splitn(4, ' ').map(str::to_owned).collect();
    if let Some(uri) = words.get_mut(2)
        && let Some((_, rest)) = uri.split_once("://")
    {
        *uri = rest.find('/').map_or("/", |path| &rest[path..]).to_owned();
    }
    words.join(" ")
}

/// Each frame: its head, and its payload.
pub fn frames(mut bytes: &[u8]) -> impl Iterator<Item = (&[u8; HEAD], &[u8])> {
    std::iter::from_fn(move || {
        let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
        let [a, b, c, ..] = *head;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let (payload, rest) = rest.split_at(length.min(rest.len()));
        bytes = rest;
        Some((head, payload))
    })
}

/// Whether a header block is in several frames. Where one of them ends within a field, h2 overlooks what was wrong
/// before, and fields with empty names; the layer has it find both.
fn has_parts_of_blocks(said: &[u8]) -> bool {
    frames(&said[PREFACE..])
        .any(|([_, _, _, kind, flags, ..], _)| matches!((kind, flags & 4), (1 | 5, 0)))
}

impl Outcome {
    /// Whether the server has refused anything: by a reset, by hanging up, or by an answer that is none of the
    /// service's.
    pub fn has_refusal(&self) -> bool {
        // A header block of one byte is the service's own answer, `:status: 200` and nothing else.
        frames(&self.answer).any(|([_, _, _, kind, ..], payload)| match kind {
            1 => payload != [0x88],
            3 | 7 => true,
            _ => false,
        })
    }
}

impl Caller {
    fn new(said: &[u8], piece: usize, authority: Option<AnyAuthority>) -> Self {
        Self {
            said: said.to_vec(),
            at: 0,
            piece,
            asked: 0,
            authority,
            heard: Arc::default(),
        }
    }
}

impl AsyncRead for Caller {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let caller = self.get_mut();
        if let Some(mut authority) = caller.authority.take() {
            let polled = authority.poll_read(Pin::new(&mut *caller), context, buffer);
            caller.authority = Some(authority);
            return polled;
        }
        let rest = &caller.said[caller.at..];
        let bytes = rest.len().min(caller.piece).min(buffer.remaining());
        buffer.put_slice(&rest[..bytes]);
        if bytes == 0 && buffer.remaining() > 0 && caller.asked < PATIENCE {
            caller.asked += 1;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        caller.at += bytes;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Caller {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.heard.lock().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
