//! [`Limiter`], how much may be asked of one server, and when.
//!
//! Three things hold a request back, and each belongs to the server, not to the mount that asks:
//! - how many requests may be under way at once. Mounts take turns, so that one with hundreds of objects
//!   does not stand before one with a single object;
//! - the pause that the server asked for. Whoever meets a 429, or a 503 that says for how long, tells the
//!   limiter, and every mount waits;
//! - the pace. IMDS has one that is known. A vault's is shared with everyone who uses the vault, so it is
//!   learned: the first 429 begins it, each further one halves it, and what goes well raises it again up to
//!   the documented limit.
//!
//! A request that would have to wait beyond its mount's deadline is refused at once, so that the kubelet
//! is told instead of held.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::observe::metrics::Traffic;
use crate::observe::phases::Stopwatch;
use crate::os::lock::lock;

/// The first wait where a server throttles and does not say for how long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest such wait.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// The longest wait that a server gets by asking for it: a wrong answer must not shut a vault for a day.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(120);
/// The pace at which a vault is asked after its first 429, in requests per second: half of what is
/// documented, since others ask it too.
const FIRST_RATE: f64 = 200.0;
/// The least pace.
const MIN_RATE: f64 = 5.0;
/// What a request that goes well adds to the pace.
const RAISE: f64 = 0.2;
/// How long after the last 429 a vault is asked without a pace again.
const FORGET_PACE: Duration = Duration::from_secs(600);

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

/// The pace of Key Vault's limit, in requests per second.
const VAULT_RATE: f64 = 400.0;

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
    at_once: Semaphore,
    has_streams: AtomicBool,
    schedule: Mutex<Schedule>,
    traffic: Arc<Traffic>,
}

/// One mount's place among those that ask a server: only one of its requests waits at a time.
#[derive(Debug, Default)]
pub struct Turn {
    next: tokio::sync::Mutex<()>,
    held_back: Arc<Stopwatch>,
}

impl Turn {
    /// A mount's place, which measures here how long its requests are held back, of which one waits at a time.
    pub fn new(held_back: Arc<Stopwatch>) -> Self {
        Self {
            next: tokio::sync::Mutex::default(),
            held_back,
        }
    }
}

/// A request may go, and is counted for as long as this lives.
#[derive(Debug)]
#[must_use]
pub struct Permit<'a> {
    limiter: &'a Limiter,
    since: Instant,
    _slot: Option<SemaphorePermit<'a>>,
}

/// A request would have to wait for longer than its mount can.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}: the next request may go in {:.1} s", told(self), wait.as_secs_f64())]
pub struct Overload {
    /// The limit.
    pub limit: Limit,
    /// The wait.
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

/// When requests may go.
#[derive(Debug, Default)]
struct Schedule {
    /// Nothing goes before.
    pause_end: Option<Instant>,
    /// Whether the server asked for the pause since it is out of order.
    is_outage: bool,
    /// When the server last asked for a pause, and how often in a row.
    throttled: Option<Throttled>,
    /// When the next request would go if every one had kept its interval.
    next: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Throttled {
    at: Instant,
    in_a_row: u32,
    /// Requests per second from now on.
    rate: f64,
}

impl Limiter {
    /// A limiter of a server that was not asked yet. What it costs is counted with the server's traffic.
    pub fn new(limits: Limits, traffic: Arc<Traffic>) -> Self {
        Self {
            limits,
            at_once: Semaphore::new(limits.at_once),
            has_streams: AtomicBool::new(false),
            schedule: Mutex::default(),
            traffic,
        }
    }

    /// The server turned out to take many requests on one connection.
    pub fn allow_streams(&self) {
        if !self.has_streams.swap(true, Ordering::Relaxed) {
            let more = self.limits.at_once_with_streams - self.limits.at_once;
            self.at_once.add_permits(more);
        }
    }

