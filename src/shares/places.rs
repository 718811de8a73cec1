//! [`Places`], how much may be worked on at once, fair between namespaces.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::Namespace;

/// Of so many places that a namespace is given, one goes to the oldest that waits, whatever its order: so that much work
/// ends though less of it keeps coming, and what is old does not stand before everybody.
const FOR_THE_OLDEST: u32 = 4;

/// So many places for all, and so many of them for one namespace.
///
/// A place that becomes free goes to the namespace that has the fewest; among equals to the one served longest ago, and
/// among those never served to the one that has waited longest. Within a namespace it goes to the least order, among equals
/// to the one that came first, and one in [`FOR_THE_OLDEST`] to the oldest.
#[derive(Debug)]
pub struct Places {
    state: Mutex<State>,
}

/// Which of a namespace's comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// How much is left to be done with this place and the next ones. The least comes first.
    pub order: u64,
    /// When it all began, as a number that grows.
    pub age: u64,
}

#[derive(Debug, Default)]
struct State {
    total: usize,
    most: usize,
    /// Whether a namespace has at most as many as it leaves free.
    leaves_some: bool,
    taken: usize,
    /// Counts what comes and what is given, so that both have an order.
    clock: u64,
    /// Those that have places or wait for some.
    namespaces: BTreeMap<Namespace, Line>,
}

/// What one namespace has and waits for.
#[derive(Debug, Default)]
struct Line {
    taken: usize,
    /// When it was last given a place.
    given: u64,
    /// When one last began to wait while no other did.
    since: u64,
    /// How many it was given while some waited.
    times: u64,
    waiting: BTreeMap<Position, oneshot::Sender<()>>,
}

/// A rank, and when it came.
type Position = (Rank, u64);

/// One place, until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Place {
    places: Arc<Places>,
    namespace: Namespace,
}

impl Places {
    /// So many places for all, and at most so many of them for one namespace; one at least.
    pub fn new(total: usize, most: usize) -> Arc<Self> {
        let state = State {
            total: total.max(1),
            most: most.max(1),
            ..State::default()
        };
        Arc::new(Self {
            state: Mutex::new(state),
        })
    }

    /// So many places for all, of which a namespace has at most as many as it leaves free: half of them where it is alone,
    /// and of what others leave at most half. So there are some for one that comes late, however long the others stay.
    pub fn leaving_some(total: usize) -> Arc<Self> {
        let places = Self::new(total, usize::MAX);
        places.state.lock().leaves_some = true;
        places
    }

    /// There are so many from now on, not fewer than before.
    pub fn grow(&self, total: usize, most: usize) {
        let mut state = self.state.lock();
        state.total = state.total.max(total);
        state.most = state.most.max(most);
        drop(state);
        self.give();
    }

    /// Waits for a place. What is dropped while it waits has lost its turn.
    pub async fn take(self: &Arc<Self>, namespace: &Namespace, rank: Rank) -> Place {
        let (sender, receiver) = oneshot::channel();
        let position = self.state.lock().wait(namespace, rank, sender);
        let mut waiting = Waiting {
            places: self,
            namespace,
            position: Some(position),
        };
        self.give();
        // The sender goes only by being used.
        _ = receiver.await;
        waiting.position = None;
        self.place(namespace)
    }

    /// How many of this namespace that wait come before one that comes now; more may come, and the oldest has each fourth
    /// turn.
    pub fn ahead(&self, namespace: &Namespace, rank: Rank) -> usize {
        let state = self.state.lock();
        let Some(line) = state.namespaces.get(namespace) else {
            return 0;
        };
        let before = line.waiting.range(..(rank, u64::MAX)).count();
        let mut ranks = line.waiting.keys().map(|(rank, _)| rank);
        if ranks.any(|other| other.age <= rank.age) {
            before
        } else {
            before.min(FOR_THE_OLDEST as usize)
        }
    }

    /// How many are taken, and how many wait.
    #[cfg(test)]
    pub fn load(&self) -> (usize, usize) {
        let state = self.state.lock();
        let waiting = state.namespaces.values().map(|line| line.waiting.len());
        (state.taken, waiting.sum())
    }

    fn place(self: &Arc<Self>, namespace: &Namespace) -> Place {
        Place {
            places: Arc::clone(self),
            namespace: namespace.clone(),
        }
    }

    /// Gives what is free to those whose turn it is.
    fn give(&self) {
        let mut state = self.state.lock();
        while let Some(next) = state.next() {
            // One that has gone meanwhile gives it back itself.
            _ = next.send(());
        }
    }

    fn free(&self, namespace: &Namespace) {
        self.state.lock().freed(namespace);
        self.give();
    }
}

impl State {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn wait(&mut self, namespace: &Namespace, rank: Rank, sender: oneshot::Sender<()>) -> Position {
        let now = self.tick();
        let position = (rank, now);
        let line = self.namespaces.entry(namespace.clone()).or_default();
        if line.waiting.is_empty() {
            line.since = now;
        }
        line.waiting.insert(position, sender);
        position
    }

