//! [`Connections`] to one server: as few as do.
//!
//! With HTTP/2 all requests share one connection, up to the number of streams that the server allows, and
//! then a few more. With HTTP/1.1 each request has a connection to itself for as long as it lasts. Which
//! of the two it is shows with the first connection, so the first is made alone and everyone else waits
//! for it. A general pool makes one for each request that comes meanwhile.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::observe::metrics::Traffic;
use crate::os::lock::lock;
use crate::transport::TransportError;
use crate::transport::dial::Dialer;
use crate::transport::stream::Dialed;

/// The most HTTP/2 connections to one server.
const MAX_HTTP2: usize = 4;
/// How long an unused connection is kept: longer than the minute or two between two mounts of a volume,
/// and shorter than the four minutes after which Azure's load balancers forget it without a word.
const IDLE_TIMEOUT: Duration = Duration::from_secs(180);
/// How long after a failure nobody tries to make one more HTTP/2 connection beside those that are there.
const GROWTH_PAUSE: Duration = Duration::from_secs(10);
/// How often a server is asked whether it is still there, also while it has nothing to answer: hyper sends
/// no ping for a single request otherwise. A connection that is gone without a word would cost every mount
/// a timeout.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// How long it may take to say so.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// The body of a request.
pub(super) type Body = Full<Bytes>;

/// The connections to one server.
#[derive(Debug)]
pub(super) struct Connections {
    known: Arc<Mutex<Known>>,
    /// Held while the first connection, or one more for HTTP/2, is made.
    door: tokio::sync::Mutex<()>,
    /// One for each HTTP/1.1 connection that is in use.
    slots: Arc<Semaphore>,
    traffic: Arc<Traffic>,
}

/// A connection for one request.
#[derive(Debug)]
pub(super) enum Lease {
    /// One that others use too.
    Http2(Http2),
    /// One that nobody else uses; to be [given back](Connections::give_back).
    Http1(Http1),
}

/// An HTTP/1.1 connection.
#[derive(Debug)]
pub(super) struct Http1 {
    /// Where the request goes.
    pub(super) sender: http1::SendRequest<Body>,
    _slot: Option<OwnedSemaphorePermit>,
}

/// A place for one request on an HTTP/2 connection, for as long as this lives.
#[derive(Debug)]
pub(super) struct Http2 {
    /// Where requests go.
    pub(super) sender: http2::SendRequest<Body>,
    load: Arc<Load>,
}

/// Whether one more connection would do good.
enum Room {
    Left,
    Full,
}

/// A new connection.
enum Opened {
    Http2(Http2),
    Http1(http1::SendRequest<Body>),
}

/// What is there, as of now.
#[derive(Debug, Default)]
struct Known {
    http2: Vec<Shared>,
    /// The one used last is used first, so that the others can be forgotten.
    http1: Vec<Idle>,
    /// What the last connection speaks.
    speaks_http1: bool,
    last_failure: Option<(Instant, TransportError)>,
}

/// An HTTP/2 connection.
#[derive(Debug)]
struct Shared {
    sender: http2::SendRequest<Body>,
    load: Arc<Load>,
    last_use: Instant,
}

/// How much is asked on an HTTP/2 connection.
#[derive(Debug)]
struct Load {
    requests: AtomicUsize,
    /// The most that the server allows at once.
    limit: AtomicUsize,
    /// Whether the server takes no more of them.
    is_over: AtomicBool,
}

/// An HTTP/1.1 connection that nobody uses.
#[derive(Debug)]
struct Idle {
    sender: http1::SendRequest<Body>,
    since: Instant,
}

impl Connections {
    /// None yet.
    pub(super) fn new(traffic: Arc<Traffic>, max_http1: usize) -> Self {
        Self {
            known: Arc::default(),
            door: tokio::sync::Mutex::default(),
            slots: Arc::new(Semaphore::new(max_http1)),
            traffic,
        }
    }

    /// A connection for one request, made now if there is none. Whoever waits for another's attempt to
    /// make one shares its failure.
    pub(super) async fn lease(&self, dialer: &Dialer) -> Result<Lease, TransportError> {
        if self.known().speaks_http1 {
            return self.lease_http1(dialer).await;
        }
        let found = self.known().shared();
        match found {
            Some((lease, Room::Left)) => return Ok(lease),
            Some((lease, Room::Full)) => return Ok(self.grow(dialer, lease).await),
            None => {}
        }
        let arrival = Instant::now();
        let door = self.door.lock().await;
        if let Some((then, failure)) = &self.known().last_failure
            && *then > arrival
        {
            return Err(failure.clone());
        }
        if self.known().speaks_http1 {
            drop(door);
            return self.lease_http1(dialer).await;
        }
        if let Some((lease, _)) = self.known().shared() {
            return Ok(lease);
        }
        let opened = self.open(dialer).await?;
        Ok(self.lease_of(opened, None))
    }

