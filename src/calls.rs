//! [`Calls`], what every call of the driver's service goes through: it ends, and where the library refuses it,
//! the refusal is in our words.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
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
    pub fn of(service: S, answer_timeout: Duration) -> Self {
        let timeout = answer_timeout.saturating_add(ARRIVAL_TIMEOUT);
        Self { service, timeout }
    }
}

impl<S: NamedService> NamedService for Calls<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Calls<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = tokio::time::timeout(self.timeout, self.service.call(request));
        async move {
            match answer.await {
                Ok(answer) => answer.map(in_our_words),
                Err(_) => Ok(late().into_http()),
            }
        }
        .boxed()
    }
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

fn late() -> Status {
    Status::failed_precondition(
        "[TIMEOUT] the call's message did not arrive in time. Fix: see whether the node is overloaded; the driver sends \
         it at once",
    )
}
