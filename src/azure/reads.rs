//! [`Reads`], what mounts read from vaults, shared between those that may have it: many pods with one request, and none
//! of them with a value older than the moment at which it asked.
//!
//! The rule: **a mount may be answered by any successful attempt for the same key that was sent after the mount's request
//! had come.** An attempt is one request, not its retries. One is under way for a key, and a second one if the first has
//! not ended within [`PATIENCE`], so that a request that hangs holds nobody for long. A mount that comes while one is under
//! way waits for the next one: the slower a vault is, the more mounts share a request.
//!
//! Each mount waits for its own turn at the vault; the one whose turn comes first asks for all that wait for the same key.
//! So a shared read has the best place that one of its mounts has, and the longest deadline.
//!
//! What is shared is a success, or that the object is not there. Any other failure belongs to the mount whose request it
//! was; others ask again. After [`MAX_FAILURES_OF_OTHERS`] each asks by itself, and takes the first success of another one
//! that comes before its turn.

mod board;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::Hash;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::Instant;

use self::board::{Attempt, Board, GroupId, Look, Moment};
use crate::shares::Weight;

/// How long an attempt may take before another one is sent beside it.
const PATIENCE: Duration = Duration::from_secs(1);
/// For how long a value is kept at most for mounts that came before it was asked for, and still earn their token.
const MAX_AGE: Duration = Duration::from_secs(5);
/// How often what is older is looked for.
const SWEEP: Duration = Duration::from_millis(500);
/// How many failures of others a mount takes before it asks by itself.
const MAX_FAILURES_OF_OTHERS: u32 = 2;

/// A failure that knows whose it is.
pub trait Shareable {
    /// Whose it is.
    fn whose(&self) -> Whose;
}

/// Whose a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Of everybody with the same rights: the object is not there.
    Everyones,
    /// Perhaps of the token that was used; another one has to find out for itself.
    Askers,
    /// Of this attempt.
    Nobodys,
}

/// What a mount has read.
#[derive(Debug)]
pub struct Reading<V> {
    pub value: Arc<V>,
    /// How the mount came to it.
    pub way: Way,
    /// When it was asked for.
    pub asked_at: Instant,
}

impl<V> Reading<V> {
    /// When it was asked for, if by this mount. What others have read they keep themselves: the vault may have denied it
    /// since.
    pub fn own_since(&self) -> Option<Instant> {
        (self.way == Way::Own).then_some(self.asked_at)
    }
}

/// How a mount came to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By a request of its own.
    Own,
    /// By another mount's.
    Shared,
}

/// When a mount's request came: what is sent after that may answer it.
#[derive(Clone, Copy, Debug)]
pub struct Arrival(Moment);

/// What mounts read, by group (who asks which vault) and key (what). Clones share everything.
pub struct Reads<G, K, V, E> {
    board: Arc<Mutex<Board<G, K, V, E>>>,
}

impl<G, K, V, E> fmt::Debug for Reads<G, K, V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reads").finish_non_exhaustive()
    }
}

impl<G, K, V, E> Clone for Reads<G, K, V, E> {
    fn clone(&self) -> Self {
        Self {
            board: Arc::clone(&self.board),
        }
    }
}

/// A mount that takes part in the reads of its group until this is dropped.
pub struct Member<G, K, V, E>
where
    G: Clone + Eq + Hash,
    K: Clone + Eq + Hash,
    V: Weight,
{
    reads: Reads<G, K, V, E>,
    group: GroupId,
    since: Moment,
    number: u64,
}

