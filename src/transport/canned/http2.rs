//! [`Server`], what a test has a server say over HTTP/2, frame by frame.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::Canned;

/// Kinds of frames.
pub(in crate::transport) const DATA: u8 = 0;
pub(in crate::transport) const HEADERS: u8 = 1;
pub(in crate::transport) const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
pub(in crate::transport) const GOAWAY: u8 = 7;

/// The setting of how many requests a server takes at once.
const MAX_CONCURRENT_STREAMS: u16 = 3;

type Serve = dyn Fn(usize, DuplexStream) -> BoxFuture<'static, ()> + Send + Sync;

/// What serves each connection. Clones share everything.
#[derive(Clone)]
pub struct Server {
    serve: Arc<Serve>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// One that does this on each connection, which it counts from 1.
    pub(in crate::transport) fn new<F>(
        serve: impl Fn(usize, DuplexStream) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self {
            serve: Arc::new(move |number, stream| Box::pin(serve(number, stream))),
            connections: Arc::default(),
        }
    }

    /// The connections that were begun.
    pub(in crate::transport) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(super) fn begin(&self, stream: DuplexStream) {
        let number = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        tokio::spawn((self.serve)(number, stream));
    }
}

impl From<&Server> for Canned {
    fn from(server: &Server) -> Self {
        Self::Http2(server.clone())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

/// A frame (RFC 9113, section 4.1).
pub(in crate::transport) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// The answer 200 without a body: `:status: 200` of the static table, and the end of the headers and of the stream.
pub(in crate::transport) fn ok(stream: u32) -> Vec<u8> {
    frame(HEADERS, 5, stream, &[0x88])
}

/// Serves a connection until it ends. Says how many requests it takes at once, if it is to, and then what `answer` gives
/// for each request that begins ([`HEADERS`]) or is given up ([`RST_STREAM`]), by its stream.
pub(in crate::transport) async fn serve(
    mut stream: DuplexStream,
    most: Option<u32>,
    mut answer: impl FnMut(u8, u32) -> Vec<u8>,
) {
    stream.read_exact(&mut [0; 24]).await.unwrap();
    let most = most.map(|most| {
        let name = MAX_CONCURRENT_STREAMS.to_be_bytes();
        [&name[..], &most.to_be_bytes()].concat()
    });
    let mut said = frame(SETTINGS, 0, 0, &most.unwrap_or_default());
    let mut head = [0; 9];
    while stream.write_all(&said).await.is_ok() && stream.read_exact(&mut head).await.is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.unwrap();
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        said = match head[3] {
            kind @ (HEADERS | RST_STREAM) => answer(kind, id),
            // Who asks whether it is still there is told.
            PING if head[4] == 0 => frame(PING, 1, 0, &payload),
            _ => Vec::new(),
        };
    }
}
