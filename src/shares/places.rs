//! [`Places`], how much may be worked on at once, fair between namespaces.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use super::Namespace;
use crate::os::lock::lock;

/// So many places for all, and so many of them for one namespace.
///
/// A place that becomes free goes to the namespace that has the fewest, among equals to the one that was given one
/// longest ago; within a namespace to the least order, among equals to the one that came first.
#[derive(Debug)]
pub struct Places {
    total: usize,
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
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
    waiting: BTreeMap<Turn, oneshot::Sender<()>>,
}

/// An order, and when it came.
type Turn = (u64, u64);

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
        Arc::new(Self {
            total: total.max(1),
            most: most.max(1),
            state: Mutex::default(),
        })
    }

    /// Waits for a place. What is dropped while it waits has lost its turn.
    pub async fn take(self: &Arc<Self>, namespace: &Namespace, order: u64) -> Place {
        let (sender, receiver) = oneshot::channel();
        let turn = lock(&self.state).wait(namespace, order, sender);
        let mut waiting = Waiting {
            places: self,
            namespace,
            turn: Some(turn),
        };
        self.give();
        // The sender goes only by being used.
        _ = receiver.await;
        waiting.turn = None;
        self.place(namespace)
    }

    /// A place, if there is one at once.
    pub fn try_take(self: &Arc<Self>, namespace: &Namespace) -> Option<Place> {
        let mut state = lock(&self.state);
        let line = state.namespaces.get(namespace);
        let may = line.is_none_or(|line| line.taken < self.most && line.waiting.is_empty());
        if !may || state.taken >= self.total {
            return None;
        }
        state.took(namespace);
        Some(self.place(namespace))
    }

    /// How many places are taken, and how many wait for one.
    pub fn load(&self) -> (usize, usize) {
        let state = lock(&self.state);
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
        let mut state = lock(&self.state);
        while state.taken < self.total
            && let Some(next) = state.next(self.most)
        {
            // One that has gone meanwhile gives it back itself.
            _ = next.send(());
        }
    }

    fn free(&self, namespace: &Namespace) {
        lock(&self.state).freed(namespace);
        self.give();
    }
}

impl State {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn wait(&mut self, namespace: &Namespace, order: u64, sender: oneshot::Sender<()>) -> Turn {
        let turn = (order, self.tick());
        let line = self.namespaces.entry(namespace.clone()).or_default();
        line.waiting.insert(turn, sender);
        turn
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
        self.tidy(namespace);
    }

    /// Takes a place for the one whose turn it is.
    fn next(&mut self, most: usize) -> Option<oneshot::Sender<()>> {
        let lines = self.namespaces.iter_mut();
        let (namespace, line) = lines
            .filter(|(_, line)| line.taken < most)
            .filter_map(|(namespace, line)| {
                let (_, came) = *line.waiting.first_key_value()?.0;
                Some(((line.taken, line.given, came), namespace, line))
            })
            .min_by_key(|(rank, ..)| *rank)
            .map(|(_, namespace, line)| (namespace, line))?;
        let (_, sender) = line.waiting.pop_first()?;
        let namespace = namespace.clone();
        self.took(&namespace);
        Some(sender)
    }

    /// Forgets a namespace that has nothing and waits for nothing.
    fn tidy(&mut self, namespace: &Namespace) {
        let line = self.namespaces.get(namespace);
        if line.is_some_and(|line| line.taken == 0 && line.waiting.is_empty()) {
            self.namespaces.remove(namespace);
        }
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
    turn: Option<Turn>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(turn) = self.turn else { return };
        let mut state = lock(&self.places.state);
        let line = state.namespaces.get_mut(self.namespace);
        let waited = line.is_some_and(|line| line.waiting.remove(&turn).is_some());
        state.tidy(self.namespace);
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

    /// One that waits for a place, and has been asked for it once.
    fn waiting(places: &Arc<Places>, name: &str, order: u64) -> BoxFuture<'static, Place> {
        let (places, namespace) = (Arc::clone(places), namespace(name));
        let mut taking = async move { places.take(&namespace, order).await }.boxed();
        assert!((&mut taking).now_or_never().is_none(), "{name} had to wait");
        taking
    }

    fn there(waiting: &mut BoxFuture<'static, Place>) -> Option<Place> {
        waiting.now_or_never()
    }

    #[test]
    fn the_next_place_goes_to_the_namespace_with_the_fewest() {
        let places = Places::new(3, 3);
        let mut of_big: Vec<_> = (0..3)
            .map(|_| places.try_take(&namespace("big")).unwrap())
            .collect();
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
        let first = places.try_take(&namespace("a")).unwrap();
        let mut a: Vec<_> = (0..2).map(|_| waiting(&places, "a", 0)).collect();
        let mut b: Vec<_> = (0..2).map(|_| waiting(&places, "b", 0)).collect();
        drop(first);
        let place = there(&mut b[0]).expect("b has had none");
        drop(place);
        let place = there(&mut a[0]).expect("b was given the last one");
        drop(place);
        let place = there(&mut b[1]).expect("a was given the last one");
        drop(place);
        assert!(there(&mut a[1]).is_some());
    }

    #[test]
    fn within_a_namespace_the_least_order_comes_first() {
        let places = Places::new(1, 1);
        let first = places.try_take(&namespace("a")).unwrap();
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
    fn a_namespace_has_at_most_its_share() {
        let places = Places::new(3, 2);
        let _taken: Vec<_> = (0..2)
            .map(|_| places.try_take(&namespace("a")).unwrap())
            .collect();
        assert!(places.try_take(&namespace("a")).is_none());
        let mut third = waiting(&places, "a", 0);
        let place = places.try_take(&namespace("b")).expect("there is one left");
        drop(place);
        assert!(there(&mut third).is_none());
    }

    #[test]
    fn what_goes_away_costs_nothing() {
        let places = Places::new(1, 1);
        let first = places.try_take(&namespace("a")).unwrap();
        let gone: Vec<_> = (0..5).map(|_| waiting(&places, "b", 0)).collect();
        let mut last = waiting(&places, "c", 0);
        drop(gone);
        assert_eq!(places.load(), (1, 1));
        drop(first);
        drop(there(&mut last).unwrap());
        // One that was given its place and goes before it looks.
        let first = places.try_take(&namespace("a")).unwrap();
        let given = waiting(&places, "b", 0);
        let mut next = waiting(&places, "c", 0);
        drop(first);
        assert!(there(&mut next).is_none());
        drop(given);
        drop(there(&mut next).unwrap());
        assert_eq!(places.load(), (0, 0));
        assert!(lock(&places.state).namespaces.is_empty());
    }
}
