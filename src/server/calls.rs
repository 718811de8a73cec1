//! [`Calls`], what every call of the driver's service goes through: it ends, and where the library refuses it,
//! the refusal is in our words.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as HttpBody, Frame};
use tokio_util::task::AbortOnDropHandle;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tonic::server::NamedService;
use tonic::{Code, Status};

use crate::server::socket::Seat;
use crate::shares::{Account, Budget, Held, Namespace};

/// The most bytes of a call's message. A class, a pod's tokens and its secret are a fraction of that: etcd
/// takes 1.5 MB at most.
pub const MAX_MESSAGE: usize = 4 * 1024 * 1024;
/// How long a call's message may take to arrive.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer that waits to be read counts for those that come: not longer, since they are not who lets it wait.
const SENDING: Duration = Duration::from_secs(1);
/// How long an answer may wait to be read, before the connection is closed: the driver reads at once, and what nobody reads
/// holds bytes.
const READING_TIMEOUT: Duration = Duration::from_secs(30);
/// The most bytes of an answer that h2 gets at a time.
const PIECE: usize = 32 * 1024;
/// The most bytes of a message that come before it takes bytes of the budget. Nearly all messages are shorter; the rest of a
/// longer one stays with the caller until there are bytes for it.
pub const STREAM_WINDOW: u32 = 8 * 1024;
/// What a message takes while it becomes a request, in its own length: as it came, as the library decodes it, as texts.
const COPIES: usize = 3;

/// A service behind all that.
#[derive(Clone, Debug)]
pub struct Calls<S> {
    service: S,
    timeout: Duration,
    messages: Budget,
}

/// The bytes of a call's message, until it is a request.
#[derive(Clone, Debug)]
pub struct Message(Arc<Held>);

/// The bytes of an answer's files, and of the answer when it is written: the first are gone once the second are there.
#[derive(Clone, Debug)]
pub struct Sending {
    /// Those of the files.
    pub files: Arc<Held>,
    /// Those of the answer.
    pub answer: Arc<Held>,
}

impl Message {
    /// It has become a request of so many bytes.
    pub fn shrink_to(&mut self, bytes: usize) {
        if let Some(held) = Arc::get_mut(&mut self.0) {
            held.shrink_to(bytes);
        }
    }
}

/// The budget of messages that are read: of one as long as a message may be, and half as much for others.
pub fn messages() -> Budget {
    let most = COPIES * (PREFIX + MAX_MESSAGE);
    Budget::new(most + most / 2, most)
}

impl<S> Calls<S> {
    /// A service that answers within this time once it has the message, and whose messages hold bytes of this budget.
    pub fn new(service: S, answer_timeout: Duration, messages: Budget) -> Self {
        let timeout = answer_timeout.saturating_add(ARRIVAL_TIMEOUT);
        Self {
            service,
            timeout,
            messages,
        }
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
        // Whose it is shows when it is read.
        let account = self.messages.open(&Namespace::default());
        let answer = async move {
            let (mut head, body) = request.into_parts();
            let seat = head.extensions.get::<Arc<Seat>>().cloned();
            let close = move || seat.iter().for_each(|seat| seat.close());
            match received(body, &account).await {
                Ok((message, bytes)) => {
                    let body = Body::new(Full::new(message));
                    head.extensions.insert(Message(Arc::new(bytes)));
                    drop(account);
                    let answer = service.call(Request::from_parts(head, body)).await;
                    answer
                        .map(in_our_words)
                        .map(|answer| weighed(answer, close))
                }
                Err(refusal) => Ok(refusal.into_http()),
            }
        };
        tokio::time::timeout(self.timeout, answer)
            .map(|answer| answer.unwrap_or_else(|_| Ok(late().into_http())))
            .boxed()
    }
}

