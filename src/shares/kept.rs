//! [`Kept`], values by key up to so many bytes, of which each namespace pays for its own.

use std::collections::HashMap;
use std::hash::Hash;

use lru::LruCache;

use super::Namespace;

/// What an entry costs beside what its value says it weighs: keys, lists, allocations.
const OVERHEAD: usize = 256;

/// What a value weighs in memory.
pub trait Weight {
    /// The bytes on the heap and its own, roughly.
    fn weight(&self) -> usize;
}

/// Values by key, up to so many bytes in all.
///
/// What is too much goes from the namespace that has the most, the value first that was used longest ago. So a
/// namespace that keeps less than an equal share loses nothing to the others, and one that is alone may have all.
#[derive(Debug)]
pub struct Kept<K: Hash + Eq, V> {
    max_bytes: usize,
    bytes: usize,
    owners: HashMap<K, Namespace>,
    shares: HashMap<Namespace, Share<K, V>>,
}

#[derive(Debug)]
struct Share<K: Hash + Eq, V> {
    bytes: usize,
    entries: LruCache<K, Entry<V>>,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: usize,
}

impl<K: Clone + Hash + Eq, V: Weight> Kept<K, V> {
    /// Nothing yet.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            bytes: 0,
            owners: HashMap::new(),
            shares: HashMap::new(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.owners.len()
    }

    /// What they weigh.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The value, which counts as used.
    pub fn get(&mut self, key: &K) -> Option<&V> {
        let share = self.shares.get_mut(self.owners.get(key)?)?;
        share.entries.get(key).map(|entry| &entry.value)
    }

    /// The same, to be changed in what does not change its weight.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let share = self.shares.get_mut(self.owners.get(key)?)?;
        share.entries.get_mut(key).map(|entry| &mut entry.value)
    }

    /// Keeps a value, in place of an earlier one. Returns what had to go, the value itself if it is too large.
    pub fn put(&mut self, namespace: &Namespace, key: K, value: V) -> Vec<(K, V)> {
        self.remove(&key);
        let bytes = OVERHEAD + value.weight();
        if bytes > self.max_bytes {
            return vec![(key, value)];
        }
        let share = self.shares.entry(namespace.clone()).or_insert(Share {
            bytes: 0,
            entries: LruCache::unbounded(),
        });
        share.bytes += bytes;
        share.entries.put(key.clone(), Entry { value, bytes });
        self.owners.insert(key, namespace.clone());
        self.bytes += bytes;
        let mut gone = Vec::new();
        while self.bytes > self.max_bytes
            && let Some(key) = self.next_to_go()
        {
            let value = self.remove(&key);
            gone.extend(value.map(|value| (key, value)));
        }
        gone
    }

    /// Keeps a value no longer.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let namespace = self.owners.remove(key)?;
        let share = self.shares.get_mut(&namespace)?;
        let entry = share.entries.pop(key)?;
        share.bytes -= entry.bytes;
        self.bytes -= entry.bytes;
        if share.entries.is_empty() {
            self.shares.remove(&namespace);
        }
        Some(entry.value)
    }

    /// Keeps only those for which `keep` holds. Returns how many went.
    pub fn retain(&mut self, keep: impl Fn(&K, &V) -> bool) -> usize {
        let entries = self.shares.values().flat_map(|share| share.entries.iter());
        let gone: Vec<K> = entries
            .filter(|(key, entry)| !keep(key, &entry.value))
            .map(|(key, _)| key.clone())
            .collect();
        for key in &gone {
            self.remove(key);
        }
        gone.len()
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let entries = self.shares.values().flat_map(|share| share.entries.iter());
        entries.map(|(key, entry)| (key, &entry.value))
    }

    fn next_to_go(&self) -> Option<K> {
        let heaviest = self.shares.values().max_by_key(|share| share.bytes)?;
        heaviest.entries.peek_lru().map(|(key, _)| key.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Weight for usize {
        fn weight(&self) -> usize {
            *self
        }
    }

    fn kept(entries: usize) -> Kept<&'static str, usize> {
        Kept::new(entries * (OVERHEAD + 1000))
    }

    fn keys(kept: &Kept<&'static str, usize>) -> Vec<&'static str> {
        let mut keys: Vec<_> = kept.iter().map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn the_namespace_with_the_most_pays() {
        let (victim, attacker) = (Namespace::new("victim"), Namespace::new("attacker"));
        let mut kept = kept(4);
        kept.put(&victim, "v", 1000);
        for key in ["a", "b", "c", "d", "e"] {
            kept.put(&attacker, key, 1000);
        }
        assert_eq!(keys(&kept), ["c", "d", "e", "v"]);
        // Small ones are no way around it.
        let many: Vec<&'static str> = (0..100).map(|n| &*format!("s{n}").leak()).collect();
        for key in many {
            kept.put(&attacker, key, 0);
        }
        assert!(kept.get(&"v").is_some());
        assert!(kept.bytes() <= 4 * (OVERHEAD + 1000));
        // Nor is one that is larger than all there is.
        let gone = kept.put(&attacker, "huge", 1_000_000);
        assert_eq!(gone, [("huge", 1_000_000)]);
        assert!(kept.get(&"v").is_some());
    }

    #[test]
    fn one_that_is_alone_has_all_and_what_was_used_stays() {
        let alone = Namespace::new("alone");
        let mut kept = kept(3);
        for key in ["a", "b", "c"] {
            kept.put(&alone, key, 1000);
        }
        kept.get(&"a");
        assert_eq!(kept.put(&alone, "d", 1000), [("b", 1000)]);
        assert_eq!(keys(&kept), ["a", "c", "d"]);
    }

    #[test]
    fn what_goes_leaves_nothing() {
        let (one, other) = (Namespace::new("one"), Namespace::new("other"));
        let mut kept = kept(3);
        kept.put(&one, "a", 1000);
        // In place of it, and another one's now.
        kept.put(&other, "a", 500);
        assert_eq!((kept.len(), kept.bytes()), (1, OVERHEAD + 500));
        assert_eq!(kept.shares.len(), 1);
        kept.put(&one, "b", 10);
        assert_eq!(kept.retain(|_, weight| *weight > 10), 1);
        assert_eq!(kept.remove(&"a"), Some(500));
        assert_eq!((kept.len(), kept.bytes()), (0, 0));
        assert!(kept.shares.is_empty() && kept.owners.is_empty());
    }
}
