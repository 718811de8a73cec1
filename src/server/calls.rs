//! [`Calls`], what every call of the driver's service goes through: it ends, and where the library refuses it,
//! the refusal is in our words.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http_body_util::{BodyExt as _, Full};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tonic::server::NamedService;
use tonic::{Code, Status};

/// The most bytes of a call's message. A class, a pod's tokens and its secret are a fraction of that: etcd
/// takes 1.5 MB at most.
pub const MAX_MESSAGE: usize = 4 * 1024 * 1024;
/// How long a call's message may take to arrive.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(5);

/// A service behind all that.
#[derive(Clone, Debug)]
pub struct Calls<S> {
    service: S,
    timeout: Duration,
}

impl<S> Calls<S> {
    /// A service that answers within this time once it has the message.
    pub fn new(service: S, answer_timeout: Duration) -> Self {
        let timeout = answer_timeout.saturating_add(ARRIVAL_TIMEOUT);
        Self { service, timeout }
    }
}

impl<S: NamedService> NamedService for Calls<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Calls<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The clone is the one that has not said that it is ready.
        let waiting = self.service.clone();
        let mut service = std::mem::replace(&mut self.service, waiting);
        let answer = async move {
            let (head, body) = request.into_parts();
            match received(body).await {
                Ok(message) => {
                    let body = Body::new(Full::new(message));
                    let answer = service.call(Request::from_parts(head, body)).await;
                    answer.map(in_our_words)
                }
                Err(refusal) => Ok(refusal.into_http()),
            }
        };
        let answer = tokio::time::timeout(self.timeout, answer);
        async move {
            match answer.await {
                Ok(answer) => answer,
                Err(_) => Ok(late().into_http()),
            }
        }
        .boxed()
    }
}

/// The message as it came, with its length before it. The library makes room for as many bytes as a caller announces,
/// so it gets to see none that did not come.
async fn received(mut body: Body) -> Result<Bytes, Status> {
    let mut message = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        message.extend_from_slice(&data);
        let announced = announced(&message).unwrap_or_default();
        if announced > MAX_MESSAGE || message.len() > PREFIX + MAX_MESSAGE {
            return Err(too_large());
        }
    }
    match announced(&message) {
        Some(length) if message.len() < PREFIX + length => Err(incomplete()),
        _ => Ok(message.freeze()),
    }
}

/// What stands before a message: whether it is compressed, and its length.
///
/// Source: "gRPC over HTTP2", section "Length-Prefixed-Message".
const PREFIX: usize = 5;

fn announced(message: &[u8]) -> Option<usize> {
    let length = message.get(1..PREFIX)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(length)).ok()
}

/// The library refuses a message that is too large before the service sees it.
fn in_our_words(answer: Response<Body>) -> Response<Body> {
    match Status::from_header_map(answer.headers()) {
        Some(status) if status.code() == Code::OutOfRange => too_large().into_http(),
        _ => answer,
    }
}

fn too_large() -> Status {
    Status::invalid_argument(format!(
        "[INVALID_REQUEST] the message has more than {MAX_MESSAGE} bytes, which no class with its tokens and secrets \
         needs. Fix: make the SecretProviderClass, the pod's volumeAttributes or the nodePublishSecretRef's Secret \
         smaller",
    ))
}

fn incomplete() -> Status {
    Status::invalid_argument(
        "[INVALID_REQUEST] the message ends before its end. Fix: use the Secrets Store CSI Driver v1.1 or newer",
    )
}

fn late() -> Status {
    Status::failed_precondition(
        "[TIMEOUT] the call's message did not arrive in time. Fix: see whether the node is overloaded; the driver sends \
         it at once",
    )
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;

    /// A call's body that announces so many bytes, has a chunk of 64 KiB so often, and counts those that were read.
    fn body(announced: u32, chunks: usize, read: &'static AtomicUsize) -> Body {
        let prefix = [&[0][..], &announced.to_be_bytes()].concat();
        let first = std::iter::once(Bytes::from(prefix));
        let chunks = (0..chunks).map(move |_| {
            read.fetch_add(1, Ordering::Relaxed);
            Bytes::from(vec![b'x'; 1 << 16])
        });
        let frames = first
            .chain(chunks)
            .map(|data| Ok::<_, Status>(Frame::data(data)));
        Body::new(StreamBody::new(futures::stream::iter(frames)))
    }

    #[tokio::test]
    async fn no_more_is_read_of_a_message_than_it_may_have() {
        const MOST: usize = MAX_MESSAGE >> 16;
        for (announced, chunks, most, expected) in [
            (3 << 16, 3, 3, Ok(PREFIX + (3 << 16))),
            (MAX_MESSAGE, MOST, MOST, Ok(PREFIX + MAX_MESSAGE)),
            (MAX_MESSAGE + 1, 1_000, 0, Err("has more than")),
            // What announces less than it has.
            (1, 1_000, MOST + 1, Err("has more than")),
            (4 << 16, 3, 3, Err("ends before its end")),
        ] {
            let read: &'static AtomicUsize = Box::leak(Box::default());
            let announced = u32::try_from(announced).unwrap();
            let received = received(body(announced, chunks, read)).await;
            let received = received.as_ref().map(Bytes::len).map_err(Status::message);
            match expected {
                Ok(length) => assert_eq!(received, Ok(length), "{announced}"),
                Err(words) => assert!(received.unwrap_err().contains(words), "{announced}"),
            }
            assert_eq!(read.load(Ordering::Relaxed), most, "{announced}");
        }
    }
}