    /// Waits until a request may go, or says at once that it cannot before the deadline.
    pub async fn enter(&self, turn: &Turn, deadline: Instant) -> Result<Permit<'_>, Overload> {
        let _waiting = self.traffic.wait();
        let _turn = turn.next.lock().await;
        let _held_back = turn.held_back.run();
        let mut start = self.reserve(deadline)?;
        loop {
            if start > Instant::now() {
                tokio::time::sleep_until(start).await;
            }
            // The semaphore is never closed, so there is a slot for everyone in the end.
            let slot = self.at_once.acquire().await.ok();
            let since = Instant::now();
            // Meanwhile the server may have asked for a pause. Looked at apart from what follows, which takes
            // the same lock.
            let is_paused = self.schedule().pause_end(since).is_some();
            if !is_paused {
                return Ok(Permit {
                    limiter: self,
                    since,
                    _slot: slot,
                });
            }
            start = self.reserve(deadline)?;
        }
    }

    fn reserve(&self, deadline: Instant) -> Result<Instant, Overload> {
        let start = self.schedule().reserve(&self.limits, deadline);
        start.inspect_err(|_| self.traffic.refused())
    }

    /// Whether the server has asked for a pause that is not over.
    pub fn is_paused(&self) -> bool {
        self.schedule().pause_end(Instant::now()).is_some()
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        lock(&self.schedule)
    }
}

impl Permit<'_> {
    /// The server answered, whatever it said.
    pub fn answered(self) {
        self.limiter.schedule().raise();
    }

    /// The server asks for a pause, and may say how long.
    pub fn throttled(self, retry_after: Option<Duration>) {
        self.limiter.traffic.throttled();
        self.limiter.schedule().pause(self.since, retry_after);
    }

    /// The server is out of order, and says for how long. That tells nothing about its pace.
    pub fn unavailable(self, retry_after: Duration) {
        self.limiter.traffic.throttled();
        let mut schedule = self.limiter.schedule();
        schedule.pause_for(retry_after.min(MAX_RETRY_AFTER));
        schedule.is_outage = true;
    }
}

impl Schedule {
    /// The moment at which the next request may go; it is taken.
    fn reserve(&mut self, limits: &Limits, deadline: Instant) -> Result<Instant, Overload> {
        let now = Instant::now();
        let after_pause = self.pause_end(now).unwrap_or(now);
        let Some(pace) = limits.pace.or_else(|| self.learned_pace(now)) else {
            return self.within(deadline, now, after_pause, limits);
        };
        let next = self.next.unwrap_or(now).max(after_pause);
        // The burst is what may go before its interval has come.
        let ahead = pace.interval * (pace.burst - 1);
        let start = next.checked_sub(ahead).unwrap_or(now).max(after_pause);
        let start = self.within(deadline, now, start, limits)?;
        self.next = Some(next.max(start) + pace.interval);
        Ok(start)
    }

    fn pause_end(&self, now: Instant) -> Option<Instant> {
        self.pause_end.filter(|end| *end > now)
    }

    fn within(
        &self,
        deadline: Instant,
        now: Instant,
        start: Instant,
        limits: &Limits,
    ) -> Result<Instant, Overload> {
        if start < deadline || start <= now {
            return Ok(start);
        }
        Err(Overload {
            limit: limits.limit,
            wait: start - now,
            is_outage: self.is_outage && self.pause_end(now).is_some(),
        })
    }

    fn learned_pace(&mut self, now: Instant) -> Option<Pace> {
        let throttled = self.throttled?;
        if now.duration_since(throttled.at) > FORGET_PACE {
            self.throttled = None;
            return None;
        }
        Some(Pace {
            burst: 1,
            interval: Duration::from_secs_f64(1.0 / throttled.rate),
        })
    }

    fn raise(&mut self) {
        if let Some(throttled) = &mut self.throttled {
            throttled.in_a_row = 0;
            throttled.rate = (throttled.rate + RAISE).min(VAULT_RATE);
        }
    }