    fn took(&mut self, namespace: &Namespace) {
        let now = self.tick();
        self.taken += 1;
        let line = self.namespaces.entry(namespace.clone()).or_default();
        line.taken += 1;
        line.given = now;
    }

    fn freed(&mut self, namespace: &Namespace) {
        self.taken -= 1;
        if let Some(line) = self.namespaces.get_mut(namespace) {
            line.taken -= 1;
        }
        self.tidy();
    }

    /// Takes a place for the one whose turn it is.
    fn next(&mut self) -> Option<oneshot::Sender<()>> {
        let free = self.total.saturating_sub(self.taken);
        if free == 0 {
            return None;
        }
        let (most, leaves_some) = (self.most, self.leaves_some);
        // The last place goes to one that has none.
        let may = |taken| taken < most && (taken == 0 || !leaves_some || taken < free);
        let lines = self.namespaces.iter_mut();
        let (namespace, line) = lines
            .filter(|(_, line)| may(line.taken) && !line.waiting.is_empty())
            .min_by_key(|(_, line)| (line.taken, line.given, line.since))?;
        let sender = line.next()?;
        let namespace = namespace.clone();
        self.took(&namespace);
        Some(sender)
    }

    /// Forgets the namespaces that have nothing and wait for nothing. One that was given a place after one that still
    /// waits is remembered: it would come back as one that was given none, and pass it each time.
    fn tidy(&mut self) {
        let waiting = self
            .namespaces
            .values()
            .filter(|line| !line.waiting.is_empty());
        let first = waiting.map(|line| line.given).min().unwrap_or(u64::MAX);
        self.namespaces
            .retain(|_, line| line.taken > 0 || !line.waiting.is_empty() || line.given > first);
    }
}

impl Line {
    /// The one whose turn it is.
    fn next(&mut self) -> Option<oneshot::Sender<()>> {
        self.times += 1;
        if self.times.is_multiple_of(FOR_THE_OLDEST.into()) {
            let positions = self.waiting.keys();
            let oldest = *positions.min_by_key(|(rank, came)| (rank.age, *came))?;
            return self.waiting.remove(&oldest);
        }
        self.waiting.pop_first().map(|(_, sender)| sender)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.free(&self.namespace);
    }
}

