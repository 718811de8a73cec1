//! [`OutageMetrics`], how often something else answered than a class's vault, or DNS. [`crate::mount`] and
//! [`crate::transport`] have the handle.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::observe::metrics::{Labels, Metrics};

/// Mounts that were answered although their vault was out of order.
#[derive(Clone, Debug)]
pub struct OutageMetrics {
    /// By the failover vault.
    pub failover: Counter,
    /// By what was there before.
    pub memory: Counter,
    /// Lookups of names that DNS did not answer, and earlier addresses did.
    pub addresses: Counter,
}

impl OutageMetrics {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let answers = Family::<Labels<1>, Counter>::default();
        registry.register(
            "outage_answers",
            "Mounts answered although their vault was out of order",
            answers.clone(),
        );
        let addresses = Counter::default();
        registry.register(
            "outage_lookups",
            "Lookups that DNS did not answer, where the last known addresses served",
            addresses.clone(),
        );
        Self {
            addresses,
            failover: answers.get_or_create_owned(&[("source", "failover")]),
            memory: answers.get_or_create_owned(&[("source", "memory")]),
        }
    }
}

impl Metrics {
    /// Counts what was answered in outages.
    pub fn outages(&self) -> &OutageMetrics {
        &self.0.outages
    }
}