    /// A request that went at `sent` was throttled.
    fn pause(&mut self, sent: Instant, retry_after: Option<Duration>) {
        let now = Instant::now();
        // Those that were under way when the pause began say nothing new, unless it is a longer one.
        let known = self.throttled.is_some_and(|throttled| throttled.at >= sent);
        let (in_a_row, rate) = match self.throttled {
            Some(last) if known => (last.in_a_row, last.rate),
            Some(last) => (last.in_a_row + 1, (last.rate / 2.0).max(MIN_RATE)),
            None => (1, FIRST_RATE),
        };
        if !known {
            let at = now;
            self.throttled = Some(Throttled { at, in_a_row, rate });
        }
        let pause = match retry_after {
            Some(asked) => asked.min(MAX_RETRY_AFTER),
            None if known => return,
            None => (FIRST_PAUSE * 2u32.saturating_pow(in_a_row - 1)).min(MAX_PAUSE),
        };
        self.pause_for(pause);
        self.is_outage = false;
    }

    fn pause_for(&mut self, pause: Duration) {
        // Up to a quarter more, so that the nodes of a cluster do not come back at one moment.
        let end = Instant::now() + pause.mul_f64(1.0 + fastrand::f64() / 4.0);
        self.pause_end = Some(self.pause_end.map_or(end, |known| known.max(end)));
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn vault() -> Limiter {
        Limiter::new(Limits::of_vault(200, 80), Arc::default())
    }

    fn minute() -> Instant {
        Instant::now() + 60 * SECOND
    }

    /// When each of so many requests of one mount could go.
    async fn starts(limiter: &Limiter, count: usize) -> Vec<Duration> {
        let (start, deadline, turn) = (Instant::now(), minute(), Turn::default());
        let request = || async {
            let permit = limiter.enter(&turn, deadline).await.unwrap();
            let went = start.elapsed();
            permit.answered();
            went
        };
        join_all((0..count).map(|_| request())).await
    }

    /// From the first to the last.
    fn between(starts: &[Duration]) -> Duration {
        starts[starts.len() - 1].saturating_sub(starts[0])
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_while_nothing_is_wrong() {
        assert!(starts(&vault(), 10_000).await.iter().all(Duration::is_zero));
    }

    #[tokio::test(start_paused = true)]
    async fn imds_is_asked_20_times_in_any_second() {
        let imds = Limiter::new(Limits::of_imds(), Arc::default());
        let starts = starts(&imds, 100).await;
        assert_eq!(starts.iter().filter(|start| start.is_zero()).count(), 5);
        for (first, start) in starts.iter().enumerate() {
            let within = starts[first..]
                .iter()
                .filter(|later| later.saturating_sub(*start) < SECOND);
            assert!(within.count() <= 20, "from {start:?}");
        }
        assert!(starts[99] < 7 * SECOND, "{:?}", starts[99]);
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_go_at_once_and_more_with_streams() {
        let limiter = vault();
        let turn = Turn::default();
        let mut permits = Vec::new();
        for _ in 0..80 {
            permits.push(limiter.enter(&turn, minute()).await.unwrap());
        }
        let next = tokio::time::timeout(SECOND, limiter.enter(&turn, minute()));
        assert!(next.await.is_err());
        limiter.allow_streams();
        limiter.allow_streams();
        for _ in 80..200 {
            permits.push(limiter.enter(&turn, minute()).await.unwrap());
        }
        let next = tokio::time::timeout(SECOND, limiter.enter(&turn, minute()));
        assert!(next.await.is_err());
        permits.pop();
        _ = limiter.enter(&turn, minute()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn mounts_take_turns() {
        let limiter = Limiter::new(Limits::of_vault(1, 80), Arc::default());
        let (large, small) = (Turn::default(), Turn::default());
        let order = Mutex::new(Vec::new());
        let request = |turn, name| {
            let (limiter, order) = (&limiter, &order);
            async move {
                let permit = limiter.enter(turn, minute()).await.unwrap();
                order.lock().unwrap().push(name);
                tokio::time::sleep(SECOND / 100).await;
                permit.answered();
            }
        };
        let mut requests: Vec<_> = (0..50).map(|_| request(&large, "large")).collect();
        requests.push(request(&small, "small"));
        join_all(requests).await;
        let place = order.into_inner().unwrap();
        assert!(place[..3].contains(&"small"), "{place:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_429_slows_everyone_and_what_goes_well_speeds_up() {
        let limiter = vault();
        let permit = limiter.enter(&Turn::default(), minute()).await.unwrap();
        permit.throttled(Some(2 * SECOND));
        let first = starts(&limiter, 100).await;
        assert!(
            first[0] >= 2 * SECOND && first[0] <= 3 * SECOND,
            "{first:?}"
        );
        let took = between(&first);
        assert!(took > SECOND / 3 && took < SECOND / 2, "{took:?}");
        // Another one halves the pace.
        let permit = limiter.enter(&Turn::default(), minute()).await.unwrap();
        permit.throttled(None);
        let slower = starts(&limiter, 100).await;
        assert!(between(&slower) > took * 3 / 2, "{slower:?}");
        for _ in 0..20 {
            starts(&limiter, 100).await;
        }
        let faster = starts(&limiter, 100).await;
        let took = between(&faster);
        assert!(took >= SECOND / 5 && took < SECOND / 3, "{took:?}");
        tokio::time::advance(FORGET_PACE + SECOND).await;
        assert!(starts(&limiter, 1000).await.iter().all(Duration::is_zero));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_begins_while_somebody_waits_is_kept_by_them() {
        let limiter = vault();
        let turn = Turn::default();
        let permit = limiter.enter(&turn, minute()).await.unwrap();
        permit.throttled(Some(Duration::ZERO));
        // From here on there is a pace, so the second waits for its interval.
        let first = limiter.enter(&turn, minute()).await.unwrap();
        let start = Instant::now();
        let throttling = async {
            tokio::time::sleep(SECOND / 1000).await;
            first.throttled(Some(2 * SECOND));
        };
        let (second, ()) = tokio::join!(limiter.enter(&turn, minute()), throttling);
        second.unwrap().answered();
        assert!(start.elapsed() >= 2 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn answers_to_one_burst_are_one_lesson() {
        let limiter = vault();
        let turn = Turn::default();
        let mut permits = Vec::new();
        for _ in 0..30 {
            permits.push(limiter.enter(&turn, minute()).await.unwrap());
        }
        tokio::time::advance(SECOND / 50).await;
        for permit in permits {
            permit.throttled(None);
        }
        let starts = starts(&limiter, 2).await;
        assert!(starts[0] >= SECOND && starts[0] < 2 * SECOND, "{starts:?}");
        assert!(between(&starts) <= SECOND / 100, "{starts:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_cannot_wait_is_told_at_once() {
        let limiter = vault();
        let turn = Turn::default();
        let permit = limiter.enter(&turn, minute()).await.unwrap();
        permit.throttled(Some(20 * SECOND));
        let start = Instant::now();
        let overload = limiter.enter(&turn, start + 10 * SECOND).await.unwrap_err();
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert!(overload.limit == Limit::Vault && !overload.is_outage);
        assert!(overload.wait >= 20 * SECOND && overload.wait <= 25 * SECOND);
        // It took nobody's place.
        _ = limiter.enter(&turn, minute()).await.unwrap();
        assert!(start.elapsed() <= 25 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_503_that_says_for_how_long_is_a_pause_and_no_lesson() {
        let limiter = vault();
        let turn = Turn::default();
        let permit = limiter.enter(&turn, minute()).await.unwrap();
        permit.unavailable(20 * SECOND);
        assert!(limiter.is_paused());
        let soon = Instant::now() + SECOND;
        let overload = limiter.enter(&turn, soon).await.unwrap_err();
        assert!(overload.is_outage && overload.to_string().contains("503"));
        let starts = starts(&limiter, 1000).await;
        assert!(starts[0] >= 20 * SECOND && between(&starts).is_zero());
        assert!(!limiter.is_paused());
    }

    #[tokio::test(start_paused = true)]
    async fn no_answer_shuts_a_vault_for_good() {
        let limiter = vault();
        let turn = Turn::default();
        let permit = limiter.enter(&turn, minute()).await.unwrap();
        permit.throttled(Some(Duration::MAX));
        let overload = limiter.enter(&turn, minute()).await.unwrap_err();
        assert!(overload.wait <= MAX_RETRY_AFTER * 5 / 4);
    }
}
