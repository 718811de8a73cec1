//! [`Board`], which reads are under way and what has come of them: the state of [`super::Reads`], without waiting.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::{MAX_AGE, PATIENCE, Shareable, Whose};
use crate::shares::Weight;

/// The order of what happens in this process: requests of mounts that come, and attempts that are sent.
pub(super) type Moment = u64;

/// Identifies a group for as long as it has members: the moment at which the first one joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct GroupId(Moment);

/// What an attempt came to; none where it was lost.
type Outcome<V, E> = Option<Result<Arc<V>, E>>;

/// One request to a vault.
#[derive(Debug)]
pub(super) struct Attempt<V, E> {
    sent: Moment,
    at: Instant,
    outcome: OnceLock<Outcome<V, E>>,
    task: OnceLock<AbortHandle>,
}

impl<V, E: Clone> Attempt<V, E> {
    /// What it came to; nothing where it has not ended, or was lost.
    pub(super) fn outcome(&self) -> Outcome<V, E> {
        self.outcome.get().cloned().flatten()
    }
}

impl<V, E> Attempt<V, E> {
    pub(super) fn has_ended(&self) -> bool {
        self.outcome.get().is_some()
    }

    /// When it was sent.
    pub(super) fn at(&self) -> Instant {
        self.at
    }

    pub(super) fn set(&self, result: Result<Arc<V>, E>) {
        _ = self.outcome.set(Some(result));
    }

    /// It comes to nothing, unless it has come to something.
    pub(super) fn lose(&self) {
        _ = self.outcome.set(None);
    }

    pub(super) fn set_task(&self, task: AbortHandle) {
        _ = self.task.set(task);
    }

    pub(super) fn abort(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

/// What there is for a mount that looks.
pub(super) enum Look<V, E> {
    /// What an attempt came to that may answer it, and when that was sent.
    Ended(Result<Arc<V>, E>, Instant),
    /// Nothing to be done but wait, for changes or until `next`.
    UnderWay {
        /// Those that may answer it.
        attempts: Vec<Arc<Attempt<V, E>>>,
        /// When another one may be sent beside it.
        next: Option<Instant>,
    },
    /// It may ask.
    Ask {
        /// Those that may answer it meanwhile.
        attempts: Vec<Arc<Attempt<V, E>>>,
    },
}

/// Which reads are under way and what has come of them.
pub(super) struct Board<G, K, V, E> {
    clock: Moment,
    ids: HashMap<G, GroupId>,
    groups: HashMap<GroupId, Group<G, K, V, E>>,
    max_bytes: usize,
    bytes: usize,
    sweeping: bool,
}

/// The mounts that may have what one of them reads, and what they read.
struct Group<G, K, V, E> {
    name: G,
    /// When their requests came, with their numbers.
    members: BTreeSet<(Moment, u64)>,
    reads: HashMap<K, Read<V, E>>,
    /// What its reads keep.
    bytes: usize,
}

struct Read<V, E> {
    /// How many wait for it.
    waiting: usize,
    changed: Arc<Notify>,
    under_way: Vec<Arc<Attempt<V, E>>>,
    last: Option<Ended<V, E>>,
}

/// The newest attempt that all may know of.
struct Ended<V, E> {
    sent: Moment,
    at: Instant,
    result: Result<Arc<V>, E>,
    bytes: usize,
}

impl<V, E> Default for Read<V, E> {
    fn default() -> Self {
        Self {
            waiting: 0,
            changed: Arc::default(),
            under_way: Vec::new(),
            last: None,
        }
    }
}

impl<G, K, V, E> Group<G, K, V, E> {
    fn new(name: G) -> Self {
        Self {
            name,
            members: BTreeSet::new(),
            reads: HashMap::new(),
            bytes: 0,
        }
    }
}

impl<G: Clone + Eq + Hash, K: Clone + Eq + Hash, V: Weight, E> Board<G, K, V, E> {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            clock: 0,
            ids: HashMap::new(),
            groups: HashMap::new(),
            max_bytes,
            bytes: 0,
            sweeping: false,
        }
    }

