//! [`Metrics`], what this process counts, for Prometheus to read.
//!
//! [`crate::commands`] makes one and hands it to what counts: [`crate::server::service`] its mounts,
//! [`crate::transport`] and [`crate::azure::limiter`] what is asked of Azure, and whoever keeps something its
//! caches. They get handles whose counters are resolved already, so that counting costs an addition.
//!
//! How many series there are at most is known before the first mount. No label has the name of a vault, an
//! object or a pod: these are many, they are nobody's business who may only scrape, and the log has them.
//! Only `classes` names namespaces and classes, as many as the operator wants.

mod bytes;
mod caches;
mod classes;
mod cluster;
mod compat;
mod endpoint;
mod mounts;
mod outages;
mod process;
mod spelling;
mod traffic;
mod values;

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::text;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::observe::metrics::bytes::Bytes;
use crate::observe::metrics::caches::Caches;
use crate::observe::metrics::classes::Classes;
use crate::observe::metrics::cluster::Rotators;
use crate::observe::metrics::compat::Compat;
use crate::observe::metrics::mounts::Mounts;
use crate::observe::metrics::process::Process;
use crate::observe::metrics::values::Values;
use crate::observe::phases::Phases;
use crate::shares::Budget;

pub use caches::{Cache, CacheMetrics};
pub use cluster::{EventMetrics, EventOutcome, Rotator};
pub use compat::ObjectRequests;
pub use endpoint::serve;
pub use mounts::Mounting;
pub use outages::OutageMetrics;
pub use spelling::spelling;
pub use traffic::{AzureService, Traffic};
pub use values::ValueMetrics;

/// Before the names of all metrics that are not about the process in general.
const PREFIX: &str = "provider_azure_rs";

/// Names and values.
type Labels<const N: usize> = [(&'static str, &'static str); N];

/// What this process counts. Clones share everything.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    mounts: Mounts,
    traffic: [Arc<Traffic>; AzureService::ALL.len()],
    caches: Caches,
    values: Values,
    outages: OutageMetrics,
    events: EventMetrics,
    rotators: Rotators,
    compat: Option<Compat>,
    bytes: Bytes,
}

/// What the operator decides about metrics. By default, nothing that has to be asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct MetricsSettings {
    /// The most classes that have metrics of their own.
    pub max_classes: usize,
    /// Whether the Go provider's metrics are there too.
    pub compat: bool,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(MetricsSettings::default())
    }
}

impl Metrics {
    /// Nothing has happened yet.
    pub fn new(settings: MetricsSettings) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process::starts_now()));
        let compat = settings.compat.then(|| Compat::registered(&mut registry));
        let ours = registry.sub_registry_with_prefix(PREFIX);
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        ours.register("build", "The program", Info::new(version));
        let (caches, values) = (Caches::registered(ours), Values::registered(ours));
        let classes = Classes::registered(ours, settings.max_classes, &caches);
        let (mounts, traffic) = (
            Mounts::registered(ours, classes, compat.clone()),
            traffic::registered(ours),
        );
        let outages = OutageMetrics::registered(ours);
        let events = EventMetrics::registered(ours);
        let bytes = Bytes::registered(ours);
        let rotators = Rotators::registered(ours);
        Self(Arc::new(Inner {
            registry,
            mounts,
            traffic,
            caches,
            values,
            outages,
            events,
            rotators,
            compat,
            bytes,
        }))
    }

    /// A mount begins, which has these phases.
    pub fn mount(&self, phases: Arc<Phases>) -> Mounting<'_> {
        self.0.mounts.begin(phases)
    }

    /// Counts what is asked of a service.
    pub fn traffic(&self, service: AzureService) -> Arc<Traffic> {
        Arc::clone(&self.0.traffic[service as usize])
    }

    /// Counts what is in a cache that has room for so many entries.
    pub fn cache(&self, cache: Cache, capacity: usize) -> CacheMetrics {
        self.0.caches.register(cache, capacity)
    }

    /// The same of one that has room for so many bytes.
    pub fn weighed_cache(&self, cache: Cache, max_bytes: usize) -> CacheMetrics {
        self.0.caches.register_weighed(cache, max_bytes)
    }

    /// Tells what is held of messages' and of mounts' budgets.
    pub fn watch(&self, budgets: [Budget; 2]) {
        self.0.bytes.watch(budgets);
    }

    /// Everything as of now, in the text form of `OpenMetrics` 1.0.
    fn page(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.0.registry)?;
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::class::object::ObjectKind;

    /// What `docs/metrics.md` has in the first column of its tables.
    fn documented() -> BTreeSet<String> {
        let rows = include_str!("../../docs/metrics.md").lines();
        rows.filter_map(|row| row.strip_prefix("| `")?.split('`').next())
            // A label by itself is no metric.
            .filter(|name| name.contains('_'))
            .map(str::to_owned)
            .collect()
    }

    #[tokio::test]
    async fn the_documentation_has_the_metrics_that_are_served_and_no_others() {
        let metrics = Metrics::new(MetricsSettings {
            max_classes: 1,
            compat: true,
        });
        metrics.mount(Arc::default()).succeeded(None);
        let request = async { Ok::<_, ()>(()) };
        let requests = metrics.object_requests();
        let counted = requests.count(ObjectKind::Secret, request, |()| "");
        counted.await.unwrap();
        metrics.watch([(); 2].map(|()| Budget::new(1, 1)));
        let _caches = (metrics.cache(Cache::Servers, 1), metrics.values(1));
        let page = metrics.page().unwrap();
        let served: BTreeSet<_> = page
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
            .map(|(name, kind)| match kind {
                "counter" => format!("{name}_total"),
                "info" => format!("{name}_info"),
                _ => name.to_owned(),
            })
            .collect();
        assert_eq!(served, documented());
    }
}
