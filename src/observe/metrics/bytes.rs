//! [`Bytes`], what mounts hold of the budget of bytes, as Prometheus asks.

use std::fmt;
use std::sync::{Arc, OnceLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::shares::{Budget, Load};

/// The budgets that are watched. Clones share everything.
#[derive(Clone, Debug, Default)]
pub(super) struct Bytes(Arc<OnceLock<[Budget; 2]>>);

impl Bytes {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let bytes = Self::default();
        registry.register_collector(Box::new(bytes.clone()));
        bytes
    }

    pub(super) fn watch(&self, budgets: [Budget; 2]) {
        _ = self.0.set(budgets);
    }
}

impl Collector for Bytes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(budgets) = self.0.get() else {
            return Ok(());
        };
        let loads = budgets.each_ref().map(Budget::load);
        let sum = |of: fn(&Load) -> usize| loads.iter().map(of).sum::<usize>();
        for (name, help, value) in [
            (
                "memory_budget_bytes",
                "The most bytes that mounts hold at once",
                sum(|load| load.total),
            ),
            (
                "memory_held_bytes",
                "Bytes that mounts hold, from their requests to their answers",
                sum(|load| load.held),
            ),
            (
                "memory_waiting_mounts",
                "Mounts that wait for bytes",
                sum(|load| load.waiting),
            ),
        ] {
            let gauge = ConstGauge::new(value as u64);
            let encoder = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(encoder)?;
        }
        Ok(())
    }
}
