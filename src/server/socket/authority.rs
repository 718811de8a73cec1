//! [`AnyAuthority`], what a caller says on its way to h2: the same, with `localhost` for its authority.
//!
//! An authority means nothing on a Unix socket, and clients say all kinds of things: grpc-go up to 1.56 the
//! socket's path, gRPC's C core the same in percent-encoding. h2 serves nobody whose authority is none for a
//! URI (see docs/decisions/0023). So each `:authority` gets another value here, and everything else is left for h2
//! to judge: frames, their order, fields, their number and size.
//!
//! One frame in is one frame out, but where the other authority makes one too large. Only HEADERS, CONTINUATION
//! and `PUSH_PROMISE` are held until they are complete; all others pass as they come.

mod dynamic_table;
mod header_blocks;
mod huffman;
#[cfg(test)]
mod tests;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use header_blocks::HeaderBlocks;

/// The bytes that a client of HTTP/2 begins with.
///
/// Source: RFC 9113, section 3.4.
pub const PREFACE: usize = 24;
/// The most bytes of a frame's payload: `SETTINGS_MAX_FRAME_SIZE`, which the server must not raise without this.
///
/// Source: RFC 9113, section 6.5.2.
pub const MAX_FRAME_SIZE: u32 = 16_384;
const MAX_PAYLOAD: usize = MAX_FRAME_SIZE as usize;

/// The bytes before a frame's payload, and what of them is what.
///
/// Source: RFC 9113, section 4.1.
const HEAD: usize = 9;
const KIND: usize = 3;
const FLAGS: usize = 4;
const STREAM: usize = 5;

/// The kinds of frames that have header blocks.
///
/// Source: RFC 9113, section 6.
const HEADERS: u8 = 1;
const PUSH_PROMISE: u8 = 5;
const CONTINUATION: u8 = 9;

/// Their flags.
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// What lies between a caller's bytes and h2. Holds one frame of the caller's at most, and what comes of it.
#[derive(Debug)]
pub struct AnyAuthority {
    /// How many bytes pass before the next frame begins.
    passing: usize,
    /// A frame that has begun: up to its kind, or one that has a part of a header block.
    frame: Vec<u8>,
    blocks: HeaderBlocks,
    /// What is to go on, and how much of it has.
    out: Vec<u8>,
    gone: usize,
}

impl Default for AnyAuthority {
    fn default() -> Self {
        Self {
            passing: PREFACE,
            frame: Vec::new(),
            blocks: HeaderBlocks::default(),
            out: Vec::new(),
            gone: 0,
        }
    }
}

impl AnyAuthority {
    /// Reads what this caller says.
    pub fn poll_read(
        &mut self,
        mut caller: Pin<&mut impl AsyncRead>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        loop {
            self.go_on(buffer);
            if buffer.filled().len() > before || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            ready!(caller.as_mut().poll_read(context, buffer))?;
            let said = &buffer.filled()[before..];
            if said.is_empty() {
                // It has hung up. h2 gets to see half a frame, as if it had read it itself.
                if self.frame.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                self.out.append(&mut self.frame);
                continue;
            }
            // Mostly a message's bytes, which stay where they are.
            let passing = self.pass(said);
            self.push(&said[passing..]);
            buffer.set_filled(before + passing);
        }
    }

    fn go_on(&mut self, buffer: &mut ReadBuf<'_>) {
        let rest = &self.out[self.gone..];
        let bytes = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..bytes]);
        self.gone += bytes;
        if self.gone == self.out.len() {
            self.out.clear();
            self.gone = 0;
        }
    }

    /// How many of these bytes pass, up to a head that is incomplete or that of a frame to be held.
    fn pass(&mut self, said: &[u8]) -> usize {
        let mut passed = 0;
        loop {
            let rest = &said[passed..];
            let bytes = self.passing.min(rest.len());
            self.passing -= bytes;
            passed += bytes;
            let is_between = self.passing == 0 && self.frame.is_empty();
            match hold(&rest[bytes..]) {
                Some(Hold::Pass(frame)) if is_between => self.passing = frame,
                _ => return passed,
            }
        }
    }

    /// What is not simply passed.
    fn push(&mut self, mut said: &[u8]) {
        while !said.is_empty() {
            let passing = self.pass(said);
            self.out.extend_from_slice(&said[..passing]);
            said = &said[passing..];
            let missing = match hold(&self.frame) {
                Some(Hold::Until(frame)) => frame - self.frame.len(),
                _ => 1,
            };
            let (bytes, rest) = said.split_at(missing.min(said.len()));
            self.frame.extend_from_slice(bytes);
            said = rest;
            match hold(&self.frame) {
                Some(Hold::Pass(frame)) => {
                    self.passing = frame - self.frame.len();
                    self.out.append(&mut self.frame);
                }
                Some(Hold::Until(frame)) if frame == self.frame.len() => {
                    rewrite(&self.frame, &mut self.blocks, &mut self.out);
                    self.frame.clear();
                }
                _ => {}
            }
        }
    }
}