/// The message as it came, with its length before it. The library makes room for as many bytes as a caller announces,
/// so it gets to see none that did not come.
async fn received(mut body: Body, account: &Account) -> Result<(Bytes, Held), Status> {
    let mut message = BytesMut::new();
    let mut held = Held::nothing(account);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        message.extend_from_slice(&data);
        let announced = announced(&message).unwrap_or_default();
        if announced > MAX_MESSAGE || message.len() > PREFIX + MAX_MESSAGE {
            return Err(too_large());
        }
        let bytes = COPIES * message.len();
        if !held.try_grow_to(bytes) && message.len() > STREAM_WINDOW as usize {
            let missing = bytes - held.bytes();
            held.add(account.take(missing).await);
        }
    }
    match announced(&message) {
        Some(length) if message.len() < PREFIX + length => Err(incomplete()),
        _ => Ok((message.freeze(), held)),
    }
}

/// The answer, with the bytes that it holds until it is sent. If nobody reads it, `close` is called.
fn weighed(mut answer: Response<Body>, close: impl FnOnce() + Send + 'static) -> Response<Body> {
    let Some(sending) = answer.extensions_mut().remove::<Sending>() else {
        return answer;
    };
    let Sending {
        files,
        answer: bytes,
    } = sending;
    let sending = AbortOnDropHandle::new(tokio::spawn(async move {
        tokio::time::sleep(SENDING).await;
        drop(bytes);
        tokio::time::sleep(READING_TIMEOUT.saturating_sub(SENDING)).await;
        close();
    }));
    answer.map(|body| {
        Body::new(Weighed {
            body,
            unsent: Bytes::new(),
            files: Some(files),
            _sending: sending,
        })
    })
}

/// An answer that is sent piece by piece, as its caller reads it: of a frame of any length, h2 takes all at once and keeps what
/// the caller has no window for.
struct Weighed {
    body: Body,
    /// What is left of a frame.
    unsent: Bytes,
    /// The bytes of the files, until the answer is written and so there once more.
    files: Option<Arc<Held>>,
    _sending: AbortOnDropHandle<()>,
}

impl HttpBody for Weighed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.unsent.is_empty() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            self.files = None;
            match frame.into_data() {
                Ok(data) => self.unsent = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let length = self.unsent.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.unsent.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.unsent.is_empty() && self.body.is_end_stream()
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
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use futures::FutureExt as _;
    use http_body_util::StreamBody;

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
        let account = messages().open(&Namespace::default());
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
            let received = received(body(announced, chunks, read), &account).await;
            let received = received
                .as_ref()
                .map(|(message, _)| message.len())
                .map_err(Status::message);
            match expected {
                Ok(length) => assert_eq!(received, Ok(length), "{announced}"),
                Err(words) => assert!(received.unwrap_err().contains(words), "{announced}"),
            }
            assert_eq!(read.load(Ordering::Relaxed), most, "{announced}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_holds_its_bytes_until_it_is_read_or_nobody_reads_it() {
        let budget = Budget::new(100, 60);
        let account = budget.open(&Namespace::default());
        let take = |bytes| Arc::new(account.take(bytes).now_or_never().unwrap());
        let is_closed = Arc::new(AtomicBool::new(false));
        for is_read in [true, false] {
            let mut answer = Response::new(Body::new(Full::new(Bytes::from_static(b"files"))));
            let (files, bytes) = (take(10), take(20));
            answer.extensions_mut().insert(Sending {
                files,
                answer: bytes,
            });
            let closes = Arc::clone(&is_closed);
            let mut answer = weighed(answer, move || closes.store(true, Ordering::Relaxed));
            assert_eq!(budget.load().held, 30);
            if is_read {
                answer.body_mut().frame().await.unwrap().unwrap();
                assert_eq!(budget.load().held, 20);
            } else {
                tokio::time::sleep(2 * READING_TIMEOUT).await;
                assert!(is_closed.load(Ordering::Relaxed));
            }
            drop(answer);
            tokio::task::yield_now().await;
            assert_eq!(budget.load().held, 0);
            tokio::time::sleep(2 * READING_TIMEOUT).await;
            assert_eq!(is_closed.load(Ordering::Relaxed), !is_read);
        }
    }
}