impl<G, K, V, E> Reads<G, K, V, E>
where
    G: Clone + Eq + Hash,
    K: Clone + Eq + Hash,
    V: Weight,
{
    /// None yet. What waits for mounts has so many bytes at most.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            board: Arc::new(Mutex::new(Board::new(max_bytes))),
        }
    }

    /// A mount's request has come.
    pub fn arrive(&self) -> Arrival {
        Arrival(self.lock().moment())
    }

    /// A mount takes part. It reads once it has earned the token that the group asks with.
    pub fn join(&self, group: G, arrival: Arrival) -> Member<G, K, V, E> {
        let (group, number) = self.lock().join(group, arrival.0);
        Member {
            reads: self.clone(),
            group,
            since: arrival.0,
            number,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Board<G, K, V, E>> {
        self.board.lock()
    }
}

impl<G, K, V, E> Drop for Member<G, K, V, E>
where
    G: Clone + Eq + Hash,
    K: Clone + Eq + Hash,
    V: Weight,
{
    fn drop(&mut self) {
        self.reads.lock().leave(self.group, self.since, self.number);
    }
}

impl<G, K, V, E> Member<G, K, V, E>
where
    G: Clone + Eq + Hash,
    K: Clone + Eq + Hash,
    V: Weight,
{
    /// The same mount, with a request that comes now; to be dropped before the mount is.
    pub fn now(&self) -> Self {
        let since = self.reads.lock().moment();
        Self {
            reads: self.reads.clone(),
            group: self.group,
            since,
            // The group counts the mount once.
            number: since,
        }
    }
}

impl<G, K, V, E> Member<G, K, V, E>
where
    G: Clone + Eq + Hash + Send + 'static,
    K: Clone + Eq + Hash + Send + 'static,
    V: Weight + Send + Sync + 'static,
    E: Clone + Shareable + Send + Sync + 'static,
{
    /// The value that an attempt gave which was sent since this mount's request came: another mount's, or one of its own
    /// when `enter` lets it. `send` makes one request, which goes on without this mount while others wait for it. What
    /// `enter` does is given up and done again where others are faster.
    ///
    /// `may_share` says whether the mount has earned what others read, and still does.
    ///
    /// A failure is that of `enter`, of an attempt of its own, or everyone's.
    pub async fn read<P, EnterFuture, SendFuture>(
        &self,
        key: &K,
        may_share: impl Fn() -> bool,
        enter: impl Fn() -> EnterFuture,
        send: impl Fn(P) -> SendFuture,
    ) -> Result<Reading<V>, E>
    where
        EnterFuture: Future<Output = Result<P, E>>,
        SendFuture: Future<Output = Result<V, E>> + Send + 'static,
    {
        let waiting = Waiting::begin(self, key);
        let mut seen = Seen::default();
        loop {
            let mut changed = pin!(waiting.changed.notified());
            // Before it looks, so that it misses nothing.
            changed.as_mut().enable();
            let next = match self.look(key, may_share(), &mut seen) {
                ControlFlow::Break(result) => return result,
                ControlFlow::Continue(next) => next,
            };
            let asks_alone = seen.asks_alone();
            if let Next::Wait(until) = next
                && !asks_alone
            {
                tokio::select! {
                    () = changed => {}
                    () = sleep_until(until) => {}
                }
                continue;
            }
            if seen.waits_for_own() {
                // It is slow; another one beside it is for those who wait for one of others.
                changed.await;
                continue;
            }
            let permit = {
                let mut entering = pin!(enter());
                loop {
                    tokio::select! {
                        biased;
                        () = changed.as_mut(), if !seen.is_apart => {
                            if !asks_alone {
                                break None;
                            }
                            // One turn, whatever others begin and fail meanwhile.
                            changed.set(waiting.changed.notified());
                            changed.as_mut().enable();
                            let look = self.look(key, may_share(), &mut seen);
                            if let ControlFlow::Break(result) = look {
                                return result;
                            }
                        }
                        permit = entering.as_mut() => break Some(permit),
                    }
                }
            };
            let permit = match permit {
                None => continue,
                Some(Ok(permit)) => permit,
                Some(Err(error)) if seen.is_apart || seen.watched.is_empty() => return Err(error),
                // It may not ask, and need not.
                Some(Err(_)) => {
                    changed.await;
                    continue;
                }
            };
            let own = if seen.is_apart {
                Err(permit)
            } else {
                self.start(key, permit, &send)
            };
            match own {
                Ok(own) => seen.watch([own], Way::Own),
                // Boxed: few need it, and all would have room for it.
                Err(permit) if asks_alone => {
                    return Box::pin(self.alone(key, send(permit))).await;
                }
                // Another one has begun meanwhile.
                Err(_) => {}
            }
        }
    }

    /// What this mount gets, or what it does next.
    fn look(
        &self,
        key: &K,
        may_share: bool,
        seen: &mut Seen<V, E>,
    ) -> ControlFlow<Result<Reading<V>, E>, Next> {
        if !may_share {
            seen.is_apart = true;
        }
        if let Some(result) = seen.take_ended() {
            return ControlFlow::Break(result);
        }
        if seen.is_apart {
            return ControlFlow::Continue(Next::Ask);
        }
        let board = self.reads.lock();
        let (attempts, next) = match board.look(self.group, key, self.since, Instant::now()) {
            Look::Ended(result, asked_at) => {
                return ControlFlow::Break(result.map(|value| Reading {
                    value,
                    way: Way::Shared,
                    asked_at,
                }));
            }
            Look::UnderWay { attempts, next } => (attempts, Next::Wait(next)),
            Look::Ask { attempts } => (attempts, Next::Ask),
        };
        seen.watch(attempts, Way::Shared);
        ControlFlow::Continue(next)
    }

    /// Begins an attempt for all that wait, unless there is one: then the permit comes back.
    fn start<P, F>(
        &self,
        key: &K,
        permit: P,
        send: impl FnOnce(P) -> F,
    ) -> Result<Arc<Attempt<V, E>>, P>
    where
        F: Future<Output = Result<V, E>> + Send + 'static,
    {
        let attempt = self.reads.lock().start(self.group, key, Instant::now());
        let Some(attempt) = attempt else {
            return Err(permit);
        };
        let ending = Ending {
            reads: self.reads.clone(),
            group: self.group,
            key: key.clone(),
            attempt: Arc::clone(&attempt),
        };
        // No `async` block, which would store the future twice.
        let task = tokio::spawn(send(permit).map(|result| ending.finish(result)));
        attempt.set_task(task.abort_handle());
        Ok(attempt)
    }

    /// Asks for this mount. What comes of it serves others, too.
    async fn alone(
        &self,
        key: &K,
        sending: impl Future<Output = Result<V, E>>,
    ) -> Result<Reading<V>, E> {
        let (sent, asked_at) = (self.reads.lock().moment(), Instant::now());
        let value = Arc::new(sending.await?);
        let mut board = self.reads.lock();
        board.keep(self.group, key, sent, Arc::clone(&value), asked_at);
        self.reads.sweep_later(board);
        Ok(Reading {
            value,
            way: Way::Own,
            asked_at,
        })
    }
}

/// What a mount does next.
enum Next {
    /// It waits for changes, or until then.
    Wait(Option<Instant>),
    /// It asks.
    Ask,
}

/// What a mount has seen of the attempts for a key.
struct Seen<V, E> {
    watched: Vec<Watched<V, E>>,
    /// How many of others have failed for nobody's fault.
    failures: u32,
    /// Whether what others read is not for this mount, or no longer.
    is_apart: bool,
}

/// An attempt that may answer a mount, and whose it is.
struct Watched<V, E> {
    attempt: Arc<Attempt<V, E>>,
    way: Way,
}

impl<V, E> Default for Seen<V, E> {
    fn default() -> Self {
        Self {
            watched: Vec::new(),
            failures: 0,
            is_apart: false,
        }
    }
}

impl<V, E: Clone + Shareable> Seen<V, E> {
    fn asks_alone(&self) -> bool {
        self.is_apart || self.failures >= MAX_FAILURES_OF_OTHERS
    }

    fn waits_for_own(&self) -> bool {
        self.watched.iter().any(|watched| watched.way == Way::Own)
    }

    /// Watches those too that are not watched yet.
    fn watch(&mut self, attempts: impl IntoIterator<Item = Arc<Attempt<V, E>>>, way: Way) {
        for attempt in attempts {
            let mut known = self.watched.iter();
            if !known.any(|known| Arc::ptr_eq(&known.attempt, &attempt)) {
                self.watched.push(Watched { attempt, way });
            }
        }
    }

    /// What an attempt that has ended came to, if that is for this mount.
    fn take_ended(&mut self) -> Option<Result<Reading<V>, E>> {
        let has_ended = |watched: &mut Watched<V, E>| watched.attempt.has_ended();
        for Watched { attempt, way } in self.watched.extract_if(.., has_ended) {
            match (way, attempt.outcome()) {
                (Way::Shared, _) if self.is_apart => {}
                (way, Some(Ok(value))) => {
                    return Some(Ok(Reading {
                        value,
                        way,
                        asked_at: attempt.at(),
                    }));
                }
                (Way::Own, Some(Err(error))) => return Some(Err(error)),
                (Way::Shared, Some(Err(error))) => match error.whose() {
                    Whose::Everyones => return Some(Err(error)),
                    Whose::Askers => self.is_apart = true,
                    Whose::Nobodys => self.failures += 1,
                },
                // It panicked, which the log tells.
                (_, None) => self.failures += 1,
            }
        }
        None
    }
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// A mount waits for a key. The last one to go ends what is under way.
struct Waiting<'a, G, K, V, E>
where
    G: Clone + Eq + Hash,
    K: Clone + Eq + Hash,
    V: Weight,
{
    member: &'a Member<G, K, V, E>,
    key: &'a K,
    changed: Arc<Notify>,
}

impl<'a, G, K, V, E> Waiting<'a, G, K, V, E>
where
    G: Clone + Eq + Hash,
    K: Clone + Eq + Hash,
    V: Weight,
{
    fn begin(member: &'a Member<G, K, V, E>, key: &'a K) -> Self {
        let changed = member.reads.lock().wait(member.group, key);
        Self {
            member,
            key,
            changed,
        }
    }
}

impl<G, K, V, E> Drop for Waiting<'_, G, K, V, E>
where
    G: Clone + Eq + Hash,
    K: Clone + Eq + Hash,
    V: Weight,
{
    fn drop(&mut self) {
        let member = self.member;
        let idle = member.reads.lock().wait_no_more(member.group, self.key);
        for attempt in idle {
            attempt.abort();
        }
    }
}

/// An attempt that is under way until this is dropped. It ends also if its task does or panics.
struct Ending<G, K, V, E>
where
    G: Clone + Eq + Hash + Send + 'static,
    K: Clone + Eq + Hash + Send + 'static,
    V: Weight + Send + Sync + 'static,
    E: Clone + Shareable + Send + Sync + 'static,
{
    reads: Reads<G, K, V, E>,
    group: GroupId,
    key: K,
    attempt: Arc<Attempt<V, E>>,
}

impl<G, K, V, E> Ending<G, K, V, E>
where
    G: Clone + Eq + Hash + Send + 'static,
    K: Clone + Eq + Hash + Send + 'static,
    V: Weight + Send + Sync + 'static,
    E: Clone + Shareable + Send + Sync + 'static,
{
    fn finish(self, result: Result<V, E>) {
        self.attempt.set(result.map(Arc::new));
    }
}

impl<G, K, V, E> Drop for Ending<G, K, V, E>
where
    G: Clone + Eq + Hash + Send + 'static,
    K: Clone + Eq + Hash + Send + 'static,
    V: Weight + Send + Sync + 'static,
    E: Clone + Shareable + Send + Sync + 'static,
{
    fn drop(&mut self) {
        self.attempt.lose();
        let mut board = self.reads.lock();
        board.ended(self.group, &self.key, &self.attempt);
        self.reads.sweep_later(board);
    }
}

impl<G, K, V, E> Reads<G, K, V, E>
where
    G: Clone + Eq + Hash + Send + 'static,
    K: Clone + Eq + Hash + Send + 'static,
    V: Weight + Send + Sync + 'static,
    E: Clone + Send + Sync + 'static,
{
    /// Sees to it that nothing is kept for longer than it may be.
    fn sweep_later(&self, mut board: MutexGuard<'_, Board<G, K, V, E>>) {
        let begins = board.begin_sweeping();
        drop(board);
        if !begins {
            return;
        }
        let board = Arc::downgrade(&self.board);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                let Some(board) = board.upgrade() else { return };
                if !board.lock().sweep(Instant::now()) {
                    return;
                }
            }
        });
    }
}
