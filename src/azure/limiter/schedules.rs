//! [`Schedules`], whose requests a refusal slows: those of the identity and namespace that met it, and all of the namespace
//! where several of its identities do.
//!
//! What a vault throttles says nothing about others at first: an attacker asks for what it has no right to, as fast as
//! it can. Only what several namespaces are told is the vault's own state. Several identities are no such witness, since
//! whoever writes classes in one namespace may name as many as it likes.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;
use std::time::Duration;

use tokio::time::Instant;

use super::schedule::Schedule;
use super::{Limits, Overload};
use crate::class::identity::IdentityName;

/// The most identities and namespaces that have a schedule of their own at one server. It is only there after a refusal,
/// and until it holds nothing back.
pub(super) const MAX_OWN: usize = 64;
/// The least pace of one identity and namespace, in requests per second.
const MIN_RATE: f64 = 5.0;
/// The least pace of a namespace of which several identities are throttled.
const MIN_NAMESPACE_RATE: f64 = 20.0;
/// The least pace of all of a node. Each that is throttled goes slower by itself.
const MIN_COMMON_RATE: f64 = 50.0;
/// The time within which 429s of several namespaces are about the same thing: a vault's limit counts over so long.
const WINDOW: Duration = Duration::from_secs(10);

/// Whose requests they are: an identity's in a namespace, or all of that. Equal ones slow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    namespace: u64,
    whole: u64,
}

impl Asker {
    /// The identity's requests in the namespace. What proves the identity plays no part: the pods of an application
    /// have a token each.
    pub fn new(namespace: &str, identity: &IdentityName) -> Self {
        // Keyed anew in each process, so that nobody can choose names that share a schedule.
        static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        Self {
            namespace: KEYS.hash_one(namespace),
            whole: KEYS.hash_one((namespace, identity)),
        }
    }

    /// All of its namespace.
    pub(super) fn of_namespace(self) -> Self {
        Self {
            whole: self.namespace,
            ..self
        }
    }

    /// Whose schedules hold its requests back, besides everyone's.
    fn both(self) -> [Self; 2] {
        [self, self.of_namespace()]
    }
}

/// The schedules of one server.
#[derive(Debug, Default)]
pub(super) struct Schedules {
    /// Everyone's.
    common: Schedule,
    /// Of those who were refused lately.
    own: Vec<(Asker, Schedule)>,
}

impl Schedules {
    /// The moment at which the next request of `whose`, or of everyone, may go, and the interval that it takes.
    pub(super) fn reserve(
        &mut self,
        whose: Option<Asker>,
        limits: &Limits,
        deadline: Instant,
    ) -> Result<(Instant, Option<Duration>), Overload> {
        match self.of(whose) {
            Some(schedule) => schedule.reserve(limits, deadline),
            None => Ok((Instant::now(), None)),
        }
    }

    /// Whether the schedule of `whose`, or everyone's, has a pace, where a request that comes behind so many others may go
    /// before the deadline.
    pub(super) fn admit(
        &mut self,
        whose: Option<Asker>,
        limits: &Limits,
        ahead: usize,
        deadline: Instant,
    ) -> Result<bool, Overload> {
        match self.of(whose) {
            Some(schedule) => schedule.admit(limits, ahead, deadline),
            None => Ok(false),
        }
    }

    /// An interval of `whose` pace, or everyone's, that was taken, and not used.
    pub(super) fn give_back(&mut self, whose: Option<Asker>, interval: Duration) {
        if let Some(schedule) = self.of(whose) {
            schedule.give_back(interval);
        }
    }

    /// Whether `whose` requests are held back by nothing any more.
    pub(super) fn is_free(&mut self, whose: Option<Asker>, now: Instant) -> bool {
        self.of(whose).is_none_or(|schedule| schedule.is_idle(now))
    }

    /// Whether a request of `asker` falls into a pause.
    pub(super) fn is_paused(&mut self, asker: Option<Asker>, now: Instant) -> bool {
        let mut of_asker = asker.into_iter().flat_map(Asker::both);
        self.common.pause_end(now).is_some()
            || of_asker.any(|whose| {
                let own = self.of(Some(whose));
                own.is_some_and(|own| own.pause_end(now).is_some())
            })
    }

    /// Whether anyone is in a pause.
    pub(super) fn is_anyone_paused(&self) -> bool {
        let now = Instant::now();
        let mut all = self.own.iter().map(|(_, own)| own);
        self.common.pause_end(now).is_some() || all.any(|own| own.pause_end(now).is_some())
    }

    /// A request that went at `sent` went well.
    pub(super) fn raise(&mut self, asker: Option<Asker>, sent: Instant) {
        self.common.raise(sent);
        for whose in asker.into_iter().flat_map(Asker::both) {
            if let Some(own) = self.of(Some(whose)) {
                own.raise(sent);
            }
        }
    }

