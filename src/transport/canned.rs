//! [`Canned`], who answers in a server's place with bytes that are known beforehand:
//! [`crate::foreign_bytes`] judges by it what any answer brings.

#[cfg(test)]
pub(super) mod http2;

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use crate::transport::stream::Dialed;

/// The bytes that are on their way at once.
const BUFFER: usize = 16 * 1024;

/// What answers on each connection. Clones share it.
#[derive(Clone, Debug)]
pub enum Canned {
    /// These bytes, in turn; the last for all connections that follow.
    Http1(Arc<Mutex<Vec<Vec<u8>>>>),
    /// A server of the test's own.
    #[cfg(test)]
    Http2(http2::Server),
}

impl Canned {
    /// These answers, as they are on the wire of HTTP/1.1.
    pub fn new(answers: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut answers: Vec<_> = answers.into_iter().collect();
        answers.reverse();
        Self::Http1(Arc::new(Mutex::new(answers)))
    }

    /// A connection that gives the next answer to whatever is asked, and ends.
    pub(super) fn dialed(&self) -> Dialed {
        let (stream, server) = duplex(BUFFER);
        let http2 = match self {
            Self::Http1(answers) => {
                tokio::spawn(answer(server, next(answers)));
                false
            }
            #[cfg(test)]
            Self::Http2(serving) => {
                serving.begin(server);
                true
            }
        };
        let stream = Box::new(stream);
        Dialed { stream, http2 }
    }
}

fn next(answers: &Mutex<Vec<Vec<u8>>>) -> Vec<u8> {
    let mut answers = answers.lock();
    if answers.len() > 1 {
        answers.pop().unwrap_or_default()
    } else {
        answers.first().cloned().unwrap_or_default()
    }
}

async fn answer(mut stream: DuplexStream, answer: Vec<u8>) {
    let mut request = [0; 4096];
    // What is asked does not matter, and the client takes no answer before it has asked.
    if stream.read(&mut request).await.is_ok_and(|read| read > 0) {
        _ = stream.write_all(&answer).await;
        _ = stream.shutdown().await;
    }
}
