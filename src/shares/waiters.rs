//! [`Waiters`], the namespaces that wait for one thing, each in its own line.

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::watch;

use super::Namespace;

/// The namespaces that wait for the same thing. Clones share everything.
#[derive(Clone, Debug)]
pub struct Waiters(watch::Sender<Vec<Namespace>>);

impl Waiters {
    /// One that waits.
    pub fn new(first: Namespace) -> Self {
        Self(watch::Sender::new(vec![first]))
    }

    /// Another one waits too, until what it waits for is there.
    pub fn join(&self, namespace: Namespace) {
        self.0.send_if_modified(|all| {
            let is_new = !all.contains(&namespace);
            if is_new {
                all.push(namespace);
            }
            is_new
        });
    }

    /// All of them.
    pub fn all(&self) -> Vec<Namespace> {
        self.0.borrow().clone()
    }

    /// What comes first in the lines of those that wait, and of those that join them meanwhile.
    pub async fn first<F: Future>(&self, line: impl Fn(Namespace) -> F) -> F::Output {
        let mut all = self.0.subscribe();
        let mut lines = FuturesUnordered::new();
        loop {
            let new = all.borrow_and_update()[lines.len()..].to_vec();
            lines.extend(new.into_iter().map(&line));
            tokio::select! {
                biased;
                Some(first) = lines.next() => return first,
                Ok(()) = all.changed() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::shares::{Places, Rank};

    #[test]
    fn one_that_joins_has_its_own_line() {
        let places = Places::new(2, 1);
        let take = |namespace: Namespace| {
            let places = places.clone();
            async move { places.take(&namespace, Rank::default()).await }
        };
        let [busy, free] = ["busy", "free"].map(Namespace::new);
        let place = take(busy.clone()).now_or_never().unwrap();
        let waiters = Waiters::new(busy.clone());
        let mut first = Box::pin(waiters.first(take));
        assert!((&mut first).now_or_never().is_none());
        for _ in 0..2 {
            waiters.join(free.clone());
        }
        assert_eq!(waiters.all(), [busy.clone(), free]);
        let given = (&mut first).now_or_never().expect("a place is free for it");
        // The other line is left.
        drop((first, place));
        assert_eq!(places.load(), (1, 0));
        drop(given);
        assert_eq!(places.load(), (0, 0));
    }
}