    /// One more HTTP/2 connection, or, where another is being made or none can be, a place on a full one.
    async fn grow(&self, dialer: &Dialer, full: Lease) -> Lease {
        let Ok(_door) = self.door.try_lock() else {
            return full;
        };
        if self.known().has_failed_lately() {
            return full;
        }
        match self.open(dialer).await {
            Ok(opened) => self.lease_of(opened, None),
            Err(_) => full,
        }
    }

    /// Uses no connection again that is there: one of them gave no answer, and may be gone without a word.
    pub(super) fn forget(&self) {
        let mut known = self.known();
        known.http2.clear();
        known.http1.clear();
    }

    /// One of so many, which others make beside it.
    async fn lease_http1(&self, dialer: &Dialer) -> Result<Lease, TransportError> {
        // The semaphore is never closed, so there is a slot for everyone in the end.
        let slot = Arc::clone(&self.slots).acquire_owned().await.ok();
        let idle = self.known().idle();
        let opened = match idle {
            Some(sender) => Opened::Http1(sender),
            None => self.open(dialer).await?,
        };
        Ok(self.lease_of(opened, slot))
    }

    fn lease_of(&self, opened: Opened, slot: Option<OwnedSemaphorePermit>) -> Lease {
        match opened {
            Opened::Http2(shared) => Lease::Http2(shared),
            Opened::Http1(sender) => Lease::Http1(Http1 {
                sender,
                // The first connection is made before it shows that it takes a slot.
                _slot: slot.or_else(|| Arc::clone(&self.slots).try_acquire_owned().ok()),
            }),
        }
    }

    /// Takes back a connection whose answer has been read.
    pub(super) fn give_back(&self, connection: Http1) {
        let since = Instant::now();
        let sender = connection.sender;
        if !sender.is_closed() {
            self.known().http1.push(Idle { sender, since });
        }
    }

    async fn open(&self, dialer: &Dialer) -> Result<Opened, TransportError> {
        // Boxed, since it is large and nearly no request needs it.
        let opened = match Box::pin(dialer.dial()).await {
            Ok(stream) => open(stream, Arc::downgrade(&self.known))
                .await
                .map_err(|error| TransportError::interrupted(&dialer.shown, error)),
            Err(failure) => Err(failure),
        };
        if opened.is_ok() {
            self.traffic.connected();
        }
        self.known().note(&opened);
        opened
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }
}

/// Lets go of unused connections for as long as this runs, which is beside each of them.
async fn let_go(known: Weak<Mutex<Known>>) -> Infallible {
    while let Some(known) = known.upgrade() {
        lock(&known).let_go_of_unused();
        drop(known);
        tokio::time::sleep(IDLE_TIMEOUT / 4).await;
    }
    // Who has no connections any more needs none of these; their ends see to the rest.
    std::future::pending().await
}

impl Known {
    /// Closes connections that nobody has used for a while, by letting go of them.
    fn let_go_of_unused(&mut self) {
        let now = Instant::now();
        self.http2.retain(|shared| {
            let in_use = shared.load.requests.load(Ordering::Relaxed) > 0;
            let is_open =
                !shared.sender.is_closed() && !shared.load.is_over.load(Ordering::Relaxed);
            is_open && (in_use || now - shared.last_use < IDLE_TIMEOUT)
        });
        self.http1
            .retain(|idle| !idle.sender.is_closed() && now - idle.since < IDLE_TIMEOUT);
    }

    /// A place on an HTTP/2 connection that is there, and whether one more connection would do good.
    fn shared(&mut self) -> Option<(Lease, Room)> {
        self.let_go_of_unused();
        let may_grow = self.http2.len() < MAX_HTTP2;
        let freest = self
            .http2
            .iter_mut()
            .min_by_key(|shared| shared.load.requests.load(Ordering::Relaxed))?;
        let room = if freest.load.is_full() && may_grow {
            Room::Full
        } else {
            Room::Left
        };
        freest.last_use = Instant::now();
        Some((Lease::Http2(freest.lease()), room))
    }

    fn has_failed_lately(&self) -> bool {
        let then = self.last_failure.as_ref().map(|(then, _)| *then);
        then.is_some_and(|then| then.elapsed() < GROWTH_PAUSE)
    }

