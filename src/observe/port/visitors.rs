//! [`Visitors`], the connections to an HTTP port, of which there are a few at once, and fewer from one address.
//!
//! Probes and Prometheus take one each, for as long as a request lasts. Where more come, the one that came first makes
//! room, of those on which nothing is asked: so whoever opens connections and leaves them takes them from itself, and a
//! request that has been read is answered.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::observe::warnings::Warnings;
use crate::os::open_files;

/// The most connections to one port at once, and the most from one source.
const MOST: Limits = Limits { all: 32, each: 8 };
/// How long an answer may take to be read, until its connection counts as one that makes room.
const READING: Duration = Duration::from_secs(10);
/// How long nobody else is let in after one has made room: what its successor asks is read meanwhile, however many
/// others there are.
const AFTER_ROOM: Duration = Duration::from_millis(1);
/// How long nobody is let in after the kernel has failed to.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
struct Limits {
    all: usize,
    each: usize,
}

/// Who comes to a port.
pub(super) struct Visitors {
    listener: TcpListener,
    guests: Guests,
    port: u16,
    turned_away: Warnings,
    failures: Warnings,
}

/// Who is there.
#[derive(Debug)]
struct Guests {
    limits: Limits,
    /// In the order in which they came.
    open: Vec<Weak<Visit>>,
}

/// One connection, until it is to be closed.
pub(super) struct Visitor {
    stream: TcpStream,
    visit: Arc<Visit>,
    hung_up: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// One connection, as others see it.
#[derive(Debug)]
pub(super) struct Visit {
    source: Source,
    hang_up: CancellationToken,
    requests: Mutex<Requests>,
}

/// What is asked on a connection.
#[derive(Debug, Default)]
struct Requests {
    /// How many have no answer yet.
    unanswered: usize,
    /// Since when an answer is there that has not been sent.
    unsent: Option<Instant>,
}

/// The connection that a request comes by.
#[derive(Clone)]
pub(super) struct By(Arc<Visit>);

/// A request, until its answer is there.
#[must_use]
pub(super) struct Asked(Arc<Visit>);

/// Where connections come from: an address, or for IPv6 the network of a host, which has all its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Source {
    Ipv4([u8; 4]),
    /// The first 64 bits.
    Ipv6([u16; 4]),
}

impl Source {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::Ipv4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::Ipv6([a, b, c, d])
            }
        }
    }
}

/// What becomes of one who comes.
#[derive(Debug)]
enum Admission {
    /// There was room.
    Free(Arc<Visit>),
    /// Another has left for it.
    InPlaceOfAnother(Arc<Visit>),
    /// All that are there are being answered.
    Refused,
}

impl Guests {
    fn new(limits: Limits) -> Self {
        let open = Vec::new();
        Self { limits, open }
    }

    fn admit(&mut self, source: Source) -> Admission {
        self.open.retain(|visit| visit.strong_count() > 0);
        let there: Vec<_> = self
            .open
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|visit| !visit.hang_up.is_cancelled())
            .collect();
        let mut sources: HashMap<_, usize> = HashMap::new();
        for visit in &there {
            *sources.entry(visit.source).or_default() += 1;
        }
        let own = sources.get(&source).copied().unwrap_or_default();
        let admitted = if own >= self.limits.each {
            // From itself, if it has enough.
            let leaves = there
                .iter()
                .find(|visit| visit.source == source && visit.may_leave());
            Some(leaves)
        } else if there.len() >= self.limits.all {
            // The first of those that may, from where most come. Of equals `max_by_key` gives the last.
            let may_leave = there.iter().rev().filter(|visit| visit.may_leave());
            Some(may_leave.max_by_key(|visit| sources.get(&visit.source)))
        } else {
            None
        };
        let visit = Arc::new(Visit::new(source));
        let admission = match admitted {
            None => Admission::Free(Arc::clone(&visit)),
            Some(Some(leaves)) => {
                leaves.hang_up.cancel();
                Admission::InPlaceOfAnother(Arc::clone(&visit))
            }
            Some(None) => return Admission::Refused,
        };
        self.open.push(Arc::downgrade(&visit));
        admission
    }
}

impl Visit {
    fn new(source: Source) -> Self {
        Self {
            source,
            hang_up: CancellationToken::new(),
            requests: Mutex::default(),
        }
    }

    /// Whether nothing is asked here, or the answer is not read.
    fn may_leave(&self) -> bool {
        let requests = self.requests.lock();
        let is_sent = |since: Instant| since.elapsed() >= READING;
        requests.unanswered == 0 && requests.unsent.is_none_or(is_sent)
    }
}

impl By {
    /// A request has been read.
    pub(super) fn ask(&self) -> Asked {
        self.0.requests.lock().unanswered += 1;
        Asked(Arc::clone(&self.0))
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let mut requests = self.0.requests.lock();
        requests.unanswered -= 1;
        requests.unsent.get_or_insert_with(Instant::now);
    }
}

impl Connected<IncomingStream<'_, Visitors>> for By {
    fn connect_info(stream: IncomingStream<'_, Visitors>) -> Self {
        Self(Arc::clone(&stream.io().visit))
    }
}