/// A turn that is waited for, unless it has come.
struct Waiting<'a> {
    places: &'a Places,
    namespace: &'a Namespace,
    position: Option<Position>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(position) = self.position else {
            return;
        };
        let mut state = self.places.state.lock();
        let line = state.namespaces.get_mut(self.namespace);
        let waited = line.is_some_and(|line| line.waiting.remove(&position).is_some());
        state.tidy();
        drop(state);
        if !waited {
            // It had come, and nobody was there to take it.
            self.places.free(self.namespace);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use futures::future::BoxFuture;

    use super::*;

    fn namespace(name: &str) -> Namespace {
        Namespace::new(name)
    }

    fn taking(places: &Arc<Places>, name: &str, order: u64, age: u64) -> BoxFuture<'static, Place> {
        let (places, namespace) = (Arc::clone(places), namespace(name));
        async move { places.take(&namespace, Rank { order, age }).await }.boxed()
    }

    /// One that waits for a place, and has been asked for it once.
    fn waiting(places: &Arc<Places>, name: &str, order: u64) -> BoxFuture<'static, Place> {
        let mut taking = taking(places, name, order, 0);
        assert!((&mut taking).now_or_never().is_none(), "{name} had to wait");
        taking
    }

    fn at_once(places: &Arc<Places>, name: &str) -> Option<Place> {
        taking(places, name, 0, 0).now_or_never()
    }

    fn there(waiting: &mut BoxFuture<'static, Place>) -> Option<Place> {
        waiting.now_or_never()
    }

    #[test]
    fn the_next_place_goes_to_the_namespace_with_the_fewest() {
        let places = Places::new(3, 3);
        let mut of_big: Vec<_> = (0..3).map(|_| at_once(&places, "big").unwrap()).collect();
        let mut more: Vec<_> = (0..3).map(|_| waiting(&places, "big", 0)).collect();
        let mut small = waiting(&places, "small", 0);
        let mut other = waiting(&places, "other", 0);
        of_big.pop();
        let of_small = there(&mut small).expect("small is next, though it came last");
        of_big.pop();
        let of_other = there(&mut other).expect("other has none either");
        // Each has one now, and one place is freed by one that waits for nothing more.
        drop(of_small);
        let mut of_more = there(&mut more[0]);
        assert!(of_more.take().is_some());
        drop(of_other);
        assert!(there(&mut more[1]).is_some());
    }

    #[test]
    fn equals_take_turns() {
        let places = Places::new(1, 1);
        let mut place = at_once(&places, "a");
        let mut a: Vec<_> = (0..2).map(|_| waiting(&places, "a", 0)).collect();
        let mut b: Vec<_> = (0..2).map(|_| waiting(&places, "b", 0)).collect();
        // It was given none so far.
        for (b, a) in b.iter_mut().zip(&mut a) {
            for next in [b, a] {
                drop(place.take());
                place = there(next);
                assert!(place.is_some());
            }
        }
    }

    #[test]
    fn those_who_come_back_do_not_pass_one_that_waits() {
        let places = Places::new(1, 1);
        let mut place = at_once(&places, "a");
        let mut victim: Vec<_> = (0..3).map(|_| waiting(&places, "victim", 0)).collect();
        let mut other = waiting(&places, "b", 0);
        let (mut served, mut others) = (0, 0);
        while served < 3 {
            drop(place.take());
            if let Some(given) = there(&mut victim[served]) {
                served += 1;
                place = Some(given);
                continue;
            }
            // The two others have one request at a time, and come back as soon as it has ended.
            place = there(&mut other);
            assert!(place.is_some());
            others += 1;
            other = waiting(&places, if others % 2 == 0 { "b" } else { "a" }, 0);
            assert!(others < 10, "the victim waits for ever");
        }
    }

    #[test]
    fn within_a_namespace_the_least_order_comes_first() {
        let places = Places::new(1, 1);
        let first = at_once(&places, "a").unwrap();
        let mut long = waiting(&places, "a", 100);
        let mut short = waiting(&places, "a", 1);
        let mut as_short = waiting(&places, "a", 1);
        drop(first);
        assert!(there(&mut long).is_none());
        assert!(there(&mut as_short).is_none());
        drop(there(&mut short).unwrap());
        drop(there(&mut as_short).unwrap());
        assert!(there(&mut long).is_some());
    }

    #[test]
    fn one_in_four_goes_to_the_oldest() {
        let places = Places::new(1, 1);
        let first = at_once(&places, "a").unwrap();
        let mut giant = taking(&places, "a", 1000, 1);
        assert!(there(&mut giant).is_none());
        let mut small: Vec<_> = (2..22).map(|age| taking(&places, "a", 1, age)).collect();
        for small in &mut small {
            assert!(there(small).is_none());
        }
        let mut place = Some(first);
        for before in 0.. {
            drop(place.take());
            place = there(&mut giant);
            if place.is_some() {
                assert!(before < FOR_THE_OLDEST, "{before}");
                break;
            }
            let mut turn = small.iter_mut().enumerate();
            let (index, given) = turn
                .find_map(|(index, small)| Some((index, there(small)?)))
                .unwrap();
            drop(small.remove(index));
            place = Some(given);
        }
    }

    #[test]
    fn what_grows_serves_those_who_wait() {
        let places = Places::new(1, 1);
        let _first = at_once(&places, "a").unwrap();
        let mut second = waiting(&places, "a", 0);
        places.grow(2, 2);
        assert!(there(&mut second).is_some());
    }

    #[test]
    fn a_namespace_has_at_most_its_share() {
        let places = Places::new(3, 2);
        let _taken: Vec<_> = (0..2).map(|_| at_once(&places, "a").unwrap()).collect();
        assert!(at_once(&places, "a").is_none());
        let mut third = waiting(&places, "a", 0);
        let place = at_once(&places, "b").expect("there is one left");
        drop(place);
        assert!(there(&mut third).is_none());
    }

    #[test]
    fn one_that_comes_late_finds_a_place() {
        let places = Places::leaving_some(100);
        let all =
            |name: &str| -> Vec<_> { std::iter::from_fn(|| at_once(&places, name)).collect() };
        let (of_a, of_b, of_c) = (all("a"), all("b"), all("c"));
        assert_eq!((of_a.len(), of_b.len(), of_c.len()), (50, 25, 13));
        let mut more = waiting(&places, "a", 0);
        let of_d = at_once(&places, "d");
        assert!(of_d.is_some());
        drop(of_b);
        assert!(there(&mut more).is_none(), "a has more than it leaves");
        drop(of_a);
        assert!(there(&mut more).is_some());
    }

    #[test]
    fn what_goes_away_costs_nothing() {
        let places = Places::new(1, 1);
        let first = at_once(&places, "a").unwrap();
        let gone: Vec<_> = (0..5).map(|_| waiting(&places, "b", 0)).collect();
        let mut last = waiting(&places, "c", 0);
        drop(gone);
        assert_eq!(places.load(), (1, 1));
        drop(first);
        drop(there(&mut last).unwrap());
        // One that was given its place and goes before it looks.
        let first = at_once(&places, "a").unwrap();
        let given = waiting(&places, "b", 0);
        let mut next = waiting(&places, "c", 0);
        drop(first);
        assert!(there(&mut next).is_none());
        drop(given);
        drop(there(&mut next).unwrap());
        assert_eq!(places.load(), (0, 0));
        assert!(places.state.lock().namespaces.is_empty());
    }
}
