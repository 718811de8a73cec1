//! [`Classes`], when each SecretProviderClass last came out and last failed, and when what it mounted expires.
//!
//! The only metrics with names in their labels, so their number has a bound: the class that has not been
//! mounted for longest makes room, of the namespace that has the most.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, MutexGuard};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use time::OffsetDateTime;

use crate::observe::metrics::Cache;
use crate::observe::metrics::caches::{CacheMetrics, Caches};
use crate::shares::{Kept, Namespace, Weight};
use crate::text::excerpt::plain;

/// The most characters of a namespace's name, as Kubernetes has it.
const MAX_NAMESPACE: usize = 63;
/// The most characters of a class's name.
const MAX_CLASS: usize = 253;

/// A class, as its labels have it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClassName {
    namespace: String,
    class: String,
}

impl ClassName {
    /// Nothing where the caller does not say which class it is.
    pub(super) fn new(namespace: &str, class: &str) -> Option<Self> {
        (!class.is_empty()).then(|| Self {
            namespace: plain(namespace, MAX_NAMESPACE),
            class: plain(class, MAX_CLASS),
        })
    }
}

/// What is known of one class, in Unix time.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    success: Option<f64>,
    failure: Option<f64>,
    expiry: Option<f64>,
}

impl Weight for Times {
    /// All weigh the same.
    fn weight(&self) -> usize {
        0
    }
}

/// The classes that were mounted. Clones share everything.
#[derive(Clone, Debug)]
pub(super) struct Classes {
    known: Arc<Mutex<Kept<ClassName, Times>>>,
    metrics: CacheMetrics,
}

impl Classes {
    /// At most so many classes; nothing where that is none.
    pub(super) fn registered(registry: &mut Registry, max: usize, caches: &Caches) -> Option<Self> {
        if max == 0 {
            return None;
        }
        let classes = Self {
            known: Arc::new(Mutex::new(Kept::for_entries(max))),
            metrics: caches.register(Cache::Classes, max),
        };
        registry.register_collector(Box::new(classes.clone()));
        Some(classes)
    }

    /// The class came out; the first of what it mounted expires then.
    pub(super) fn succeeded(&self, class: ClassName, earliest_expiry: Option<OffsetDateTime>) {
        self.change(class, |times| {
            times.success = now();
            times.expiry = earliest_expiry.map(|expiry| seconds(expiry.unix_timestamp()));
        });
    }

    /// The class failed. What it mounted before is still there.
    pub(super) fn failed(&self, class: ClassName) {
        self.change(class, |times| times.failure = now());
    }

    fn change(&self, class: ClassName, change: impl FnOnce(&mut Times)) {
        let namespace = Namespace::new(&class.namespace);
        let mut known = self.known();
        if let Some(times) = known.get_mut(&namespace, &class) {
            change(times);
            return;
        }
        let mut times = Times::default();
        change(&mut times);
        let gone = known.put(&namespace, class, times);
        self.metrics.evicted(gone.len());
        self.metrics.size(known.len(), known.bytes());
    }

    fn known(&self) -> MutexGuard<'_, Kept<ClassName, Times>> {
        self.known.lock()
    }
}

fn now() -> Option<f64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(since.as_secs_f64())
}

/// Times are far from where the two types differ.
#[allow(clippy::cast_precision_loss)]
fn seconds(unix: i64) -> f64 {
    unix as f64
}

