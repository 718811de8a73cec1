//! [`Opener`], what makes a connection to a server, and another one in its place when it is old.
//!
//! The new one is looked up and made beside the old one, which serves until the new one is ready, and answers what it
//! was asked. So a lookup or a connection that hangs or fails takes no working connection away: it is tried again
//! later.

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::BoxFuture;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Http2, IDLE_TIMEOUT, Idle, Known, Load, Opened, Shared};
use crate::observe::metrics::Traffic;
use crate::transport::dial::Dialer;
use crate::transport::stream::Dialed;
use crate::transport::{MAX_HEADERS, TransportError};

/// How often a server is asked whether it is still there, also while it has nothing to answer: hyper sends
/// no ping for a single request otherwise. A connection that is gone without a word would cost every mount
/// a timeout.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// How long it may take to say so.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// How long nobody tries to renew a connection after that has failed, at most: an outage of DNS costs a node a lookup
/// for each server in so much time.
const RENEWAL_PAUSE: Duration = Duration::from_secs(20);

/// What makes connections to one server. Clones share everything.
#[derive(Clone, Debug)]
pub(super) struct Opener {
    pub(super) dialer: Arc<Dialer>,
    /// Where connections have their places.
    pub(super) known: Weak<Mutex<Known>>,
    pub(super) traffic: Arc<Traffic>,
    /// How old a connection gets before it is renewed, at most.
    pub(super) max_age: Duration,
    /// Held while one connection is renewed, and for a while after that has failed.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
}

impl Opener {
    /// A new connection. Boxed, since it is large and nearly no request needs it.
    pub(super) fn open(&self) -> BoxFuture<'_, Result<Opened, TransportError>> {
        Box::pin(async {
            let dialed = self.dialer.dial().await?;
            let opened = self.speak(dialed).await;
            let broken = |error| TransportError::interrupted(&self.dialer.shown, error);
            let opened = opened.map_err(broken)?;
            self.traffic.connected();
            Ok(opened)
        })
    }

    /// Begins to speak HTTP, and keeps the connection alive beside its requests until nobody can send any.
    async fn speak(&self, dialed: Dialed) -> hyper::Result<Opened> {
        let is_over = Arc::new(AtomicBool::new(false));
        let beside = self.clone().look_after(Arc::clone(&is_over));
        let stream = TokioIo::new(dialed.stream);
        if !dialed.http2 {
            let mut builder = http1::Builder::new();
            builder.max_header_size(MAX_HEADERS as usize);
            let (sender, connection) = builder.handshake(stream).await?;
            tokio::spawn(until_it_ends(connection, beside));
            return Ok(Opened::Http1(sender, is_over));
        }
        let (sender, mut connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .max_header_list_size(MAX_HEADERS)
            .handshake(stream)
            .await?;
        let mut known_limit = connection.current_max_send_streams();
        let load = Arc::new(Load {
            requests: AtomicUsize::new(0),
            limit: AtomicUsize::new(known_limit),
            is_over,
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
        tokio::spawn(until_it_ends(connection, beside));
        Ok(opened)
    }

    /// What goes on beside a connection for as long as it is open.
    async fn look_after(self, is_over: Arc<AtomicBool>) -> Infallible {
        let renewing = async {
            self.renew(&is_over).await;
            pending().await
        };
        tokio::select! {
            never = let_go(Weak::clone(&self.known)) => never,
            never = renewing => never,
        }
    }

    /// Puts another connection in the place of one that has grown old, one of a server's at a time. Those that were
    /// made together are not renewed together.
    async fn renew(&self, is_over: &Arc<AtomicBool>) {
        tokio::time::sleep(self.max_age.mul_f64(1.0 - fastrand::f64() / 5.0)).await;
        // Who waits for an answer does not wait for this.
        let aside = Self {
            dialer: Arc::new(self.dialer.aside()),
            ..self.clone()
        };
        let mut has_failed = false;
        loop {
            let _turn = self.turn.lock().await;
            if is_over.load(Ordering::Relaxed) || self.known.strong_count() == 0 {
                return;
            }
            match aside.open().await {
                Ok(opened) => {
                    if let Some(known) = self.known.upgrade() {
                        known.lock().replace(is_over, opened);
                    }
                    return;
                }
                Err(error) => {
                    // Once for each outage and connection.
                    if !std::mem::replace(&mut has_failed, true) {
                        let server = &self.dialer.shown;
                        tracing::warn!(server, %error, "cannot renew a connection; the old one stays in use");
                    }
                    let pause = RENEWAL_PAUSE.min(self.max_age);
                    tokio::time::sleep(pause.mul_f64(1.0 - fastrand::f64() / 2.0)).await;
                }
            }
        }
    }
}

impl Known {
    /// Puts a new connection in the place of an old one, which answers what it was asked and gets nothing more.
    fn replace(&mut self, old: &Arc<AtomicBool>, opened: Opened) {
        // One that nobody uses stays one that nobody uses, and is let go of in its time.
        let shared = |shared: &&Shared| Arc::ptr_eq(&shared.load.is_over, old);
        let idle = |idle: &&Idle| Arc::ptr_eq(&idle.is_over, old);
        let last_use = self.http2.iter().find(shared).map(|shared| shared.last_use);
        let since = self.http1.iter().find(idle).map(|idle| idle.since);
        let then = last_use.or(since).unwrap_or_else(Instant::now);
        let opened = Ok(opened);
        self.note(&opened);
        match opened {
            Ok(Opened::Http2(_)) => {
                if let Some(new) = self.http2.last_mut() {
                    new.last_use = then;
                }
            }
            Ok(Opened::Http1(sender, is_over)) => self.http1.push(Idle {
                sender,
                is_over,
                since: then,
            }),
            Err(_) => {}
        }
        old.store(true, Ordering::Relaxed);
        self.let_go_of_unused();
    }
}

/// Lets go of unused connections for as long as this runs, which is beside each of them.
async fn let_go(known: Weak<Mutex<Known>>) -> Infallible {
    while let Some(known) = known.upgrade() {
        known.lock().let_go_of_unused();
        drop(known);
        tokio::time::sleep(IDLE_TIMEOUT / 4).await;
    }
    // Who has no connections any more needs none of these; their ends see to the rest.
    std::future::pending().await
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