    /// A request that went at `sent` was throttled.
    pub(super) fn throttled(
        &mut self,
        asker: Option<Asker>,
        sent: Instant,
        retry_after: Option<Duration>,
    ) {
        let Some(asker) = asker else {
            return self.common.pause(sent, retry_after, MIN_RATE);
        };
        let now = Instant::now();
        let is_witnessed = self
            .of_others(asker)
            .any(|other| other.was_throttled(now, WINDOW));
        let is_of_namespace = self
            .of_siblings(asker)
            .any(|sibling| sibling.was_throttled(now, WINDOW) || sibling.asked_end(now).is_some());
        self.own_or_insert(asker).pause(sent, retry_after, MIN_RATE);
        if is_of_namespace {
            let of_namespace = self.own_or_insert(asker.of_namespace());
            of_namespace.pause(sent, retry_after, MIN_NAMESPACE_RATE);
        }
        if is_witnessed {
            self.common.slow(sent, MIN_COMMON_RATE);
        }
        if retry_after.is_some() {
            self.keep_what_several_were_told(asker, false);
        }
    }

    /// The server is out of order, and says for how long.
    pub(super) fn unavailable(&mut self, asker: Option<Asker>, retry_after: Duration) {
        let Some(asker) = asker else {
            return self.common.pause_as_asked(retry_after, true);
        };
        let now = Instant::now();
        let is_of_namespace = self
            .of_siblings(asker)
            .any(|sibling| sibling.asked_end(now).is_some());
        self.own_or_insert(asker).pause_as_asked(retry_after, true);
        if is_of_namespace {
            let of_namespace = self.own_or_insert(asker.of_namespace());
            of_namespace.pause_as_asked(retry_after, true);
        }
        self.keep_what_several_were_told(asker, true);
    }

    /// Everyone waits for as long as two namespaces were told to.
    fn keep_what_several_were_told(&mut self, asker: Asker, is_outage: bool) {
        let now = Instant::now();
        let others = self.of_others(asker).filter_map(|own| own.asked_end(now));
        let own = self.own.iter().find(|(other, _)| *other == asker);
        let own = own.and_then(|(_, own)| own.asked_end(now));
        if let (Some(others), Some(own)) = (others.max(), own) {
            self.common.pause_with(others.min(own), is_outage);
        }
    }

    fn of_others(&self, asker: Asker) -> impl Iterator<Item = &Schedule> {
        let others = self.own.iter();
        let others = others.filter(move |(other, _)| other.namespace != asker.namespace);
        others.map(|(_, own)| own)
    }

    /// Those of other identities of the same namespace.
    fn of_siblings(&self, asker: Asker) -> impl Iterator<Item = &Schedule> {
        let whole = asker.of_namespace();
        let siblings = self.own.iter();
        let siblings = siblings.filter(move |(other, _)| {
            other.namespace == asker.namespace && *other != asker && *other != whole
        });
        siblings.map(|(_, own)| own)
    }

    /// The schedule of one, where it has one, or everyone's.
    fn of(&mut self, whose: Option<Asker>) -> Option<&mut Schedule> {
        let Some(asker) = whose else {
            return Some(&mut self.common);
        };
        let now = Instant::now();
        self.own.retain_mut(|(_, own)| !own.is_idle(now));
        let own = self.own.iter_mut().find(|(other, _)| *other == asker);
        own.map(|(_, own)| own)
    }

    fn own_or_insert(&mut self, asker: Asker) -> &mut Schedule {
        let now = Instant::now();
        self.own.retain_mut(|(_, own)| !own.is_idle(now));
        if let Some(index) = self.own.iter().position(|(other, _)| *other == asker) {
            return &mut self.own[index].1;
        }
        if self.own.len() >= MAX_OWN {
            self.forget_one();
        }
        self.own.push((asker, Schedule::default()));
        let last = self.own.len() - 1;
        &mut self.own[last].1
    }

    /// Makes room: the oldest of the namespace that has most goes, so that no namespace ends another one's pause. What holds
    /// for the whole namespace goes last, so that it does not end its own either.
    fn forget_one(&mut self) {
        let count = |namespace| {
            let all = self.own.iter();
            all.filter(|(other, _)| other.namespace == namespace)
                .count()
        };
        let counts = self.own.iter().map(|(asker, _)| count(asker.namespace));
        let most = counts.max().unwrap_or_default();
        let places = self.own.iter().enumerate();
        let of_largest = places.filter(|(_, (asker, _))| count(asker.namespace) == most);
        let oldest = of_largest
            .min_by_key(|(_, (asker, own))| (*asker == asker.of_namespace(), own.last_lesson()));
        if let Some(index) = oldest.map(|(index, _)| index) {
            self.own.swap_remove(index);
        }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.own.len()
    }
}
