//! [`Limiter`], how much may be asked of one server, and when.
//!
//! Three things hold a request back:
//! - how many requests may be under way at once, which belongs to the server. Namespaces share these places; in each, the
//!   mount comes next that has the fewest requests left ([`Places`]), so that one with hundreds of objects does not
//!   stand before one with a single object, and all do not end together;
//! - the pause after a 429, or a 503 that says for how long;
//! - the pace. IMDS has one that is known. A vault's is shared with everyone who uses the vault, so it is
//!   learned: the first 429 begins it, each further one halves it, and what goes well raises it again until there is
//!   none.
//!
//! What a vault refuses is a matter of the identity and namespace that it refuses, of the namespace where several of its
//! identities are refused, and everyone's once other namespaces are refused too ([`Schedules`]). IMDS and Entra ID have no such distinction: the one is the machine's, the other one identity's.
//!
//! A request that reserves its place in a pace stands before all that come later. So of those that share a pace, one at a
//! time reserves it, and the others wait in lines of their namespaces, in the order in which they would get places.
//!
//! A request that would have to wait beyond its mount's deadline is refused at once, so that the kubelet
//! is told instead of held.

mod answers;
mod schedule;
mod schedules;

use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use thiserror::Error;
use tokio::time::Instant;

use self::answers::Answers;
use self::schedules::Schedules;
use crate::observe::metrics::Traffic;
use crate::observe::phases::Stopwatch;
use crate::shares::{Namespace, Place, Places, Rank};

pub use self::schedules::Asker;

/// How often a request that waits for its pace looks whether there still is one.
const LOOK: Duration = Duration::from_millis(250);

/// What is known of a server's limits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Whose.
    pub limit: Limit,
    /// The most requests at once where each takes a connection.
    pub at_once: usize,
    /// The most requests at once where one connection takes many.
    pub at_once_with_streams: usize,
    /// The pace that always holds; without one it is learned.
    pub pace: Option<Pace>,
}

/// A limit, and what messages call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// A vault's on reads.
    ///
    /// Source: "Azure Key Vault service limits", secrets, managed storage account keys and vault
    /// transactions.
    Vault,
    /// IMDS' on tokens.
    ///
    /// Source: "How to use managed identities for Azure resources on an Azure VM to acquire an access
    /// token", section "Rate limits".
    Imds,
    /// Entra ID's for one identity, which is not documented.
    Entra,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vault => "Key Vault's limit of 4,000 requests in 10 s per vault and region",
            Self::Imds => "IMDS' limit of 20 requests in a second and 5 at once per machine",
            Self::Entra => "Entra ID's limit for this identity",
        })
    }
}

/// So many requests at once, and then one each interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Requests that need not wait for each other.
    pub burst: u32,
    /// Between two requests after these.
    pub interval: Duration,
}

impl Limits {
    /// A vault's, to which there are at most so many connections.
    pub fn of_vault(at_once: usize, max_connections: usize) -> Self {
        Self {
            limit: Limit::Vault,
            at_once: at_once.min(max_connections),
            at_once_with_streams: at_once,
            pace: None,
        }
    }

    /// The most requests at once of one namespace, so that another one always finds a place at a vault.
    fn of_one_namespace(&self, at_once: usize) -> usize {
        match self.limit {
            Limit::Vault => at_once - at_once / 16,
            Limit::Imds | Limit::Entra => at_once,
        }
    }

    /// Entra ID's for one identity, which asks for one token at a time.
    pub fn of_identity() -> Self {
        Self {
            limit: Limit::Entra,
            at_once: 1,
            at_once_with_streams: 1,
            pace: None,
        }
    }

    /// IMDS'. Five that go together and fifteen more within the second are twenty.
    pub fn of_imds() -> Self {
        Self {
            limit: Limit::Imds,
            at_once: 5,
            at_once_with_streams: 5,
            pace: Some(Pace {
                burst: 5,
                interval: Duration::from_nanos(1_000_000_000 / 15),
            }),
        }
    }
}

/// How much may be asked of one server, and when.
#[derive(Debug)]
pub struct Limiter {
    limits: Limits,
    at_once: Arc<Places>,
    /// Held while one request waits for the pace of one of these, or everyone's.
    doors: Mutex<Vec<(Option<Asker>, Weak<Places>)>>,
    has_streams: AtomicBool,
    schedules: Mutex<Schedules>,
    answers: Answers,
    traffic: Arc<Traffic>,
}

