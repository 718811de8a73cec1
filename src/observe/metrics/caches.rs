//! [`CacheMetrics`], how full a cache is. Each cache has a handle, and says what it does to itself.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::observe::metrics::Labels;

/// What is kept between mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// Identities with their tokens.
    Credentials,
    /// Vaults, each as each identity.
    Vaults,
    /// What vaults say to a request without a token.
    Challenges,
    /// Servers with their connections.
    Servers,
    /// What vaults gave.
    Values,
    /// Classes that have metrics of their own.
    Classes,
}

impl Cache {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Vaults => "vaults",
            Self::Challenges => "challenges",
            Self::Servers => "servers",
            Self::Values => "values",
            Self::Classes => "classes",
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Caches {
    entries: Family<Labels<1>, Gauge>,
    capacity: Family<Labels<1>, Gauge>,
    evictions: Family<Labels<1>, Counter>,
    bytes: Family<Labels<1>, Gauge>,
}

impl Caches {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let caches = Self::default();
        registry.register(
            "cache_entries",
            "Entries of a cache",
            caches.entries.clone(),
        );
        registry.register(
            "cache_capacity",
            "The most that a cache keeps: entries, or bytes where there are cache_bytes",
            caches.capacity.clone(),
        );
        registry.register(
            "cache_evictions",
            "Entries that had to make room for others",
            caches.evictions.clone(),
        );
        registry.register(
            "cache_bytes",
            "Bytes of what a cache keeps",
            caches.bytes.clone(),
        );
        caches
    }

    /// How full this cache is, which can have so many entries.
    pub(super) fn register(&self, cache: Cache, capacity: usize) -> CacheMetrics {
        let label = [("cache", cache.as_str())];
        self.capacity.get_or_create(&label).set(gauge(capacity));
        CacheMetrics {
            entries: self.entries.get_or_create_owned(&label),
            evictions: self.evictions.get_or_create_owned(&label),
            bytes: None,
        }
    }

    /// The same of one that can have so many bytes.
    pub(super) fn register_weighed(&self, cache: Cache, max_bytes: usize) -> CacheMetrics {
        CacheMetrics {
            bytes: Some(self.bytes.get_or_create_owned(&[("cache", cache.as_str())])),
            ..self.register(cache, max_bytes)
        }
    }
}

/// How full a cache is.
#[derive(Clone, Debug)]
pub struct CacheMetrics {
    entries: Gauge,
    evictions: Counter,
    bytes: Option<Gauge>,
}

impl CacheMetrics {
    /// So many entries had to make room.
    pub fn evicted(&self, entries: usize) {
        self.evictions.inc_by(entries as u64);
    }

    /// There are so many entries now, of so many bytes.
    pub fn size(&self, entries: usize, bytes: usize) {
        self.entries.set(gauge(entries));
        if let Some(of_cache) = &self.bytes {
            of_cache.set(gauge(bytes));
        }
    }
}

/// Sizes are far from where the two types differ.
pub(super) fn gauge(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::Cache;
    use crate::observe::metrics::Metrics;

    #[test]
    fn a_cache_says_how_full_it_is_and_what_had_to_go() {
        let metrics = Metrics::default();
        let servers = metrics.cache(Cache::Servers, 2);
        for (entries, gone) in [(1, 0), (2, 0), (2, 1), (2, 1)] {
            servers.evicted(gone);
            servers.size(entries, 0);
        }
        let page = metrics.page().unwrap();
        for series in [
            "cache_entries{cache=\"servers\"} 2\n",
            "cache_capacity{cache=\"servers\"} 2\n",
            "cache_evictions_total{cache=\"servers\"} 2\n",
        ] {
            assert!(page.contains(series), "{series}{page}");
        }
    }
}