    /// An HTTP/1.1 connection that is there.
    fn idle(&mut self) -> Option<http1::SendRequest<Body>> {
        self.let_go_of_unused();
        self.http1.pop().map(|idle| idle.sender)
    }

    /// Remembers a new connection, or why there is none.
    fn note(&mut self, opened: &Result<Opened, TransportError>) {
        // A failure says nothing about the protocol, nor about the connections that are there.
        if let Ok(opened) = opened {
            self.speaks_http1 = matches!(opened, Opened::Http1(_));
        }
        match opened {
            Ok(Opened::Http2(Http2 { sender, load })) => {
                // The server will say on this connection what it has said on the others.
                if let Some(other) = self.http2.first() {
                    let limit = other.load.limit.load(Ordering::Relaxed);
                    load.limit.store(limit, Ordering::Relaxed);
                }
                self.http2.push(Shared {
                    sender: sender.clone(),
                    load: Arc::clone(load),
                    last_use: Instant::now(),
                });
            }
            Ok(Opened::Http1(_)) => {}
            Err(failure) => self.last_failure = Some((Instant::now(), failure.clone())),
        }
    }
}

impl Shared {
    fn lease(&self) -> Http2 {
        Http2::new(self.sender.clone(), Arc::clone(&self.load))
    }
}

impl Load {
    fn is_full(&self) -> bool {
        self.requests.load(Ordering::Relaxed) >= self.limit.load(Ordering::Relaxed)
    }
}

impl Http2 {
    /// The server takes no more requests on this connection; those that it has, it answers.
    pub(super) fn mark_over(&self) {
        self.load.is_over.store(true, Ordering::Relaxed);
    }

    fn new(sender: http2::SendRequest<Body>, load: Arc<Load>) -> Self {
        load.requests.fetch_add(1, Ordering::Relaxed);
        Self { sender, load }
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        self.load.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Begins to speak HTTP, and keeps the connection alive beside its requests until nobody can send any.
async fn open(dialed: Dialed, known: Weak<Mutex<Known>>) -> hyper::Result<Opened> {
    let letting_go = let_go(known);
    let stream = TokioIo::new(dialed.stream);
    if !dialed.http2 {
        let (sender, connection) = http1::handshake(stream).await?;
        tokio::spawn(until_it_ends(connection, letting_go));
        return Ok(Opened::Http1(sender));
    }
    let (sender, mut connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .handshake(stream)
        .await?;
    let mut known_limit = connection.current_max_send_streams();
    let load = Arc::new(Load {
        requests: AtomicUsize::new(0),
        limit: AtomicUsize::new(known_limit),
        is_over: AtomicBool::new(false),
    });
    let opened = Opened::Http2(Http2::new(sender, Arc::clone(&load)));
    let connection = poll_fn(move |context| {
        let polled = Pin::new(&mut connection).poll(context);
        // The server says how many it allows after the handshake, and may say so again.
        let limit = connection.current_max_send_streams();
        if limit != known_limit {
            known_limit = limit;
            load.limit.store(limit, Ordering::Relaxed);
        }
        polled
    });
    tokio::spawn(until_it_ends(connection, letting_go));
    Ok(opened)
}

/// Keeps a connection alive, with something beside it.
async fn until_it_ends(
    connection: impl Future<Output = hyper::Result<()>>,
    beside: impl Future<Output = Infallible>,
) {
    tokio::select! {
        result = connection => if let Err(error) = result {
            tracing::debug!(%error, "a connection broke");
        },
        never = beside => match never {},
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;
    use url::Host;

    use super::*;
    use crate::transport::dns::Place;
    use crate::transport::stream::Progress;

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_nobody_uses_is_closed_by_itself() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let dialer = Dialer {
            shown: "h".to_owned(),
            place: Place::of(&Host::Domain("127.0.0.1")),
            authority: "h".parse().unwrap(),
            port: address.port(),
            tls: None,
            proxy: None,
            progress: Progress::default(),
            canned: None,
        };
        let connections = Connections::new(Arc::default(), 1);
        let Lease::Http1(lease) = connections.lease(&dialer).await.unwrap() else {
            panic!("plain HTTP is HTTP/1.1");
        };
        connections.give_back(lease);
        let (mut server, _) = listener.accept().await.unwrap();
        let start = Instant::now();
        assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
        let open_for = start.elapsed();
        assert!(
            open_for >= IDLE_TIMEOUT && open_for <= IDLE_TIMEOUT * 5 / 4,
            "{open_for:?}"
        );
    }
}