    /// The next moment.
    pub(super) fn moment(&mut self) -> Moment {
        self.clock += 1;
        self.clock
    }

    /// A mount whose request came then is one of the group's, under the number that is returned with the group's id.
    pub(super) fn join(&mut self, name: G, since: Moment) -> (GroupId, u64) {
        let number = self.moment();
        let id = *self.ids.entry(name.clone()).or_insert(GroupId(number));
        let group = self.groups.entry(id).or_insert_with(|| Group::new(name));
        group.members.insert((since, number));
        (id, number)
    }

    /// It is no longer; nor is what was kept for it.
    pub(super) fn leave(&mut self, id: GroupId, since: Moment, number: u64) {
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        group.members.remove(&(since, number));
        let Some((oldest, _)) = group.members.first().copied() else {
            self.bytes -= group.bytes;
            self.ids.remove(&group.name);
            self.groups.remove(&id);
            return;
        };
        if oldest > since {
            self.bytes -= group.forget(|ended| ended.sent < oldest);
        }
    }

    /// A member waits for a key from now on. What is returned tells of changes.
    pub(super) fn wait(&mut self, group: GroupId, key: &K) -> Arc<Notify> {
        let Some(group) = self.groups.get_mut(&group) else {
            return Arc::default();
        };
        let read = group.reads.entry(key.clone()).or_default();
        read.waiting += 1;
        Arc::clone(&read.changed)
    }

    /// It waits no more. What nobody waits for is returned, to be ended.
    pub(super) fn wait_no_more(&mut self, group: GroupId, key: &K) -> Vec<Arc<Attempt<V, E>>> {
        let Some(group) = self.groups.get_mut(&group) else {
            return Vec::new();
        };
        let Some(read) = group.reads.get_mut(key) else {
            return Vec::new();
        };
        read.waiting -= 1;
        if read.waiting > 0 {
            return Vec::new();
        }
        let idle = std::mem::take(&mut read.under_way);
        if read.is_over() {
            group.reads.remove(key);
        }
        idle
    }

    /// An attempt begins, if one may.
    pub(super) fn start(
        &mut self,
        group: GroupId,
        key: &K,
        now: Instant,
    ) -> Option<Arc<Attempt<V, E>>> {
        let sent = self.moment();
        let read = self.groups.get_mut(&group)?.reads.get_mut(key)?;
        if read.next(now).is_err() {
            return None;
        }
        let attempt = Arc::new(Attempt {
            sent,
            at: now,
            outcome: OnceLock::new(),
            task: OnceLock::new(),
        });
        read.under_way.push(Arc::clone(&attempt));
        read.changed.notify_waiters();
        Some(attempt)
    }

    /// A value that was asked for at `sent` may serve those that came before.
    pub(super) fn keep(
        &mut self,
        group: GroupId,
        key: &K,
        sent: Moment,
        value: Arc<V>,
        at: Instant,
    ) {
        let bytes = value.weight();
        self.keep_result(group, key, sent, Ok(value), bytes, at);
    }

    fn keep_result(
        &mut self,
        group: GroupId,
        key: &K,
        sent: Moment,
        result: Result<Arc<V>, E>,
        bytes: usize,
        at: Instant,
    ) {
        let Some(group) = self.groups.get_mut(&group) else {
            return;
        };
        // One that is alone keeps it for nobody.
        let came_before = |(oldest, _): &(Moment, u64)| *oldest <= sent;
        let wanted = group.members.len() > 1 && group.members.first().is_some_and(came_before);
        let Some(read) = group.reads.get_mut(key) else {
            return;
        };
        let is_newest = read.last.as_ref().is_none_or(|last| last.sent < sent);
        let (others, of_group) = (self.bytes - read.bytes(), group.bytes - read.bytes());
        // No group fills it alone.
        let fits = others + bytes <= self.max_bytes && of_group + bytes <= self.max_bytes / SHARE;
        if !wanted || !is_newest || !fits {
            return;
        }
        self.bytes = others + bytes;
        group.bytes = of_group + bytes;
        read.last = Some(Ended {
            sent,
            at,
            result,
            bytes,
        });
        read.changed.notify_waiters();
    }