/// One mount's place among those that ask a server: only one of its requests waits at a time.
#[derive(Debug, Default)]
pub struct Turn {
    next: tokio::sync::Mutex<()>,
    namespace: Namespace,
    asker: Option<Asker>,
    age: u64,
    /// The requests that the mount has not made yet, as far as it is known.
    left: AtomicU64,
    held_back: Arc<Stopwatch>,
}

impl Turn {
    /// A mount's place, whose refusals slow the asker, and which measures here how long its requests are held back, of
    /// which one waits at a time.
    pub fn new(namespace: &Namespace, asker: Asker, held_back: Arc<Stopwatch>) -> Self {
        static MOUNTS: AtomicU64 = AtomicU64::new(0);
        Self {
            next: tokio::sync::Mutex::default(),
            namespace: namespace.clone(),
            asker: Some(asker),
            age: MOUNTS.fetch_add(1, Ordering::Relaxed),
            left: AtomicU64::new(0),
            held_back,
        }
    }

    /// The mount will make so many requests more.
    pub fn add(&self, requests: u64) {
        self.left.fetch_add(requests, Ordering::Relaxed);
    }

    /// So many of them need not be made any more.
    pub fn remove(&self, requests: u64) {
        let less = |left: u64| Some(left.saturating_sub(requests));
        _ = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    fn rank(&self) -> Rank {
        Rank {
            order: self.left.load(Ordering::Relaxed),
            age: self.age,
        }
    }
}

/// A request may go, and is counted for as long as this lives.
#[derive(Debug)]
#[must_use]
pub struct Permit {
    limiter: Arc<Limiter>,
    asker: Option<Asker>,
    since: Instant,
    _place: Place,
}

/// A request would have to wait for longer than its mount can.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}: the next request may go in {:.1} s", told(self), wait.as_secs_f64())]
pub struct Overload {
    pub limit: Limit,
    pub wait: Duration,
    /// Whether the server is out of order, and has asked for the wait itself.
    pub is_outage: bool,
}

fn told(overload: &Overload) -> String {
    if overload.is_outage {
        "HTTP status 503 with a Retry-After".to_owned()
    } else {
        overload.limit.to_string()
    }
}

impl Limiter {
    /// A limiter of a server that was not asked yet. What it costs is counted with the server's traffic.
    pub fn new(limits: Limits, traffic: Arc<Traffic>) -> Arc<Self> {
        Arc::new(Self {
            limits,
            at_once: Places::new(limits.at_once, limits.of_one_namespace(limits.at_once)),
            doors: Mutex::default(),
            has_streams: AtomicBool::new(false),
            schedules: Mutex::default(),
            answers: Answers::default(),
            traffic,
        })
    }

    /// How much memory its answers take.
    pub fn answers(&self) -> &Answers {
        &self.answers
    }

    /// The server turned out to take many requests on one connection.
    pub fn allow_streams(&self) {
        if !self.has_streams.swap(true, Ordering::Relaxed) {
            let at_once = self.limits.at_once_with_streams;
            self.at_once
                .grow(at_once, self.limits.of_one_namespace(at_once));
        }
    }

    /// Waits until a request may go, or says at once that it cannot before the deadline.
    pub async fn enter(
        self: &Arc<Self>,
        turn: &Turn,
        deadline: Instant,
    ) -> Result<Permit, Overload> {
        let _waiting = self.traffic.wait();
        let _turn = turn.next.lock().await;
        let _held_back = turn.held_back.run();
        loop {
            // One's own first, so that who is slowed takes nobody's place meanwhile.
            let (own, of_namespace) = match turn.asker {
                Some(asker) => {
                    let of_namespace = Some(asker.of_namespace());
                    (
                        self.wait_in_line(turn.asker, turn, deadline).await?,
                        self.wait_in_line(of_namespace, turn, deadline).await?,
                    )
                }
                None => (None, None),
            };
            let common = self.wait_in_line(None, turn, deadline).await?;
            let place = self.at_once.take(&turn.namespace, turn.rank()).await;
            let since = Instant::now();
            // Meanwhile the server may have asked for a pause.
            let is_paused = self.schedules().is_paused(turn.asker, since);
            if !is_paused {
                let reserved = [own, of_namespace, common];
                reserved.into_iter().flatten().for_each(Reserved::used);
                return Ok(Permit {
                    limiter: Arc::clone(self),
                    asker: turn.asker,
                    since,
                    _place: place,
                });
            }
        }
    }

