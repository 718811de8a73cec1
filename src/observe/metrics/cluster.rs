//! [`EventMetrics`], what comes of the events that pods are to be told. [`crate::cluster`] has the handle.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
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

impl Metrics {
    /// Counts events at pods.
    pub fn events(&self) -> &EventMetrics {
        &self.0.events
    }
}
