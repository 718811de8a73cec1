//! [`Canned`], who answers in a server's place with bytes that are known beforehand:
//! [`crate::foreign_bytes`] judges by it what any answer brings.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use crate::transport::dial::Dialed;

/// The bytes that are on their way at once.
const BUFFER: usize = 16 * 1024;

/// One answer for each connection, in turn; the last for all that follow. Clones share the turn.
#[derive(Clone, Debug)]
pub struct Canned(Arc<Mutex<Vec<Vec<u8>>>>);

impl Canned {
    /// These answers, as they are on the wire of HTTP/1.1.
    pub fn of(answers: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut answers: Vec<_> = answers.into_iter().collect();
        answers.reverse();
        Self(Arc::new(Mutex::new(answers)))
    }

    /// A connection that gives the next answer to whatever is asked, and ends.
    pub(super) fn dialed(&self) -> Dialed {
        let (stream, server) = duplex(BUFFER);
        tokio::spawn(answer(server, self.next()));
        Dialed {
            stream: Box::new(stream),
            http2: false,
        }
    }

    fn next(&self) -> Vec<u8> {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() > 1 {
            answers.pop().unwrap_or_default()
        } else {
            answers.first().cloned().unwrap_or_default()
        }
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