    /// Waits for the next time in the schedule of `whose`, or everyone's, where there is a pace in the line of the turn's
    /// namespace.
    async fn wait_in_line(
        &self,
        whose: Option<Asker>,
        turn: &Turn,
        deadline: Instant,
    ) -> Result<Option<Reserved<'_>>, Overload> {
        let admit = |ahead, deadline| {
            let admitted = self.schedules().admit(whose, &self.limits, ahead, deadline);
            admitted.inspect_err(|_| self.traffic.refused())
        };
        if !admit(0, deadline)? {
            return self.wait(whose, deadline).await;
        }
        let door = self.door(whose);
        let (namespace, rank) = (&turn.namespace, turn.rank());
        admit(door.ahead(namespace, rank), deadline)?;
        let mut entering = pin!(door.take(namespace, rank));
        // While the mount's caller still waits.
        let last = deadline.checked_sub(LOOK / 5).unwrap_or(deadline);
        let _door = loop {
            let now = Instant::now();
            let mut next = now + LOOK;
            if now < last {
                next = next.min(last);
            }
            if let Ok(door) = tokio::time::timeout_at(next, entering.as_mut()).await {
                break door;
            }
            // There may be a pause meanwhile that takes too long.
            admit(0, deadline)?;
            let now = Instant::now();
            if now >= last {
                // Others have come first all the time.
                admit(door.ahead(namespace, rank).max(1), now)?;
            }
        };
        self.wait(whose, deadline).await
    }

    /// What one of those that share a pace holds while it waits for that.
    fn door(&self, whose: Option<Asker>) -> Arc<Places> {
        let mut doors = self.doors.lock();
        doors.retain(|(_, door)| door.strong_count() > 0);
        let known = doors.iter().find(|(other, _)| *other == whose);
        known
            .and_then(|(_, door)| door.upgrade())
            .unwrap_or_else(|| {
                let door = Places::new(1, 1);
                doors.push((whose, Arc::downgrade(&door)));
                door
            })
    }

    /// Waits for the next time in the schedule of `whose`, or everyone's. Returns what was taken of its pace, if there is
    /// one.
    async fn wait(
        &self,
        whose: Option<Asker>,
        deadline: Instant,
    ) -> Result<Option<Reserved<'_>>, Overload> {
        let start = self.schedules().reserve(whose, &self.limits, deadline);
        let (start, interval) = start.inspect_err(|_| self.traffic.refused())?;
        let reserved = interval.map(|interval| Reserved {
            limiter: self,
            whose,
            interval,
            is_used: false,
        });
        loop {
            let now = Instant::now();
            // Those who wait are many, and the server may serve again long before the last one's place.
            let is_free = || self.limits.pace.is_none() && self.schedules().is_free(whose, now);
            if start <= now || is_free() {
                return Ok(reserved);
            }
            tokio::time::sleep_until(start.min(now + LOOK)).await;
        }
    }

    /// Whether the server has asked anyone for a pause that is not over.
    pub fn is_paused(&self) -> bool {
        self.schedules().is_anyone_paused()
    }

    fn schedules(&self) -> MutexGuard<'_, Schedules> {
        self.schedules.lock()
    }
}

/// An interval of a pace. It is given back if the request that it was for does not go: another mount's may have
/// answered meanwhile.
struct Reserved<'a> {
    limiter: &'a Limiter,
    whose: Option<Asker>,
    interval: Duration,
    is_used: bool,
}

impl Reserved<'_> {
    fn used(mut self) {
        self.is_used = true;
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if !self.is_used {
            self.limiter
                .schedules()
                .give_back(self.whose, self.interval);
        }
    }
}

impl Permit {
    /// The server answered, whatever it said.
    pub fn answered(self) {
        self.limiter.schedules().raise(self.asker, self.since);
    }

    /// The server asks for a pause, and may say how long.
    pub fn throttled(self, retry_after: Option<Duration>) {
        self.limiter.traffic.throttled();
        let mut schedules = self.limiter.schedules();
        schedules.throttled(self.asker, self.since, retry_after);
    }

    /// The server is out of order, and says for how long. That tells nothing about its pace.
    pub fn unavailable(self, retry_after: Duration) {
        self.limiter.traffic.throttled();
        let mut schedules = self.limiter.schedules();
        schedules.unavailable(self.asker, retry_after);
    }
}

#[cfg(test)]
mod tests;