impl Visitors {
    /// Of this port.
    pub(super) fn new(listener: TcpListener) -> Self {
        Self {
            port: listener.local_addr().map_or(0, |address| address.port()),
            listener,
            guests: Guests::new(MOST.within(open_files::limit())),
            turned_away: Warnings::default(),
            failures: Warnings::default(),
        }
    }

    async fn visitor(&self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => return accepted,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    open_files::close_idlest();
                    let port = self.port;
                    self.failures.warn(move |left_out| {
                        tracing::error!(port, %error, left_out, "cannot accept a connection");
                    });
                    tokio::time::sleep(AFTER_FAILURE).await;
                }
            }
        }
    }

    fn warn(&self, address: SocketAddr, what: &'static str) {
        let (port, address) = (self.port, address.ip().to_canonical());
        self.turned_away.warn(move |left_out| {
            tracing::warn!(port, from = %address, left_out, "too many connections: {what}");
        });
    }
}

impl Limits {
    /// At most an eighth of the files that the process may open.
    fn within(self, open_files: usize) -> Self {
        let all = self.all.min(open_files / 8).max(2);
        let each = self.each.min(all / 2).max(1);
        Self { all, each }
    }
}

/// The peer has gone before it was let in.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

impl Listener for Visitors {
    type Io = Visitor;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Visitor, SocketAddr) {
        loop {
            let (stream, address) = self.visitor().await;
            let visit = match self.guests.admit(Source::of(address.ip())) {
                Admission::Free(visit) => visit,
                Admission::InPlaceOfAnother(visit) => {
                    self.warn(address, "closed the oldest on which nothing is asked");
                    tokio::time::sleep(AFTER_ROOM).await;
                    visit
                }
                Admission::Refused => {
                    self.warn(
                        address,
                        "refused one more, since all others are being answered",
                    );
                    continue;
                }
            };
            let hung_up = Box::pin(visit.hang_up.clone().cancelled_owned());
            let visitor = Visitor {
                stream,
                visit,
                hung_up,
            };
            return (visitor, address);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Visitor {
    /// Fails once the connection is to be closed.
    fn poll_stay(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.hung_up.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Visitor {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_stay(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Visitor {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_stay(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    /// hyper asks for this once it has written all that it has.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_ready() {
            self.visit.requests.lock().unsent = None;
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(address: &str) -> Source {
        Source::of(address.parse().unwrap())
    }

    fn admitted(guests: &mut Guests, address: &str) -> Option<Arc<Visit>> {
        match guests.admit(source(address)) {
            Admission::Free(visit) | Admission::InPlaceOfAnother(visit) => Some(visit),
            Admission::Refused => None,
        }
    }

    #[test]
    fn a_source_is_an_address_or_a_network_of_ipv6() {
        for (one, other, are_one) in [
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("10.0.0.1", "::ffff:10.0.0.1", true),
            ("::ffff:10.0.0.1", "::ffff:10.0.0.2", false),
            ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
        ] {
            assert_eq!(source(one) == source(other), are_one, "{one} {other}");
        }
    }

    #[test]
    fn limits_leave_files_for_others() {
        for (open_files, all, each) in [(1 << 20, 32, 8), (64, 8, 4), (8, 2, 1)] {
            let limits = MOST.within(open_files);
            assert_eq!((limits.all, limits.each), (all, each), "{open_files}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_nothing_makes_room_where_most_come_from() {
        let mut guests = Guests::new(Limits { all: 4, each: 3 });
        let mut admit = |address| admitted(&mut guests, address);
        let many: Vec<_> = (0..3).map(|_| admit("10.0.0.1").unwrap()).collect();
        let asked = By(Arc::clone(&many[0])).ask();
        let probe = admit("10.0.0.2").unwrap();
        let left = || many.iter().map(|visit| visit.hang_up.is_cancelled());
        // All places are taken: the first of the many, but not the one that is answered.
        let another = admit("10.0.0.3").unwrap();
        assert_eq!(left().collect::<Vec<_>>(), [false, true, false]);
        // One more of the many fits only once another of them leaves.
        let fourth = admit("10.0.0.1").unwrap();
        assert_eq!(left().collect::<Vec<_>>(), [false, true, true]);
        for visit in [&probe, &another, &fourth] {
            assert!(!visit.hang_up.is_cancelled());
        }
        // The answer counts as under way until it is sent, or has not been read for a while.
        drop(asked);
        assert!(!many[0].may_leave());
        tokio::time::advance(READING).await;
        assert!(many[0].may_leave());
    }

    #[test]
    fn who_comes_while_all_are_answered_is_refused() {
        let mut guests = Guests::new(Limits { all: 4, each: 2 });
        let mut admit = |address| admitted(&mut guests, address);
        let visits = ["10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|address| {
            let visit = admit(address).unwrap();
            let asked = By(Arc::clone(&visit)).ask();
            (visit, asked)
        });
        assert!(admit("10.0.0.1").is_none());
        assert!(admit("10.0.0.4").is_none());
        assert!(
            visits
                .iter()
                .all(|(visit, _)| !visit.hang_up.is_cancelled())
        );
        let [(_, answered), ..] = visits;
        drop(answered);
    }
}
