//! [`OutageMetrics`], how often something else than a class's vault answered. [`crate::mount`] has the handle.

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
}

impl OutageMetrics {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let answers = Family::<Labels<1>, Counter>::default();
        registry.register(
            "outage_answers",
            "Mounts answered although their vault was out of order",
            answers.clone(),
        );
        Self {
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
