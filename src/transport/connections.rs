//! [`Connections`] to one server: as few as do.
//!
//! With HTTP/2 all requests share one connection, up to the number of streams that the server allows, and
//! then a few more. With HTTP/1.1 each request has a connection to itself for as long as it lasts. Which
//! of the two it is shows with the first connection, so the first is made alone and everyone else waits
//! for it. A general pool makes one for each request that comes meanwhile.
//!
//! A connection that never fails would be used for ever, also when its server has moved to another address. So each
//! one that is in use is [renewed](opener) at some age.

mod idle;
mod opener;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::observe::metrics::Traffic;
use crate::os::open_files::{self, IdleConnections};
use crate::shares::{Namespace, Place, Places, Rank};
use crate::transport::TransportError;
use crate::transport::connections::opener::Opener;
use crate::transport::dial::Dialer;

/// The most HTTP/2 connections to one server.
const MAX_HTTP2: usize = 4;
/// The most connections to one server that serve one request each, since another one ended under several;
const MAX_ALONE: usize = 4;
/// and of these for one namespace.
const MAX_ALONE_OF_ONE: usize = 3;
/// How long an unused connection is kept: longer than the minute or two between two mounts of a volume,
/// and shorter than the four minutes after which Azure's load balancers forget it without a word.
const IDLE_TIMEOUT: Duration = Duration::from_secs(180);
/// How long after a failure nobody tries to make one more HTTP/2 connection beside those that are there.
const GROWTH_PAUSE: Duration = Duration::from_secs(10);

/// The body of a request.
pub(super) type Body = Full<Bytes>;

/// How many connections to one server there are, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct PoolLimits {
    /// The most HTTP/1.1 connections in use.
    pub(super) max_http1: usize,
    /// How old a connection gets before it is renewed, at most.
    pub(super) max_age: Duration,
}

/// The connections to one server.
#[derive(Debug)]
pub(super) struct Connections {
    known: Arc<Mutex<Known>>,
    /// Held while the first connection, or one more for HTTP/2, is made.
    door: tokio::sync::Mutex<()>,
    /// One for each HTTP/1.1 connection that is in use.
    slots: Arc<Semaphore>,
    opener: Opener,
    /// One for each connection that is [leased alone](Connections::lease_alone).
    alone: Arc<Places>,
}

/// A connection that nobody else uses, and its place among the few that there are at once.
#[derive(Debug)]
pub(super) struct Alone {
    pub(super) lease: Lease,
    pub(super) place: Place,
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
    is_over: Arc<AtomicBool>,
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
    Http1(http1::SendRequest<Body>, Arc<AtomicBool>),
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
    /// Whether it gets no more of them: the server takes none, or another connection has its place.
    is_over: Arc<AtomicBool>,
}

/// An HTTP/1.1 connection that nobody uses.
#[derive(Debug)]
struct Idle {
    sender: http1::SendRequest<Body>,
    is_over: Arc<AtomicBool>,
    since: Instant,
}

impl Connections {
    pub(super) fn new(dialer: Arc<Dialer>, traffic: Arc<Traffic>, limits: PoolLimits) -> Self {
        let known: Arc<Mutex<Known>> = Arc::default();
        let keeper: Weak<dyn IdleConnections> = Arc::downgrade(&known) as _;
        open_files::register(keeper);
        Self {
            door: tokio::sync::Mutex::default(),
            alone: Places::new(MAX_ALONE, MAX_ALONE_OF_ONE),
            slots: Arc::new(Semaphore::new(limits.max_http1)),
            opener: Opener {
                dialer,
                known: Arc::downgrade(&known),
                traffic,
                max_age: limits.max_age,
                turn: Arc::default(),
            },
            known,
        }
    }

    /// A connection for one request, made now if there is none. Whoever waits for another's attempt to
    /// make one shares its failure.
    pub(super) async fn lease(&self) -> Result<Lease, TransportError> {
        if self.known().speaks_http1 {
            return self.lease_http1().await;
        }
        let found = self.known().shared();
        match found {
            Some((lease, Room::Left)) => return Ok(lease),
            Some((lease, Room::Full)) => return Ok(self.grow(lease).await),
            None => {}
        }
        let arrival = Instant::now();
        // Before the door: who stands in front there may be of a namespace whose lookups wait for each other.
        self.opener.dialer.look_up().await?;
        let door = self.door.lock().await;
        if let Some((then, failure)) = &self.known().last_failure
            && *then > arrival
        {
            return Err(failure.clone());
        }
        if self.known().speaks_http1 {
            drop(door);
            return self.lease_http1().await;
        }
        if let Some((lease, _)) = self.known().shared() {
            return Ok(lease);
        }
        let opened = self.open().await?;
        Ok(self.lease_of(opened, None))
    }

