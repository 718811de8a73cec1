//! [`Origin`], one server that requests are sent to, whatever asks it.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderMap, HeaderValue};
use hyper::http::uri::{PathAndQuery, Scheme};
use hyper::{Request, Response, StatusCode, Uri};

use crate::metrics::Traffic;
use crate::traces::Trace;
use crate::transport::connections::{Body, Connections, Lease};
use crate::transport::dial::Dialer;
use crate::transport::{MAX_BODY, Phase, TransportError};

/// How long a whole request may take, from the first byte sent to the last byte received. Key Vault's
/// slowest answers take a second or two.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// How many connections a request is tried on, where each turns out to have been closed before anything
/// was sent on it.
const MAX_CONNECTIONS: usize = 4;

/// One server, and the connections to it.
#[derive(Debug)]
pub(super) struct Origin {
    dialer: Dialer,
    connections: Connections,
    traffic: Arc<Traffic>,
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// The HTTP status.
    pub(super) status: StatusCode,
    /// The headers.
    pub(super) headers: HeaderMap,
    /// The body.
    pub(super) body: Bytes,
}

impl Origin {
    /// A server that nobody has talked to yet.
    pub(super) fn new(dialer: Dialer, traffic: Arc<Traffic>, max_http1: usize) -> Self {
        Self {
            dialer,
            connections: Connections::new(Arc::clone(&traffic), max_http1),
            traffic,
        }
    }

    /// The way to it.
    pub(super) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// What messages call it.
    pub(super) fn shown(&self) -> &str {
        &self.dialer.shown
    }

    /// Where what it is asked is counted.
    pub(super) fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// What goes on while a connection to it is made.
    pub(super) fn connecting(&self) -> Option<Phase> {
        self.dialer.progress.now()
    }

    /// Makes the first connection, so that it is there when the first request is, and says whether it takes
    /// many requests at once.
    pub(super) async fn warm_up(&self) -> Result<bool, TransportError> {
        match self.connections.lease(&self.dialer).await? {
            Lease::Http1(connection) => {
                self.connections.give_back(connection);
                Ok(false)
            }
            Lease::Http2(_) => Ok(true),
        }
    }

    /// Sends a request, reads the answer, and counts it. Not `async` itself, which would keep room for the
    /// request a second time.
    pub(super) fn exchange(
        &self,
        request: Request<Body>,
    ) -> impl Future<Output = Result<Answer, TransportError>> {
        let trace = Trace::request(self.shown(), request.method().as_str());
        let sending = trace.around(self.send(request));
        sending.inspect(move |result| {
            if let Ok(answer) = result {
                trace.record("http.response.status_code", answer.status.as_u16());
                self.traffic.answered(answer.status);
            } else {
                trace.record("otel.status_code", "ERROR");
                self.traffic.failed();
            }
        })
    }

    async fn send(&self, request: Request<Body>) -> Result<Answer, TransportError> {
        let mut request = Some(request);
        for _ in 0..MAX_CONNECTIONS {
            let lease = self.connections.lease(&self.dialer).await?;
            let attempt = self.attempt(lease, &mut request);
            match tokio::time::timeout(REQUEST_TIMEOUT, attempt).await {
                Ok(Ok(Some(answer))) => return Ok(answer),
                Ok(Ok(None)) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    self.connections.forget();
                    return Err(TransportError::Timeout {
                        host: self.shown().to_owned(),
                        phase: Phase::Answer,
                        after: REQUEST_TIMEOUT,
                    });
                }
            }
        }
        Err(self.interrupted(std::io::Error::other("it closes every connection")))
    }

    /// Tries one connection. None, and the request where it was, if nothing was sent.
    async fn attempt(
        &self,
        lease: Lease,
        request: &mut Option<Request<Body>>,
    ) -> Result<Option<Answer>, TransportError> {
        let Some(mut outgoing) = request.take() else {
            return Ok(None);
        };
        let sent = match lease {
            Lease::Http2(mut stream) => {
                self.for_http2(&mut outgoing);
                match stream.sender.try_send_request(outgoing).await {
                    Ok(response) => return self.read(response).await.map(Some),
                    Err(error) => error,
                }
            }
            Lease::Http1(mut connection) => {
                self.for_http1(&mut outgoing);
                if connection.sender.ready().await.is_err() {
                    *request = Some(outgoing);
                    return Ok(None);
                }
                match connection.sender.try_send_request(outgoing).await {
                    Ok(response) => {
                        let answer = self.read(response).await?;
                        self.connections.give_back(connection);
                        return Ok(Some(answer));
                    }
                    Err(error) => error,
                }
            }
        };
        let mut failure = sent;
        *request = failure.take_message();
        if request.is_some() {
            return Ok(None);
        }
        Err(self.interrupted(failure.into_error()))
    }

    /// HTTP/2 has the server's name in the URL.
    fn for_http2(&self, request: &mut Request<Body>) {
        let scheme = if self.dialer.tls.is_some() {
            Scheme::HTTPS
        } else {
            Scheme::HTTP
        };
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(scheme);
        parts.authority = Some(self.dialer.authority.clone());
        // With all three parts there is nothing to be refused.
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        request.headers_mut().remove(HOST);
    }

    /// HTTP/1.1 has it in a header.
    fn for_http1(&self, request: &mut Request<Body>) {
        let path = request.uri().path_and_query().cloned();
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from(path);
        if let Ok(host) = HeaderValue::from_str(self.dialer.authority.as_str()) {
            request.headers_mut().insert(HOST, host);
        }
    }

    async fn read(&self, response: Response<Incoming>) -> Result<Answer, TransportError> {
        let (parts, mut incoming) = response.into_parts();
        // Nearly every answer is one frame, which need not be copied.
        let mut whole = Bytes::new();
        let mut body = BytesMut::new();
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|error| self.interrupted(error))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if whole.len() + body.len() + data.len() > MAX_BODY {
                let host = self.shown().to_owned();
                return Err(TransportError::TooLarge { host });
            }
            if whole.is_empty() && body.is_empty() {
                whole = data;
            } else {
                body.extend_from_slice(&std::mem::take(&mut whole));
                body.extend_from_slice(&data);
            }
        }
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: if body.is_empty() {
                whole
            } else {
                body.freeze()
            },
        })
    }

    fn interrupted(&self, error: impl std::error::Error + Send + Sync + 'static) -> TransportError {
        TransportError::interrupted(self.shown(), error)
    }
}