    /// Whether a sweep has to begin.
    pub(super) fn begin_sweeping(&mut self) -> bool {
        let begins = self.bytes > 0 && !self.sweeping;
        self.sweeping |= begins;
        begins
    }

    /// Forgets what is kept for too long. Says whether there is more to come.
    pub(super) fn sweep(&mut self, now: Instant) -> bool {
        for group in self.groups.values_mut() {
            self.bytes -= group.forget(|ended| now.duration_since(ended.at) >= MAX_AGE);
        }
        self.sweeping = self.bytes > 0;
        self.sweeping
    }
}

impl<G: Clone + Eq + Hash, K: Clone + Eq + Hash, V: Weight, E: Clone> Board<G, K, V, E> {
    /// What there is for a mount whose request came at `since`.
    pub(super) fn look(&self, group: GroupId, key: &K, since: Moment, now: Instant) -> Look<V, E> {
        let group = self.groups.get(&group);
        let Some(read) = group.and_then(|group| group.reads.get(key)) else {
            return Look::Ask {
                attempts: Vec::new(),
            };
        };
        if let Some(last) = &read.last
            && last.sent >= since
            && now.duration_since(last.at) < MAX_AGE
        {
            return Look::Ended(last.result.clone(), last.at);
        }
        let attempts = read.under_way.iter();
        let attempts = attempts
            .filter(|attempt| attempt.sent >= since)
            .cloned()
            .collect();
        match read.next(now) {
            Ok(()) => Look::Ask { attempts },
            Err(next) => Look::UnderWay { attempts, next },
        }
    }
}

impl<G, K, V, E> Board<G, K, V, E>
where
    G: Clone + Eq + Hash,
    K: Clone + Eq + Hash,
    V: Weight,
    E: Clone + Shareable,
{
    /// An attempt is over.
    pub(super) fn ended(&mut self, group: GroupId, key: &K, attempt: &Arc<Attempt<V, E>>) {
        let read = self
            .groups
            .get_mut(&group)
            .and_then(|group| group.reads.get_mut(key));
        if let Some(read) = read {
            read.under_way.retain(|other| !Arc::ptr_eq(other, attempt));
            read.changed.notify_waiters();
        }
        match attempt.outcome() {
            Some(Ok(value)) => self.keep(group, key, attempt.sent, value, attempt.at),
            Some(Err(error)) if error.whose() == Whose::Everyones => {
                self.keep_result(group, key, attempt.sent, Err(error), ERROR, attempt.at);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
impl<G, K, V, E> Board<G, K, V, E> {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.ids.is_empty() && self.bytes == 0
    }
}

/// The part of all that is kept which one group may have.
const SHARE: usize = 4;
/// What an error weighs, about.
const ERROR: usize = 512;

impl<G, K: Clone + Eq + Hash, V, E> Group<G, K, V, E> {
    /// Forgets what has ended and is `useless`. Returns what it weighed.
    fn forget(&mut self, useless: impl Fn(&Ended<V, E>) -> bool) -> usize {
        let mut bytes = 0;
        self.reads.retain(|_, read| {
            if let Some(ended) = read.last.take_if(|ended| useless(ended)) {
                bytes += ended.bytes;
            }
            !read.is_over()
        });
        self.bytes -= bytes;
        bytes
    }
}

impl<V, E> Read<V, E> {
    fn bytes(&self) -> usize {
        self.last.as_ref().map_or(0, |last| last.bytes)
    }

    fn is_over(&self) -> bool {
        self.waiting == 0 && self.under_way.is_empty() && self.last.is_none()
    }

    /// Whether another attempt may begin, or when.
    fn next(&self, now: Instant) -> Result<(), Option<Instant>> {
        match self.under_way.as_slice() {
            [] => Ok(()),
            [one] if now >= one.at + PATIENCE => Ok(()),
            [one] => Err(Some(one.at + PATIENCE)),
            _ => Err(None),
        }
    }
}