/// What becomes of a frame that has so many bytes with its head.
enum Hold {
    Pass(usize),
    Until(usize),
}

/// What becomes of a frame that begins like this, once it can be told. One that is too large passes as soon as h2
/// can refuse it for its size.
fn hold(begun: &[u8]) -> Option<Hold> {
    let [a, b, c] = *begun.first_chunk()?;
    let payload = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
    let frame = HEAD + payload;
    if payload > MAX_PAYLOAD {
        return Some(Hold::Pass(frame));
    }
    Some(match begun.get(KIND)? {
        &HEADERS | &PUSH_PROMISE | &CONTINUATION => Hold::Until(frame),
        _ => Hold::Pass(frame),
    })
}

/// Writes such a frame anew.
fn rewrite(frame: &[u8], blocks: &mut HeaderBlocks, out: &mut Vec<u8>) {
    let Some((prefix, fragment)) = parts(frame) else {
        return out.extend_from_slice(frame);
    };
    let begin = out.len();
    let (kind, flags) = (frame[KIND], frame[FLAGS]);
    out.extend_from_slice(&frame[..HEAD]);
    if kind != CONTINUATION {
        out[begin + FLAGS] &= !PADDED;
        blocks.begin();
    }
    out.extend_from_slice(prefix);
    let is_end = flags & END_HEADERS != 0;
    blocks.push(fragment, is_end, out);
    let rest = out.split_off(out.len().min(begin + HEAD + MAX_PAYLOAD));
    set_payload(&mut out[begin..]);
    if !rest.is_empty() {
        out[begin + FLAGS] &= !END_HEADERS;
        let next = out.len();
        out.extend_from_slice(&frame[..HEAD]);
        out[next + KIND] = CONTINUATION;
        out[next + FLAGS] = flags & END_HEADERS;
        out.extend_from_slice(&rest);
        set_payload(&mut out[next..]);
    }
}

/// What stands before the header block in a frame, and what the frame has of the block, without padding. Nothing of
/// a frame that h2 refuses before it looks at the block.
fn parts(frame: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, payload) = frame.split_at_checked(HEAD)?;
    if head[KIND] == CONTINUATION {
        return Some((&[], payload));
    }
    let (padding, payload) = match head[FLAGS] & PADDED {
        0 => (0, payload),
        _ => payload
            .split_first()
            .map(|(length, rest)| (usize::from(*length), rest))?,
    };
    let prefix = match (head[KIND], head[FLAGS] & PRIORITY) {
        (PUSH_PROMISE, _) => 4,
        (_, 0) => 0,
        _ => 5,
    };
    let (prefix, fragment) = payload.split_at_checked(prefix)?;
    // A stream that depends on itself: h2 resets it, and does not read its fields.
    if head[KIND] == HEADERS && stream(prefix) == stream(&head[STREAM..]) {
        return None;
    }
    let length = fragment.len().checked_sub(padding)?;
    Some((prefix, &fragment[..length]))
}

/// The stream that stands here, without the bit before it.
fn stream(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.first_chunk()?) & u32::MAX >> 1)
}

/// Sets the length of the payload in a frame.
fn set_payload(frame: &mut [u8]) {
    let length = u32::try_from(frame.len() - HEAD).unwrap_or(MAX_FRAME_SIZE);
    frame[..KIND].copy_from_slice(&length.to_be_bytes()[1..]);
}
