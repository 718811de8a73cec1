//! A client of HTTP/2 that says what no library would.

use std::collections::BTreeMap;
use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::Semaphore;

use super::provider::PATIENCE;

/// What a client of HTTP/2 begins with: the preface and an empty frame of settings.
pub const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Kinds of frames.
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RESET: u8 = 3;
pub const GO_AWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
/// Flags of frames.
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// One frame.
pub fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    bytes.extend_from_slice(&length[1..]);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
}

/// A text of HPACK, without Huffman (RFC 7541, section 5.2).
pub fn text(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    match u8::try_from(text.len()) {
        Ok(length) if length < 127 => bytes.push(length),
        _ => {
            bytes.push(127);
            let mut rest = text.len() - 127;
            while rest >= 128 {
                bytes.push(u8::try_from(rest % 128 + 128).unwrap());
                rest /= 128;
            }
            bytes.push(u8::try_from(rest).unwrap());
        }
    }
    bytes.extend_from_slice(text);
    bytes
}

/// A field that is not indexed, with its own name (RFC 7541, section 6.2.2).
pub fn field(name: &str, value: impl AsRef<[u8]>) -> Vec<u8> {
    [vec![0], text(name.as_bytes()), text(value.as_ref())].concat()
}

/// A message of gRPC.
pub fn message(message: &impl prost::Message) -> Vec<u8> {
    let message = message.encode_to_vec();
    let mut bytes = vec![0];
    bytes.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(&message);
    bytes
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// With this message; with none where the service, or the server, only said why.
    Message(Vec<u8>),
    /// With this error of HTTP/2, for the call alone.
    Reset(u32),
    /// With this error of HTTP/2, for the connection.
    GoneAway(u32),
    /// The connection was closed without a word.
    Closed,
}

impl Answer {
    /// The message of gRPC in it.
    pub fn message<M: prost::Message + Default>(&self) -> M {
        match self {
            Self::Message(bytes) if bytes.len() > 5 => M::decode(&bytes[5..]).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

/// Makes all these calls at once on one connection: a header block and a message each.
pub async fn calls(socket: &Path, calls: &[(Vec<u8>, Vec<u8>)]) -> Vec<Answer> {
    // All that may come.
    let mut hello = HELLO.to_vec();
    frame(
        &mut hello,
        WINDOW_UPDATE,
        0,
        0,
        &0x3fff_0000_u32.to_be_bytes(),
    );
    let mut said = vec![(0, hello)];
    for (stream, (block, message)) in (1..).step_by(2).zip(calls) {
        let mut call = Vec::new();
        let (first, rest) = block.split_at(block.len().min(16_384));
        let end = |is_end| if is_end { END_HEADERS } else { 0 };
        frame(&mut call, HEADERS, end(rest.is_empty()), stream, first);
        let parts = rest.chunks(16_384);
        for (n, part) in parts.clone().enumerate() {
            let end = end(n + 1 == parts.len());
            frame(&mut call, CONTINUATION, end, stream, part);
        }
        frame(&mut call, DATA, END_STREAM, stream, message);
        said.push((message.len(), call));
    }
    let streams = (1..).step_by(2).take(calls.len());
    answers(socket, &said, streams.collect()).await
}

/// Says this, each once there is room for so many octets of messages, and reads until these streams have ended or the
/// connection has.
pub async fn answers(socket: &Path, said: &[(usize, Vec<u8>)], streams: Vec<u32>) -> Vec<Answer> {
    let stream = UnixStream::connect(socket).await.unwrap();
    let (reading, mut writing) = stream.into_split();
    // What a connection has room for at first: RFC 9113, section 6.9.2.
    let room = Semaphore::new(65_535);
    let mut ended = BTreeMap::new();
    let read = read(reading, &room, streams.len(), &mut ended);
    let write = async {
        for (octets, bytes) in said {
            let taken = room.acquire_many(u32::try_from(*octets).unwrap()).await;
            taken.unwrap().forget();
            // A server that refuses does not hear all of it.
            if writing.write_all(bytes).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let both = async {
        tokio::select! {
            end = read => end,
            () = write => Answer::Closed,
        }
    };
    let rest = tokio::time::timeout(PATIENCE, both).await;
    let rest = rest.expect("the provider answers");
    let of = |stream| ended.remove(stream).unwrap_or_else(|| rest.clone());
    streams.iter().map(of).collect()
}

/// Reads until so many streams have ended; how all others end.
async fn read(
    mut reading: OwnedReadHalf,
    room: &Semaphore,
    streams: usize,
    ended: &mut BTreeMap<u32, Answer>,
) -> Answer {
    let mut messages: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    while ended.len() < streams {
        let mut head = [0; 9];
        if reading.read_exact(&mut head).await.is_err() {
            return Answer::Closed;
        }
        let [a, b, c, kind, flags, ..] = head;
        let stream = u32::from_be_bytes(*head.last_chunk().unwrap());
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]).try_into().unwrap()];
        if reading.read_exact(&mut payload).await.is_err() {
            return Answer::Closed;
        }
        let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        match kind {
            WINDOW_UPDATE if stream == 0 => room.add_permits(number(0).try_into().unwrap()),
            RESET => _ = ended.entry(stream).or_insert(Answer::Reset(number(0))),
            // Not the one without an error, before a server stops.
            GO_AWAY if number(4) != 0 => return Answer::GoneAway(number(4)),
            DATA => messages
                .entry(stream)
                .or_default()
                .extend_from_slice(&payload),
            _ => {}
        }
        if flags & END_STREAM != 0 && matches!(kind, DATA | HEADERS) {
            let message = messages.remove(&stream).unwrap_or_default();
            ended.entry(stream).or_insert(Answer::Message(message));
        }
    }
    Answer::Closed
}
