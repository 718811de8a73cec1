//! [`Origin`], one server that requests are sent to, whatever asks it.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::header::{HOST, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::http::uri::{PathAndQuery, Scheme};
use hyper::{Request, Response, StatusCode, Uri};

use crate::observe::metrics::Traffic;
use crate::observe::traces::Trace;
use crate::transport::connections::{Alone, Body, Connections, Http2, Lease, PoolLimits};
use crate::transport::dial::Dialer;
use crate::transport::{MAX_BODY, Phase, Refusal, TransportError, in_chain};

/// How long a whole request may take, from the first byte sent to the last byte received. Key Vault's
/// slowest answers take a second or two.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// How many connections a request is tried on, where each turns out to be closed, or to take no more requests, before
/// the server has begun to work on it. Servers end a connection after so many requests, and a burst may be several
/// times as many.
const MAX_TRIED: usize = 8;

/// The most bytes of a refusal that are looked at. Azure's own have some hundreds; a page of a proxy's is only said to
/// be one.
const MAX_REFUSAL: usize = 16 * 1024;

/// One server, and the connections to it.
#[derive(Debug)]
pub(super) struct Origin {
    dialer: Arc<Dialer>,
    connections: Connections,
    traffic: Arc<Traffic>,
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// The HTTP status.
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Origin {
    /// An answer of it as an error.
    pub(super) fn refusal(&self, answer: Answer) -> Refusal {
        Refusal {
            host: self.shown().to_owned(),
            status: answer.status.as_u16(),
            retry_after: retry_after(&answer.headers),
            body: bounded(answer.body),
        }
    }

    /// A server that nobody has talked to yet.
    pub(super) fn new(dialer: Dialer, traffic: Arc<Traffic>, limits: PoolLimits) -> Self {
        let dialer = Arc::new(dialer);
        Self {
            connections: Connections::new(Arc::clone(&dialer), Arc::clone(&traffic), limits),
            dialer,
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
        self.dialer.progress.phase()
    }

    /// Makes the first connection, so that it is there when the first request is, and says whether it takes
    /// many requests at once.
    pub(super) async fn warm_up(&self) -> Result<bool, TransportError> {
        match self.connections.lease().await? {
            Lease::Http1(connection) => {
                self.connections.give_back(connection);
                Ok(false)
            }
            Lease::Http2(_) => Ok(true),
        }
    }

    /// Sends a request, reads the answer, and counts it. `make` makes the same request for each connection that it is tried
    /// on: a copy for the rare second one would cost as much as the request. Not `async` itself, which would store what it
    /// sends twice.
    pub(super) fn exchange(
        &self,
        method: &str,
        make: impl Fn() -> Result<Request<Body>, TransportError>,
    ) -> impl Future<Output = Result<Answer, TransportError>> {
        let trace = Trace::request(self.shown(), method);
        let sending = trace.around(self.send(make));
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

    async fn send(
        &self,
        make: impl Fn() -> Result<Request<Body>, TransportError>,
    ) -> Result<Answer, TransportError> {
        let mut is_suspect = false;
        for _ in 0..MAX_TRIED {
            // On a connection to itself, an answer that ends it ends no other request.
            let (lease, _place) = if is_suspect {
                let alone = self.alone().await?;
                (alone.lease, Some(alone.place))
            } else {
                (self.connections.lease().await?, None)
            };
            let attempt = self.attempt(lease, &make);
            match tokio::time::timeout(REQUEST_TIMEOUT, attempt).await {
                Ok(Ok(Outcome::Answer(answer))) => return Ok(answer),
                Ok(Ok(Outcome::LeftAlone)) => {}
                Ok(Ok(Outcome::Broken(error))) if is_suspect => return Err(error),
                Ok(Ok(Outcome::Broken(_))) => is_suspect = true,
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

    /// A connection for one request, in the time that the request has.
    async fn alone(&self) -> Result<Alone, TransportError> {
        tokio::time::timeout(REQUEST_TIMEOUT, self.connections.lease_alone())
            .await
            .unwrap_or_else(|_| {
                Err(TransportError::Timeout {
                    host: self.shown().to_owned(),
                    phase: Phase::Answer,
                    after: REQUEST_TIMEOUT,
                })
            })
    }

    /// Waits for the addresses that a connection takes if there is none.
    pub(super) async fn look_up(&self) -> Result<(), TransportError> {
        self.connections.look_up().await
    }

    /// Sends the request on this connection.
    async fn attempt(
        &self,
        lease: Lease,
        make: impl Fn() -> Result<Request<Body>, TransportError>,
    ) -> Result<Outcome, TransportError> {
        match lease {
            Lease::Http2(mut stream) => {
                let request = self.for_http2(make()?);
                let response = match stream.sender.try_send_request(request).await {
                    Ok(response) => response,
                    Err(error) => return self.without_answer(error, &stream),
                };
                match self.read(response).await {
                    Ok(answer) => Ok(Outcome::Answer(answer)),
                    Err(error) if broke_for_all(&error) => {
                        stream.mark_over();
                        Ok(Outcome::Broken(self.interrupted(error)))
                    }
                    Err(error) => Err(error),
                }
            }
            Lease::Http1(mut connection) => {
                if connection.sender.ready().await.is_err() {
                    return Ok(Outcome::LeftAlone);
                }
                let request = match make() {
                    Ok(request) => self.for_http1(request),
                    Err(error) => {
                        self.connections.give_back(connection);
                        return Err(error);
                    }
                };
                let response = match connection.sender.try_send_request(request).await {
                    Ok(response) => response,
                    Err(mut failure) => {
                        return match failure.take_message() {
                            Some(_) => Ok(Outcome::LeftAlone),
                            None => Err(self.interrupted(failure.into_error())),
                        };
                    }
                };
                let answer = self.read(response).await?;
                self.connections.give_back(connection);
                Ok(Outcome::Answer(answer))
            }
        }
    }

    /// What an error means that came in place of an answer over HTTP/2.
    fn without_answer(
        &self,
        mut error: TrySendError<Request<Body>>,
        stream: &Http2,
    ) -> Result<Outcome, TransportError> {
        if error.take_message().is_some() {
            return Ok(Outcome::LeftAlone);
        }
        let error = error.into_error();
        if broke_for_all(&error) {
            stream.mark_over();
            return Ok(Outcome::Broken(self.interrupted(error)));
        }
        match in_chain::<h2::Error>(&error).and_then(left_alone) {
            Some(LeftAlone::Connection) => stream.mark_over(),
            Some(LeftAlone::Stream) => {}
            None => return Err(self.interrupted(error)),
        }
        Ok(Outcome::LeftAlone)
    }

    /// HTTP/2 has the server's name in the URL.
    fn for_http2(&self, mut request: Request<Body>) -> Request<Body> {
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
        request
    }

    /// HTTP/1.1 has it in a header.
    fn for_http1(&self, mut request: Request<Body>) -> Request<Body> {
        let path = request.uri().path_and_query().cloned();
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from(path);
        if let Ok(host) = HeaderValue::from_str(self.dialer.authority.as_str()) {
            request.headers_mut().insert(HOST, host);
        }
        request
    }

    /// Reads an answer. Of a refusal no more is kept than is looked at; it is read to its end all the same, so that the
    /// connection can go on.
    async fn read(&self, response: Response<Incoming>) -> Result<Answer, TransportError> {
        let (parts, mut incoming) = response.into_parts();
        let is_refusal = !parts.status.is_success();
        // Nearly every answer is one frame, which need not be copied.
        let mut whole = Bytes::new();
        let mut body = BytesMut::new();
        let mut read = 0;
        while let Some(frame) = incoming.frame().await {
            // Not yet in other words, where it is every request's on the connection.
            let frame = frame.map_err(|error| {
                if broke_for_all(&error) {
                    TransportError::interrupted(self.shown(), error)
                } else {
                    self.interrupted(error)
                }
            })?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            read += data.len();
            if read > MAX_BODY {
                if is_refusal {
                    break;
                }
                let host = self.shown().to_owned();
                return Err(TransportError::TooLarge { host });
            }
            if is_refusal && whole.len() + body.len() > MAX_REFUSAL {
                continue;
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

    /// Why the answer does not come to its end.
    fn interrupted(&self, error: impl std::error::Error + Send + Sync + 'static) -> TransportError {
        if has_unusable_headers(&error) {
            let host = self.shown().to_owned();
            return TransportError::Headers { host };
        }
        TransportError::interrupted(self.shown(), error)
    }
}

/// What comes of a request on one connection.
#[derive(Debug)]
enum Outcome {
    Answer(Answer),
    /// The server has not begun to work on it.
    LeftAlone,
    /// This end closed the connection under all of its requests, for what came as an answer to one of them.
    Broken(TransportError),
}

/// Whether this end closed an HTTP/2 connection for what came on it.
fn broke_for_all(error: &(dyn std::error::Error + 'static)) -> bool {
    in_chain::<h2::Error>(error).is_some_and(|error| error.is_go_away() && error.is_library())
}

/// Whether an answer had more headers than are taken. h2 resets the stream where they are not far too many, as where
/// they are malformed, and otherwise ends the connection with the reason for floods.
fn has_unusable_headers(error: &(dyn std::error::Error + 'static)) -> bool {
    let of_http1 = in_chain::<hyper::Error>(error).is_some_and(hyper::Error::is_parse_too_large);
    let reason = in_chain::<h2::Error>(error)
        .filter(|error| error.is_library())
        .and_then(h2::Error::reason);
    of_http1
        || matches!(
            reason,
            Some(
                h2::Reason::PROTOCOL_ERROR
                    | h2::Reason::ENHANCE_YOUR_CALM
                    | h2::Reason::COMPRESSION_ERROR
            )
        )
}

/// What takes no requests, and has not begun to work on one that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LeftAlone {
    Stream,
    Connection,
}

/// Whether a server says that it has not begun to work on a request, so that sending it again is no retry.
///
/// Source: RFC 9113, sections 6.8 and 8.7.
fn left_alone(error: &h2::Error) -> Option<LeftAlone> {
    if !error.is_remote() {
        return None;
    }
    match error.reason()? {
        h2::Reason::REFUSED_STREAM => Some(LeftAlone::Stream),
        h2::Reason::NO_ERROR if error.is_go_away() => Some(LeftAlone::Connection),
        _ => None,
    }
}

/// As much of a refusal's body as is looked at.
pub(super) fn bounded(body: Bytes) -> Bytes {
    if body.len() <= MAX_REFUSAL {
        return body;
    }
    // A copy, since a part of it would keep the whole.
    Bytes::copy_from_slice(&body[..MAX_REFUSAL])
}

/// The wait that a server asks for, where it says so in seconds.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;
    use hyper::http::uri::Authority;
    use tokio::io::DuplexStream;
    use tokio::time::Instant;

    use super::*;
    use crate::observe::metrics::Metrics;
    use crate::transport::canned::http2::{DATA, GOAWAY, HEADERS, RST_STREAM, Server};
    use crate::transport::canned::http2::{frame, ok, serve};
    use crate::transport::dns::Place;
    use crate::transport::names::Names;
    use crate::transport::stream::Progress;

    fn origin(server: &Server) -> Origin {
        let authority = Authority::from_static("h");
        let dialer = Dialer {
            shown: "h".to_owned(),
            place: Place::Of("h".to_owned()),
            names: Names::new(&Metrics::default()),
            authority,
            port: 443,
            tls: None,
            proxy: None,
            progress: Progress::default(),
            canned: Some(server.into()),
        };
        let limits = PoolLimits {
            max_http1: 1,
            max_age: Duration::from_secs(300),
        };
        Origin::new(dialer, Arc::default(), limits)
    }

    async fn ask(origin: &Origin) -> Result<Answer, TransportError> {
        let request = || Ok(Request::new(Body::default()));
        origin.exchange("GET", request).await
    }

    /// Answers ten requests, refuses the next, and says that it takes no more on this connection.
    async fn ends_after_ten(_: usize, stream: DuplexStream) {
        let (mut requests, mut last) = (0, 0_u32);
        serve(stream, None, |kind, id| {
            requests += usize::from(kind == HEADERS);
            match requests {
                _ if kind != HEADERS => Vec::new(),
                ..=10 => {
                    last = id;
                    ok(id)
                }
                11 => frame(RST_STREAM, 0, id, &7u32.to_be_bytes()),
                12 => frame(GOAWAY, 0, 0, &[last.to_be_bytes(), [0; 4]].concat()),
                _ => Vec::new(),
            }
        })
        .await;
    }

    #[tokio::test]
    async fn what_a_server_has_not_begun_goes_again_on_another_connection() {
        let server = Server::new(ends_after_ten);
        let origin = origin(&server);
        let answers = join_all((0..60).map(|_| ask(&origin))).await;
        for answer in answers {
            assert_eq!(answer.unwrap().status, StatusCode::OK);
        }
        assert!(server.connections() >= 6);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_no_answer_came_is_used_no_more() {
        // The first is there, answers pings, and nothing else.
        let server = Server::new(|number, stream| {
            let answer = move |_, id| if number == 1 { Vec::new() } else { ok(id) };
            serve(stream, None, answer)
        });
        let origin = origin(&server);
        let start = Instant::now();
        let error = ask(&origin).await.unwrap_err();
        assert!(
            matches!(error, TransportError::Timeout { phase: Phase::Answer, after, .. } if after == REQUEST_TIMEOUT),
            "{error:?}"
        );
        assert_eq!(start.elapsed().as_secs(), REQUEST_TIMEOUT.as_secs());
        assert_eq!(ask(&origin).await.unwrap().status, StatusCode::OK);
        assert_eq!(server.connections(), 2);
    }

    #[tokio::test]
    async fn of_a_refusal_no_more_is_kept_than_is_looked_at() {
        let given_up = Arc::new(AtomicUsize::new(0));
        // Each request is refused with a body of 60 KB.
        let server = Server::new({
            let given_up = Arc::clone(&given_up);
            move |_, stream| {
                let given_up = Arc::clone(&given_up);
                serve(stream, None, move |kind, id| {
                    if kind == RST_STREAM {
                        given_up.fetch_add(1, Ordering::Relaxed);
                        return Vec::new();
                    }
                    // `:status: 404` of the static table.
                    let mut answer = frame(HEADERS, 4, id, &[0x8d]);
                    for part in 1..=15 {
                        answer.extend(frame(DATA, u8::from(part == 15), id, &[b'x'; 4096]));
                    }
                    answer
                })
            }
        });
        let origin = origin(&server);
        for _ in 0..3 {
            let answer = ask(&origin).await.unwrap();
            assert_eq!(answer.status, StatusCode::NOT_FOUND);
            assert_eq!(answer.body.len(), 5 * 4096);
            assert_eq!(bounded(answer.body).len(), MAX_REFUSAL);
        }
        // It was read to its end, so that the connection goes on.
        assert_eq!(
            (server.connections(), given_up.load(Ordering::Relaxed)),
            (1, 0)
        );
    }
}
