//! [`ValueMetrics`], how full the cache of the vaults' values is and what it is good for. Only that cache has
//! the handle; until there is one, nothing of it is on the page.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::observe::metrics::caches::CacheMetrics;
use crate::observe::metrics::{Cache, Labels, Metrics};

/// What only the cache of values has.
#[derive(Debug, Default)]
pub(super) struct Values {
    hits: Family<Labels<1>, Counter>,
    misses: Family<Labels<1>, Counter>,
}

impl Values {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let values = Self::default();
        let (hits, misses) = (values.hits.clone(), values.misses.clone());
        registry.register("cache_hits", "Values that a cache had", hits);
        registry.register("cache_misses", "Values that a cache did not have", misses);
        values
    }
}

impl Metrics {
    /// Counts what is in the cache of values, which has room for so many.
    pub fn values(&self, capacity: usize) -> ValueMetrics {
        let label = [("cache", Cache::Values.as_str())];
        let values = &self.0.values;
        ValueMetrics {
            cache: self.weighed_cache(Cache::Values, capacity),
            hits: values.hits.get_or_create_owned(&label),
            misses: values.misses.get_or_create_owned(&label),
        }
    }
}

/// How full the cache of values is, and what it is good for.
#[derive(Clone, Debug)]
pub struct ValueMetrics {
    cache: CacheMetrics,
    hits: Counter,
    misses: Counter,
}

impl ValueMetrics {
    /// A value was there.
    pub fn hit(&self) {
        self.hits.inc();
    }

    /// A value was not there.
    pub fn miss(&self) {
        self.misses.inc();
    }

    /// So many values had to make room.
    pub fn evicted(&self, values: usize) {
        self.cache.evicted(values);
    }

    /// There are so many values now, of so many bytes.
    pub fn size(&self, entries: usize, bytes: usize) {
        self.cache.size(entries, bytes);
    }
}

#[cfg(test)]
mod tests {
    use crate::observe::metrics::Metrics;

    #[test]
    fn the_cache_of_values_is_on_the_page_once_there_is_one() {
        let metrics = Metrics::default();
        assert!(!metrics.page().unwrap().contains("\"values\""));
        let values = metrics.values(100);
        values.hit();
        values.hit();
        values.miss();
        values.evicted(3);
        values.size(7, 512);
        let page = metrics.page().unwrap();
        for series in [
            "cache_hits_total{cache=\"values\"} 2\n",
            "cache_misses_total{cache=\"values\"} 1\n",
            "cache_evictions_total{cache=\"values\"} 3\n",
            "cache_entries{cache=\"values\"} 7\n",
            "cache_bytes{cache=\"values\"} 512\n",
            "cache_capacity{cache=\"values\"} 100\n",
        ] {
            assert!(page.contains(series), "{series}{page}");
        }
    }
}