impl Collector for Classes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        type Value = fn(&Times) -> Option<f64>;
        let known = self.known();
        let gauges: [(&str, &str, Value); 3] = [
            (
                "class_last_success_timestamp_seconds",
                "When the class was last mounted",
                |times| times.success,
            ),
            (
                "class_last_failure_timestamp_seconds",
                "When a mount of the class last failed",
                |times| times.failure,
            ),
            (
                "class_earliest_expiry_timestamp_seconds",
                "When the first of the objects expires that the class last mounted",
                |times| times.expiry,
            ),
        ];
        for (name, help, value) in gauges {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (class, times) in known.iter() {
                if let Some(value) = value(times) {
                    let labels = [
                        ("namespace", class.namespace.as_str()),
                        ("class", class.class.as_str()),
                    ];
                    family.encode_family(&labels)?.encode_gauge(&value)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use time::OffsetDateTime;
    use tonic::Code;

    use crate::observe::metrics::{Metrics, MetricsSettings};

    fn metrics(max_classes: usize) -> Metrics {
        Metrics::new(MetricsSettings {
            max_classes,
            ..MetricsSettings::default()
        })
    }

    fn mount(metrics: &Metrics, namespace: &str, class: &str, expiry: Option<i64>) {
        let mut mounting = metrics.mount(Arc::default());
        mounting.set_class(namespace, class);
        let expiry = expiry.map(|unix| OffsetDateTime::from_unix_timestamp(unix).unwrap());
        mounting.succeeded(expiry);
    }

    #[test]
    fn a_class_has_its_times() {
        let metrics = metrics(10);
        mount(&metrics, "chat", "kv", Some(2_000_000_000));
        let mut failing = metrics.mount(Arc::default());
        failing.set_class("chat", "broken");
        failing.failed(Code::FailedPrecondition, "KV_THROTTLED");
        let mut left = metrics.mount(Arc::default());
        left.set_class("chat", "left");
        drop(left);
        // One whose caller does not say which class it is.
        mount(&metrics, "chat", "", None);
        let page = metrics.page().unwrap();
        for series in [
            "class_last_success_timestamp_seconds{namespace=\"chat\",class=\"kv\"} ",
            "class_last_failure_timestamp_seconds{namespace=\"chat\",class=\"broken\"} ",
            "class_earliest_expiry_timestamp_seconds{namespace=\"chat\",class=\"kv\"} 2000000000.0\n",
        ] {
            assert!(page.contains(series), "{series}{page}");
        }
        assert_eq!(page.matches("class=\"").count(), 3, "{page}");
        // What expires no more has no series.
        mount(&metrics, "chat", "kv", None);
        assert!(
            !metrics
                .page()
                .unwrap()
                .contains("earliest_expiry_timestamp_seconds{")
        );
    }

    #[test]
    fn their_number_and_their_names_are_bounded() {
        let metrics = metrics(3);
        for n in 0..100 {
            mount(&metrics, "chat", &format!("class-{n}"), None);
        }
        mount(&metrics, "a\"b\\c\nd\u{202e}e", &"x".repeat(5000), None);
        let page = metrics.page().unwrap();
        assert_eq!(page.matches("namespace=\"").count(), 3, "{page}");
        assert!(page.contains("class=\"class-99\""), "{page}");
        assert!(
            page.contains("cache_evictions_total{cache=\"classes\"} 98\n"),
            "{page}"
        );
        let hostile = page.lines().find(|line| line.contains("xxx")).unwrap();
        assert!(hostile.len() < 500, "{hostile}");
        // Escaped once as foreign text, and once more as a label.
        let namespace = r#"namespace="a\\\"b\\\\c\\nd\\u{202e}e""#;
        assert!(hostile.contains(namespace), "{hostile}");
    }

    #[test]
    fn the_classes_of_one_namespace_push_out_no_others() {
        let metrics = metrics(10);
        mount(&metrics, "chat", "kv", None);
        for n in 0..500 {
            mount(&metrics, "attacker", &format!("junk-{n}"), None);
        }
        let page = metrics.page().unwrap();
        assert!(page.contains("{namespace=\"chat\",class=\"kv\"}"), "{page}");
        assert_eq!(page.matches("namespace=\"").count(), 10, "{page}");
    }

    #[test]
    fn none_is_none() {
        let metrics = metrics(0);
        mount(&metrics, "chat", "kv", Some(2_000_000_000));
        assert!(!metrics.page().unwrap().contains("class"));
    }
}
