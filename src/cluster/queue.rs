//! [`Queue`], events that wait to be written: fair between namespaces, at a pace, and not more than there is room for.
//!
//! One outage of a vault concerns every pod of a cluster within a minute or two, and the API server is everybody's. So
//! each node writes some events at once and the others one by one, and a namespace whose pods have much to tell holds up
//! none but its own.

use std::collections::HashMap;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

use crate::cluster::event::{EventKey, PodEvent};
use crate::shares::{Kept, Namespace, Weight};

/// The most bytes of events that wait: some three hundred with the longest texts.
const MAX_BYTES: usize = 512 * 1024;
/// What one node writes at once, and after how long one more.
const OF_NODE: (u32, Duration) = (10, Duration::from_secs(2));
/// The same of one namespace on this node.
const OF_NAMESPACE: (u32, Duration) = (30, Duration::from_secs(10));

/// Events that wait.
#[derive(Debug)]
pub struct Queue {
    waiting: Kept<EventKey, Waiting>,
    node: Pace,
    /// Of the namespaces that have written lately.
    namespaces: HashMap<Namespace, Turn>,
    /// Counts what comes and what goes, so that both have an order.
    clock: u64,
}

/// An event that waits, which may have been told several times by now.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// What is told, in its last words.
    pub event: PodEvent,
    /// When it was told first.
    pub first: OffsetDateTime,
    /// When it was told last.
    pub last: OffsetDateTime,
    /// How often.
    pub times: u32,
    /// How often it has been tried to be written.
    pub tries: u32,
    /// What its name is made unique by, in each attempt the same.
    pub number: u64,
    came: u64,
}

/// When a namespace may write, and when it did so last.
#[derive(Debug)]
struct Turn {
    pace: Pace,
    wrote: u64,
}

/// What is to be done now.
#[derive(Debug)]
pub enum Next {
    /// To write this.
    Write(Box<Waiting>),
    /// To wait until then.
    Wait(Instant),
    /// Nothing waits.
    Nothing,
}

/// Some at once, and then one after each interval (the generic cell rate algorithm).
#[derive(Clone, Copy, Debug)]
struct Pace {
    burst: u32,
    interval: Duration,
    /// When as many are free as there are at once.
    full: Instant,
}

impl Weight for Waiting {
    fn weight(&self) -> usize {
        self.event.weight() + size_of::<Self>()
    }
}

impl Queue {
    pub fn new(now: Instant) -> Self {
        Self {
            waiting: Kept::new(MAX_BYTES),
            node: Pace::new(OF_NODE, now),
            namespaces: HashMap::new(),
            clock: 0,
        }
    }

    /// An event is told. Returns how many had to go: of the namespace that has the most, those first that came first.
    pub fn tell(&mut self, event: PodEvent, at: OffsetDateTime) -> usize {
        let (namespace, key) = (event.namespace(), event.key());
        if let Some(waiting) = self.waiting.get_mut(&namespace, &key) {
            // Its text may be longer, if not by much: it is put anew.
            let told = Waiting {
                event,
                last: at,
                times: waiting.times.saturating_add(1),
                ..waiting.clone()
            };
            return self.waiting.put(&namespace, key, told).len();
        }
        let came = self.tick();
        let told = Waiting {
            event,
            first: at,
            last: at,
            times: 1,
            tries: 0,
            number: fastrand::u64(..),
            came,
        };
        self.waiting.put(&namespace, key, told).len()
    }

    /// An event could not be written and waits again, in its old place. Returns how many had to go.
    pub fn put_back(&mut self, tried: Waiting) -> usize {
        let (namespace, key) = (tried.event.namespace(), tried.event.key());
        let back = match self.waiting.get(&namespace, &key) {
            // It was told again meanwhile.
            Some(newer) => Waiting {
                first: tried.first,
                times: tried.times.saturating_add(newer.times),
                tries: tried.tries,
                number: tried.number,
                came: tried.came,
                ..newer.clone()
            },
            None => tried,
        };
        self.waiting.put(&namespace, key, back).len()
    }

    /// What comes next: of the namespaces whose pace allows it, the one that wrote longest ago; of its events, the one that
    /// came first.
    pub fn next(&mut self, now: Instant) -> Next {
        self.namespaces.retain(|_, turn| turn.pace.full > now);
        let mut first_of: HashMap<Namespace, (u64, &EventKey)> = HashMap::new();
        for (key, waiting) in self.waiting.iter() {
            let first = first_of
                .entry(waiting.event.namespace())
                .or_insert((waiting.came, key));
            *first = (*first).min((waiting.came, key));
        }
        if first_of.is_empty() {
            return Next::Nothing;
        }
        let mut earliest: Option<Instant> = None;
        let mut best: Option<((u64, u64), Namespace, EventKey)> = None;
        for (namespace, (came, key)) in first_of {
            let turn = self.namespaces.get(&namespace);
            let ready = turn
                .map_or(now, |turn| turn.pace.ready())
                .max(self.node.ready());
            if ready > now {
                earliest = Some(earliest.map_or(ready, |earliest| earliest.min(ready)));
                continue;
            }
            let rank = (turn.map_or(0, |turn| turn.wrote), came);
            if best.as_ref().is_none_or(|(least, ..)| rank < *least) {
                best = Some((rank, namespace, key.clone()));
            }
        }
        let Some((_, namespace, key)) = best else {
            return earliest.map_or(Next::Nothing, Next::Wait);
        };
        let wrote = self.tick();
        self.node.take(now);
        let turn = self.namespaces.entry(namespace).or_insert_with(|| Turn {
            pace: Pace::new(OF_NAMESPACE, now),
            wrote,
        });
        turn.wrote = wrote;
        turn.pace.take(now);
        let waiting = self.waiting.remove(&key);
        waiting.map_or(Next::Nothing, |waiting| Next::Write(Box::new(waiting)))
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}

impl Pace {
    fn new((burst, interval): (u32, Duration), now: Instant) -> Self {
        Self {
            burst,
            interval,
            full: now,
        }
    }

    /// When one is free.
    fn ready(&self) -> Instant {
        let ahead = self.interval * (self.burst - 1);
        self.full.checked_sub(ahead).unwrap_or(self.full)
    }

    fn take(&mut self, now: Instant) {
        self.full = self.full.max(now) + self.interval;
    }
}

#[cfg(test)]
mod tests;
