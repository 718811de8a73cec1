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
///
/// A value that several namespaces use is paid by the one that had it first. Before it goes for what else that one
/// keeps, it is handed to the last of the others, if that one has less.
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
    /// The last namespace that used it besides the one that pays.
    other: Option<Namespace>,
}

impl<K: Clone + Hash + Eq, V: Weight> Kept<K, V> {
    pub fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            bytes: 0,
            owners: HashMap::new(),
            shares: HashMap::new(),
        }
    }

    /// The same, for so many values that weigh nothing beside what each of them costs.
    pub fn for_entries(max: usize) -> Self {
        Self::new(max * OVERHEAD)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.owners.len()
    }

    /// What they weigh.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The value, which counts as used by this namespace.
    pub fn get(&mut self, namespace: &Namespace, key: &K) -> Option<&V> {
        self.get_mut(namespace, key).map(|value| &*value)
    }

    /// The same, to be changed in what does not change its weight.
    pub fn get_mut(&mut self, namespace: &Namespace, key: &K) -> Option<&mut V> {
        let owner = self.owners.get(key)?;
        let entry = self.shares.get_mut(owner)?.entries.get_mut(key)?;
        if owner != namespace {
            entry.other = Some(namespace.clone());
        }
        Some(&mut entry.value)
    }

    /// Keeps a value for a namespace, or in place of an earlier one for those who had that. Returns what had to go: the value
    /// itself if it is too large, and then an earlier one stays.
    pub fn put(&mut self, namespace: &Namespace, key: K, value: V) -> Vec<(K, V)> {
        let bytes = OVERHEAD + value.weight();
        if bytes > self.max_bytes {
            return vec![(key, value)];
        }
        let (owner, other) = match self.take(&key) {
            Some((owner, _)) if owner != *namespace => (owner, Some(namespace.clone())),
            Some((owner, earlier)) => (owner, earlier.other),
            None => (namespace.clone(), None),
        };
        let entry = Entry {
            value,
            bytes,
            other,
        };
        self.give(owner, key, entry);
        let mut gone = Vec::new();
        while self.bytes > self.max_bytes
            && let Some(key) = self.next_to_go()
            && let Some((owner, mut entry)) = self.take(&key)
        {
            // Once at most, so that there is an end.
            match entry.other.take() {
                Some(heir) if self.bytes_of(&heir) < self.bytes_of(&owner) => {
                    self.give(heir, key, entry);
                }
                _ => gone.push((key, entry.value)),
            }
        }
        gone
    }

    /// Keeps a value no longer.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.take(key).map(|(_, entry)| entry.value)
    }

    fn give(&mut self, owner: Namespace, key: K, entry: Entry<V>) {
        self.bytes += entry.bytes;
        self.owners.insert(key.clone(), owner.clone());
        let share = self.shares.entry(owner).or_insert_with(|| Share {
            bytes: 0,
            entries: LruCache::unbounded(),
        });
        share.bytes += entry.bytes;
        share.entries.put(key, entry);
    }

    fn take(&mut self, key: &K) -> Option<(Namespace, Entry<V>)> {
        let owner = self.owners.remove(key)?;
        let share = self.shares.get_mut(&owner)?;
        let entry = share.entries.pop(key)?;
        share.bytes -= entry.bytes;
        self.bytes -= entry.bytes;
        if share.entries.is_empty() {
            self.shares.remove(&owner);
        }
        Some((owner, entry))
    }

    fn bytes_of(&self, namespace: &Namespace) -> usize {
        self.shares.get(namespace).map_or(0, |share| share.bytes)
    }

    /// Keeps only those for which `keep` holds.
    pub fn retain(&mut self, keep: impl Fn(&K, &V) -> bool) {
        let entries = self.shares.values().flat_map(|share| share.entries.iter());
        let gone: Vec<K> = entries
            .filter(|(key, entry)| !keep(key, &entry.value))
            .map(|(key, _)| key.clone())
            .collect();
        for key in &gone {
            self.remove(key);
        }
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
        assert!(kept.get(&victim, &"v").is_some());
        assert!(kept.bytes() <= 4 * (OVERHEAD + 1000));
        // Nor is one that is larger than all there is.
        let gone = kept.put(&attacker, "huge", 1_000_000);
        assert_eq!(gone, [("huge", 1_000_000)]);
        kept.put(&attacker, "v", 1_000_000);
        assert!(kept.get(&victim, &"v").is_some());
    }

    #[test]
    fn what_others_use_too_is_not_flooded_away() {
        let (victim, attacker) = (Namespace::new("victim"), Namespace::new("attacker"));
        for first in [&victim, &attacker] {
            let mut kept = kept(4);
            kept.put(first, "shared", 1000);
            kept.get(&victim, &"shared");
            // Neither by using it nor by putting it anew does the attacker get it.
            kept.get(&attacker, &"shared");
            kept.put(&attacker, "shared", 1000);
            if *first == attacker {
                kept.get(&victim, &"shared");
            }
            for key in ["a", "b", "c", "d", "e", "f"] {
                kept.put(&attacker, key, 1000);
            }
            assert_eq!(keys(&kept), ["d", "e", "f", "shared"]);
            assert_eq!(kept.bytes_of(&victim), OVERHEAD + 1000);
        }
    }

    #[test]
    fn an_owner_that_puts_it_anew_takes_it_from_nobody() {
        let (victim, attacker) = (Namespace::new("victim"), Namespace::new("attacker"));
        let mut kept = kept(4);
        kept.put(&attacker, "shared", 1000);
        kept.get(&victim, &"shared");
        kept.put(&attacker, "shared", 1000);
        for key in ["a", "b", "c", "d", "e", "f"] {
            kept.put(&attacker, key, 1000);
        }
        assert_eq!(keys(&kept), ["d", "e", "f", "shared"]);
        assert_eq!(kept.bytes_of(&victim), OVERHEAD + 1000);
    }

    #[test]
    fn entries_can_be_counted() {
        let one = Namespace::new("one");
        let mut kept = Kept::for_entries(2);
        for key in 0..5 {
            kept.put(&one, key, 0);
        }
        assert_eq!(kept.len(), 2);
    }

    #[test]
    fn one_that_is_alone_has_all_and_what_was_used_stays() {
        let alone = Namespace::new("alone");
        let mut kept = kept(3);
        for key in ["a", "b", "c"] {
            kept.put(&alone, key, 1000);
        }
        kept.get(&alone, &"a");
        assert_eq!(kept.put(&alone, "d", 1000), [("b", 1000)]);
        assert_eq!(keys(&kept), ["a", "c", "d"]);
    }

    #[test]
    fn what_goes_leaves_nothing() {
        let (one, other) = (Namespace::new("one"), Namespace::new("other"));
        let mut kept = kept(3);
        kept.put(&one, "a", 1000);
        kept.put(&other, "a", 500);
        assert_eq!((kept.len(), kept.bytes()), (1, OVERHEAD + 500));
        assert_eq!(kept.shares.len(), 1);
        kept.put(&other, "b", 10);
        kept.retain(|_, weight| *weight > 10);
        assert_eq!(kept.len(), 1);
        assert_eq!(kept.remove(&"a"), Some(500));
        assert_eq!((kept.len(), kept.bytes()), (0, 0));
        assert!(kept.shares.is_empty() && kept.owners.is_empty());
    }
}
