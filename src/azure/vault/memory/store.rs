//! [`Store`], values by key, each until its end, up to so many bytes in all, of which each namespace pays for its own.
//!
//! What has ended is dropped by a sweep, not by whoever comes next, since what is kept here is secret.

use std::hash::Hash;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::observe::metrics::ValueMetrics;
use crate::shares::{Kept, Namespace, Weight};

/// How often at most, and at least, what has ended is looked for.
const SWEEP: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Values by key. Clones share everything.
pub(super) struct Store<K: Eq + Hash, V> {
    metrics: ValueMetrics,
    entries: Arc<Mutex<Entries<K, V>>>,
}

impl<K: Eq + Hash, V> Clone for Store<K, V> {
    fn clone(&self) -> Self {
        Self {
            metrics: self.metrics.clone(),
            entries: Arc::clone(&self.entries),
        }
    }
}

struct Entries<K: Eq + Hash, V> {
    kept: Kept<K, Entry<V>>,
    sweeping: bool,
}

struct Entry<V> {
    value: Arc<V>,
    since: Instant,
    end: Instant,
}

impl<V: Weight> Weight for Entry<V> {
    fn weight(&self) -> usize {
        self.value.weight()
    }
}

impl<K, V> Store<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Weight + Send + Sync + 'static,
{
    /// An empty store.
    pub(super) fn new(max_bytes: usize, metrics: ValueMetrics) -> Self {
        let entries = Entries {
            kept: Kept::new(max_bytes),
            sweeping: false,
        };
        Self {
            metrics,
            entries: Arc::new(Mutex::new(entries)),
        }
    }

    /// The value, if it was asked for less than `max_age` ago. Counted as a hit or a miss.
    pub(super) fn younger(
        &self,
        namespace: &Namespace,
        key: &K,
        max_age: Duration,
    ) -> Option<Arc<V>> {
        let found = self.find(namespace, key);
        let found = found.filter(|(_, since)| since.elapsed() < max_age);
        match found {
            Some(_) => self.metrics.hit(),
            None => self.metrics.miss(),
        }
        found.map(|(value, _)| value)
    }

    /// The value, if it has not ended, and when it was asked for.
    pub(super) fn find(&self, namespace: &Namespace, key: &K) -> Option<(Arc<V>, Instant)> {
        let mut entries = self.lock();
        let entry = entries.kept.get(namespace, key)?;
        (Instant::now() < entry.end).then(|| (Arc::clone(&entry.value), entry.since))
    }

    /// Keeps a value that was asked for at `since` for `life` from then on, in place of an older one. What is too large for
    /// the store is not kept.
    pub(super) fn put(
        &self,
        namespace: &Namespace,
        key: K,
        value: Arc<V>,
        since: Instant,
        life: Duration,
    ) {
        let (end, now) = (since + life, Instant::now());
        let mut entries = self.lock();
        let is_newer = |entry: &Entry<V>| entry.since > since;
        if end <= now || entries.kept.get(namespace, &key).is_some_and(is_newer) {
            return;
        }
        let entry = Entry { value, since, end };
        let gone = entries.kept.put(namespace, key, entry);
        self.metrics.evicted(gone.len());
        self.metrics.size(entries.kept.len(), entries.kept.bytes());
        if !entries.sweeping {
            entries.sweeping = true;
            let pause = (life / 4).clamp(SWEEP.0, SWEEP.1);
            let metrics = self.metrics.clone();
            tokio::spawn(sweep(Arc::downgrade(&self.entries), pause, metrics));
        }
    }

    /// Keeps a value no longer.
    pub(super) fn remove(&self, key: &K) {
        let mut entries = self.lock();
        entries.kept.remove(key);
        self.metrics.size(entries.kept.len(), entries.kept.bytes());
    }

    fn lock(&self) -> MutexGuard<'_, Entries<K, V>> {
        self.entries.lock()
    }
}

/// Drops what has ended, until there is nothing left.
async fn sweep<K: Clone + Eq + Hash, V: Weight>(
    entries: Weak<Mutex<Entries<K, V>>>,
    pause: Duration,
    metrics: ValueMetrics,
) {
    loop {
        tokio::time::sleep(pause).await;
        let Some(entries) = entries.upgrade() else {
            return;
        };
        let mut entries = entries.lock();
        let now = Instant::now();
        entries.kept.retain(|_, entry| now < entry.end);
        metrics.size(entries.kept.len(), entries.kept.bytes());
        if entries.kept.len() == 0 {
            entries.sweeping = false;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::metrics::Metrics;

    const SECOND: Duration = Duration::from_secs(1);

    impl Weight for String {
        fn weight(&self) -> usize {
            self.len()
        }
    }

    fn put(store: &Store<&'static str, String>, key: &'static str, bytes: usize) {
        let value = Arc::new("x".repeat(bytes));
        let now = Instant::now();
        store.put(&Namespace::default(), key, value, now, SECOND);
    }

    fn get(store: &Store<&'static str, String>, key: &'static str) -> Option<Arc<String>> {
        let found = store.find(&Namespace::default(), &key);
        found.map(|(value, _)| value)
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_are_bounded_and_what_was_used_longest_ago_goes_first() {
        let store = Store::new(10_000, Metrics::default().values(10_000));
        put(&store, "a", 4000);
        put(&store, "b", 4000);
        assert!(get(&store, "a").is_some());
        put(&store, "c", 4000);
        assert!(get(&store, "a").is_some() && get(&store, "b").is_none());
        put(&store, "d", 11_000);
        assert!(get(&store, "d").is_none(), "it is too large to be kept");
        store.remove(&"a");
        store.remove(&"a");
        assert!(get(&store, "a").is_none());
        assert_eq!(store.lock().kept.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_age_counts_from_when_it_was_asked_for() {
        let store = Store::new(10_000, Metrics::default().values(10_000));
        let (namespace, first) = (Namespace::default(), Instant::now());
        tokio::time::sleep(SECOND / 2).await;
        let second = Instant::now();
        let keep = |value: &str, since| {
            store.put(
                &namespace,
                "a",
                Arc::new(value.to_owned()),
                since,
                2 * SECOND,
            );
        };
        keep("new", second);
        // An answer that took longer is no newer.
        keep("old", first);
        assert_eq!(get(&store, "a").unwrap().as_str(), "new");
        tokio::time::sleep(SECOND / 2).await;
        assert!(store.younger(&namespace, &"a", SECOND).is_some());
        tokio::time::sleep(SECOND / 2).await;
        assert!(store.younger(&namespace, &"a", SECOND).is_none());
        assert!(get(&store, "a").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_ended_is_dropped_though_nobody_asks() {
        let store = Store::new(10_000, Metrics::default().values(10_000));
        put(&store, "a", 3);
        let value = Arc::downgrade(&get(&store, "a").unwrap());
        tokio::time::sleep(SECOND * 3 / 2).await;
        assert!(value.upgrade().is_none());
        assert!(!store.lock().sweeping);
        assert_eq!(store.lock().kept.bytes(), 0);
        put(&store, "b", 3);
        tokio::time::sleep(SECOND * 3 / 2).await;
        assert_eq!(store.lock().kept.len(), 0, "the sweep begins again");
    }
}