    /// A new connection that nobody else uses, and few of them at once.
    pub(super) async fn lease_alone(&self) -> Result<Alone, TransportError> {
        let namespace = Namespace::current();
        let place = self.alone.take(&namespace, Rank::default()).await;
        let opened = self.opener.open().await?;
        Ok(Alone {
            lease: self.lease_of(opened, None),
            place,
        })
    }

    /// Waits for the addresses that a connection takes if there is none, in the line of the namespace that is served here.
    pub(super) async fn look_up(&self) -> Result<(), TransportError> {
        {
            let known = self.known();
            if known.speaks_http1 || !known.http2.is_empty() {
                return Ok(());
            }
        }
        self.opener.dialer.look_up().await
    }

    /// One more HTTP/2 connection, or, where another is being made or none can be, a place on a full one.
    async fn grow(&self, full: Lease) -> Lease {
        let Ok(_door) = self.door.try_lock() else {
            return full;
        };
        if self.known().has_failed_lately() {
            return full;
        }
        match self.open().await {
            Ok(opened) => self.lease_of(opened, None),
            Err(_) => full,
        }
    }

    /// Uses no connection again that is there: one of them gave no answer, and may be gone without a word.
    pub(super) fn forget(&self) {
        let mut known = self.known();
        // Nor is any of them renewed.
        for shared in known.http2.drain(..) {
            shared.load.is_over.store(true, Ordering::Relaxed);
        }
        for idle in known.http1.drain(..) {
            idle.is_over.store(true, Ordering::Relaxed);
        }
    }

    /// One of so many, which others make beside it.
    async fn lease_http1(&self) -> Result<Lease, TransportError> {
        // The semaphore is never closed, so there is a slot for everyone in the end.
        let slot = Arc::clone(&self.slots).acquire_owned().await.ok();
        let idle = self.known().idle();
        let opened = match idle {
            Some(idle) => Opened::Http1(idle.sender, idle.is_over),
            None => self.open().await?,
        };
        Ok(self.lease_of(opened, slot))
    }

    fn lease_of(&self, opened: Opened, slot: Option<OwnedSemaphorePermit>) -> Lease {
        match opened {
            Opened::Http2(shared) => Lease::Http2(shared),
            Opened::Http1(sender, is_over) => Lease::Http1(Http1 {
                sender,
                is_over,
                // The first connection is made before it shows that it takes a slot.
                _slot: slot.or_else(|| Arc::clone(&self.slots).try_acquire_owned().ok()),
            }),
        }
    }

    /// Takes back a connection whose answer has been read.
    pub(super) fn give_back(&self, connection: Http1) {
        let idle = Idle {
            sender: connection.sender,
            is_over: connection.is_over,
            since: Instant::now(),
        };
        if idle.is_usable() {
            self.known().http1.push(idle);
        }
    }

    async fn open(&self) -> Result<Opened, TransportError> {
        let opened = self.opener.open().await;
        self.known().note(&opened);
        opened
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock()
    }
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
            .retain(|idle| idle.is_usable() && now - idle.since < IDLE_TIMEOUT);
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
    fn idle(&mut self) -> Option<Idle> {
        self.let_go_of_unused();
        self.http1.pop()
    }

    /// Remembers a new connection, or why there is none.
    fn note(&mut self, opened: &Result<Opened, TransportError>) {
        // A failure says nothing about the protocol, nor about the connections that are there.
        if let Ok(opened) = opened {
            self.speaks_http1 = matches!(opened, Opened::Http1(..));
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
            Ok(Opened::Http1(..)) => {}
            Err(failure) => self.last_failure = Some((Instant::now(), failure.clone())),
        }
    }
}

impl Idle {
    fn is_usable(&self) -> bool {
        !self.sender.is_closed() && !self.is_over.load(Ordering::Relaxed)
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

#[cfg(test)]
mod tests;
