//! [`EventMetrics`], what comes of the events that pods are to be told, which [`crate::cluster`] has the handle of, and
//! [`Rotator`], whom [`crate::server::service`] sees rotate.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::observe::metrics::{Labels, Metrics};

/// What comes of an event in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventOutcome {
    /// It is there, for the first time.
    Created,
    /// It was there, and says now that it goes on.
    Refreshed,
    /// The API server refuses it.
    Refused,
    /// The API server did not take it, however often it was tried.
    Failed,
    /// There were too many.
    Dropped,
}

impl EventOutcome {
    const ALL: [Self; 5] = [
        Self::Created,
        Self::Refreshed,
        Self::Refused,
        Self::Failed,
        Self::Dropped,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Refreshed => "refreshed",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

/// How many events came to which end.
#[derive(Clone, Debug)]
pub struct EventMetrics([Counter; EventOutcome::ALL.len()]);

impl EventMetrics {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let outcomes = Family::<Labels<1>, Counter>::default();
        registry.register(
            "pod_events",
            "Events at pods by what came of them",
            outcomes.clone(),
        );
        Self(
            EventOutcome::ALL
                .map(|outcome| outcomes.get_or_create_owned(&[("outcome", outcome.as_str())])),
        )
    }

    /// So many events came to this end.
    pub fn count(&self, outcome: EventOutcome, events: usize) {
        self.0[outcome as usize].inc_by(events as u64);
    }

    /// How many have so far.
    #[cfg(test)]
    pub fn counted(&self, outcome: EventOutcome) -> u64 {
        self.0[outcome as usize].get()
    }
}

/// Who has a volume rotated, and so whether pods are told of it by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotator {
    /// A driver before 1.6, which tells pods of it too.
    Driver,
    /// The kubelet, which tells nobody.
    Kubelet,
}

impl Rotator {
    const ALL: [Self; 2] = [Self::Driver, Self::Kubelet];

    /// The value of its label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Driver => "driver",
            Self::Kubelet => "kubelet",
        }
    }
}

/// Who rotates on this node: 1 for the one who did last.
#[derive(Clone, Debug)]
pub(super) struct Rotators([Gauge; Rotator::ALL.len()]);

impl Rotators {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let rotators = Family::<Labels<1>, Gauge>::default();
        registry.register(
            "rotator",
            "1 for who had a volume rotated last",
            rotators.clone(),
        );
        Self(
            Rotator::ALL
                .map(|rotator| rotators.get_or_create_owned(&[("rotator", rotator.as_str())])),
        )
    }
}

impl Metrics {
    /// A volume was rotated, at whose behest.
    pub fn rotated_by(&self, rotator: Rotator) {
        for (each, gauge) in Rotator::ALL.into_iter().zip(&self.0.rotators.0) {
            gauge.set(i64::from(each == rotator));
        }
    }

    /// Counts events at pods.
    pub fn events(&self) -> &EventMetrics {
        &self.0.events
    }
}
