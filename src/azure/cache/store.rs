//! [`Store`], values by key, each until its end, up to so many bytes in all.
//!
//! What has ended is dropped by a sweep, not by whoever comes next, since what is kept here is secret.

use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use lru::LruCache;
use tokio::time::Instant;

use crate::observe::metrics::ValueMetrics;
use crate::os::lock::lock;

/// How often at most, and at least, what has ended is looked for.
const SWEEP: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// What a value weighs in memory.
pub trait Weight {
    /// The bytes, roughly.
    fn weight(&self) -> usize;
}

/// Values by key. Clones share everything.
pub struct Store<K, V> {
    max_bytes: usize,
    metrics: Option<ValueMetrics>,
    entries: Arc<Mutex<Entries<K, V>>>,
}

impl<K, V> Clone for Store<K, V> {
    fn clone(&self) -> Self {
        Self {
            max_bytes: self.max_bytes,
            metrics: self.metrics.clone(),
            entries: Arc::clone(&self.entries),
        }
    }
}

struct Entries<K, V> {
    /// The one used longest ago goes first.
    kept: LruCache<K, Kept<V>>,
    bytes: usize,
    sweeping: bool,
}

struct Kept<V> {
    value: Arc<V>,
    bytes: usize,
    since: Instant,
    end: Instant,
}

impl<K, V> Store<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Weight + Send + Sync + 'static,
{
    /// An empty store, which may be counted.
    pub fn new(max_bytes: usize, metrics: Option<ValueMetrics>) -> Self {
        let entries = Entries {
            kept: LruCache::unbounded(),
            bytes: 0,
            sweeping: false,
        };
        Self {
            max_bytes,
            metrics,
            entries: Arc::new(Mutex::new(entries)),
        }
    }

    /// The value, if it has not ended, and since when it is kept.
    pub fn get(&self, key: &K) -> Option<(Arc<V>, Instant)> {
        let found = self.find(key);
        if let Some(metrics) = &self.metrics {
            match found {
                Some(_) => metrics.hit(),
                None => metrics.miss(),
            }
        }
        found
    }

    /// The same, uncounted.
    pub fn find(&self, key: &K) -> Option<(Arc<V>, Instant)> {
        let mut entries = self.lock();
        let kept = entries.kept.get(key)?;
        (Instant::now() < kept.end).then(|| (Arc::clone(&kept.value), kept.since))
    }

    /// Keeps a value until its end, in place of an earlier one. What is too large for the store is not kept.
    pub fn put(&self, key: K, value: Arc<V>, end: Instant) {
        let (bytes, since) = (value.weight(), Instant::now());
        if bytes > self.max_bytes || end <= since {
            return;
        }
        let kept = Kept {
            value,
            bytes,
            since,
            end,
        };
        let mut entries = self.lock();
        entries.bytes += bytes;
        if let Some(old) = entries.kept.put(key, kept) {
            entries.bytes -= old.bytes;
        }
        while entries.bytes > self.max_bytes
            && let Some((_, oldest)) = entries.kept.pop_lru()
        {
            entries.bytes -= oldest.bytes;
            if let Some(metrics) = &self.metrics {
                metrics.evicted(1);
            }
        }
        if let Some(metrics) = &self.metrics {
            metrics.size(entries.kept.len(), entries.bytes);
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
        if let Some(kept) = entries.kept.pop(key) {
            entries.bytes -= kept.bytes;
        }
        if let Some(metrics) = &self.metrics {
            metrics.size(entries.kept.len(), entries.bytes);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries<K, V>> {
        lock(&self.entries)
    }
}

/// Drops what has ended, until there is nothing left.
async fn sweep<K: Clone + Eq + Hash, V>(
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
        let ended: Vec<K> = entries
            .kept
            .iter()
            .filter(|(_, kept)| kept.end <= now)
            .map(|(key, _)| key.clone())
            .collect();
        for key in ended {
            if let Some(kept) = entries.kept.pop(&key) {
                entries.bytes -= kept.bytes;
            }
        }
        if let Some(metrics) = &metrics {
            metrics.size(entries.kept.len(), entries.bytes);
        }
        if entries.kept.is_empty() {
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

    fn put(store: &Store<&'static str, String>, key: &'static str, value: &str) {
        let value = Arc::new(value.to_owned());
        store.put(key, value, Instant::now() + SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_are_bounded_and_what_was_used_longest_ago_goes_first() {
        let store = Store::new(10, None);
        put(&store, "a", "12345");
        put(&store, "b", "12345");
        assert!(store.get(&"a").is_some());
        put(&store, "c", "12345");
        assert!(store.get(&"a").is_some() && store.get(&"b").is_none());
        put(&store, "a", "1");
        assert_eq!(store.lock().bytes, 6);
        put(&store, "d", "12345678901");
        assert!(store.get(&"d").is_none(), "it is too large to be kept");
        store.remove(&"a");
        store.remove(&"a");
        assert!(store.get(&"a").is_none());
        assert_eq!(store.lock().bytes, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_ended_is_dropped_though_nobody_asks() {
        let store = Store::new(100, None);
        put(&store, "a", "one");
        let value = Arc::downgrade(&store.get(&"a").unwrap().0);
        tokio::time::sleep(SECOND * 3 / 2).await;
        assert!(value.upgrade().is_none());
        assert!(!store.lock().sweeping);
        assert_eq!(store.lock().bytes, 0);
        put(&store, "b", "two");
        tokio::time::sleep(SECOND * 3 / 2).await;
        assert_eq!(store.lock().kept.len(), 0, "the sweep begins again");
    }
}
