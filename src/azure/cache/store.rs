//! [`Store`], values by key, each until its end, up to so many bytes in all, of which each namespace pays for its own.
//!
//! What has ended is dropped by a sweep, not by whoever comes next, since what is kept here is secret.

use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::observe::metrics::ValueMetrics;
use crate::os::lock::lock;
use crate::shares::{Kept, Namespace, Weight};

/// How often at most, and at least, what has ended is looked for.
const SWEEP: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Values by key. Clones share everything.
pub struct Store<K: Eq + Hash, V> {
    metrics: Option<ValueMetrics>,
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
    /// An empty store, which may be counted.
    pub fn new(max_bytes: usize, metrics: Option<ValueMetrics>) -> Self {
        let entries = Entries {
            kept: Kept::new(max_bytes),
            sweeping: false,
        };
        Self {
            metrics,
            entries: Arc::new(Mutex::new(entries)),
        }
    }

    /// The value, if it has not ended, and since when it is kept.
    pub fn get(&self, namespace: &Namespace, key: &K) -> Option<(Arc<V>, Instant)> {
        let found = self.find(namespace, key);
        if let Some(metrics) = &self.metrics {
            match found {
                Some(_) => metrics.hit(),
                None => metrics.miss(),
            }
        }
        found
    }

    /// The same, uncounted.
    pub fn find(&self, namespace: &Namespace, key: &K) -> Option<(Arc<V>, Instant)> {
        let mut entries = self.lock();
        let entry = entries.kept.get(namespace, key)?;
        (Instant::now() < entry.end).then(|| (Arc::clone(&entry.value), entry.since))
    }

    /// Keeps a value until its end, in place of an earlier one. What is too large for the store is not kept.
    pub fn put(&self, namespace: &Namespace, key: K, value: Arc<V>, end: Instant) {
        let since = Instant::now();
        if end <= since {
            return;
        }
        let entry = Entry { value, since, end };
        let mut entries = self.lock();
        let gone = entries.kept.put(namespace, key, entry);
        if let Some(metrics) = &self.metrics {
            metrics.evicted(gone.len());
            metrics.size(entries.kept.len(), entries.kept.bytes());
        }
        if !entries.sweeping {
            entries.sweeping = true;
            let pause = ((end - since) / 4).clamp(SWEEP.0, SWEEP.1);
            let metrics = self.metrics.clone();
            tokio::spawn(sweep(Arc::downgrade(&self.entries), pause, metrics));
        }
    }

    /// Keeps a value no longer.
    pub fn remove(&self, key: &K) {
        let mut entries = self.lock();
        entries.kept.remove(key);
        if let Some(metrics) = &self.metrics {
            metrics.size(entries.kept.len(), entries.kept.bytes());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries<K, V>> {
        lock(&self.entries)
    }
}

/// Drops what has ended, until there is nothing left.
async fn sweep<K: Clone + Eq + Hash, V: Weight>(
    entries: Weak<Mutex<Entries<K, V>>>,
    pause: Duration,
    metrics: Option<ValueMetrics>,
) {
    loop {
        tokio::time::sleep(pause).await;
        let Some(entries) = entries.upgrade() else {
            return;
        };
        let mut entries = lock(&entries);
        let now = Instant::now();
        entries.kept.retain(|_, entry| now < entry.end);
        if let Some(metrics) = &metrics {
            metrics.size(entries.kept.len(), entries.kept.bytes());
        }
        if entries.kept.len() == 0 {
            entries.sweeping = false;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    impl Weight for String {
        fn weight(&self) -> usize {
            self.len()
        }
    }

    fn put(store: &Store<&'static str, String>, key: &'static str, bytes: usize) {
        let value = Arc::new("x".repeat(bytes));
        let end = Instant::now() + SECOND;
        store.put(&Namespace::default(), key, value, end);
    }

    fn get(store: &Store<&'static str, String>, key: &'static str) -> Option<Arc<String>> {
        let found = store.get(&Namespace::default(), &key);
        found.map(|(value, _)| value)
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_are_bounded_and_what_was_used_longest_ago_goes_first() {
        let store = Store::new(10_000, None);
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
    async fn what_has_ended_is_dropped_though_nobody_asks() {
        let store = Store::new(10_000, None);
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
