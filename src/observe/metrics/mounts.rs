//! [`Mounting`], one mount being counted: [`crate::server::service`] begins it and says how it ends.

use std::sync::Arc;
use std::time::Instant;

use prometheus_client::metrics::counter::Counter;
#[cfg(feature = "otlp")]
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use time::OffsetDateTime;
use tonic::Code;

use crate::observe::metrics::Labels;
use crate::observe::metrics::classes::{ClassName, Classes};
use crate::observe::metrics::compat::Compat;
use crate::observe::metrics::spelling::spelling;
use crate::observe::phases::{MountPhase, Phases, ReadSource};

/// What a mount's time is compared with, in seconds: from one whose connections and tokens are there to the
/// kubelet's two minutes.
const BUCKETS: [f64; 13] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0,
];

/// What the Go provider's metrics call a mount.
const METHOD: &str = "/v1alpha1.CSIDriverProvider/Mount";

/// How long mounts take; each bucket with the trace of one, where there are traces.
#[cfg(feature = "otlp")]
type Durations = HistogramWithExemplars<[(&'static str, String); 1]>;
/// How long mounts take.
#[cfg(not(feature = "otlp"))]
type Durations = Histogram;

#[cfg(feature = "otlp")]
fn durations() -> Durations {
    Durations::new(BUCKETS.into_iter())
}

#[cfg(not(feature = "otlp"))]
fn durations() -> Durations {
    Durations::new(BUCKETS)
}

#[derive(Debug)]
pub(super) struct Mounts {
    ended: Family<Labels<2>, Counter>,
    duration: Durations,
    phases: [Histogram; MountPhase::ALL.len()],
    reads: [Counter; ReadSource::ALL.len()],
    classes: Option<Classes>,
    compat: Option<Compat>,
}

impl Mounts {
    pub(super) fn registered(
        registry: &mut Registry,
        classes: Option<Classes>,
        compat: Option<Compat>,
    ) -> Self {
        let phases =
            Family::<Labels<1>, Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
        registry.register(
            "mount_phase_duration_seconds",
            "Time that mounts spent in each of their phases",
            phases.clone(),
        );
        let reads = Family::<Labels<1>, Counter>::default();
        registry.register(
            "object_reads",
            "Objects and lists of versions by where mounts got them",
            reads.clone(),
        );
        let mounts = Self {
            ended: Family::default(),
            duration: durations(),
            phases: MountPhase::ALL
                .map(|phase| phases.get_or_create_owned(&[("phase", phase.as_str())])),
            reads: ReadSource::ALL
                .map(|source| reads.get_or_create_owned(&[("source", source.as_str())])),
            classes,
            compat,
        };
        registry.register(
            "mounts",
            "Mounts by gRPC code and reason code",
            mounts.ended.clone(),
        );
        registry.register(
            "mount_duration_seconds",
            "Time from a mount's call to its answer",
            mounts.duration.clone(),
        );
        mounts
    }

    pub(super) fn begin(&self, phases: Arc<Phases>) -> Mounting<'_> {
        Mounting {
            mounts: self,
            start: Instant::now(),
            phases,
            class: None,
            #[cfg(feature = "otlp")]
            trace: None,
            // Unless somebody says otherwise before this is dropped: the caller goes away.
            outcome: (Code::Cancelled, ""),
        }
    }
}

/// A mount under way.
#[derive(Debug)]
#[must_use]
pub struct Mounting<'a> {
    mounts: &'a Mounts,
    start: Instant,
    phases: Arc<Phases>,
    class: Option<ClassName>,
    #[cfg(feature = "otlp")]
    trace: Option<String>,
    outcome: (Code, &'static str),
}

impl Mounting<'_> {
    /// It is a mount of this class, as its labels have it.
    pub fn set_class(&mut self, namespace: &str, class: &str) {
        if self.mounts.classes.is_some() {
            self.class = ClassName::new(namespace, class);
        }
    }

    /// It is a trace with this id.
    #[cfg(feature = "otlp")]
    pub fn set_trace(&mut self, id: Option<String>) {
        self.trace = id;
    }

    /// The files are there, and the first of them expires then.
    pub fn succeeded(mut self, earliest_expiry: Option<OffsetDateTime>) {
        self.outcome = (Code::Ok, "");
        if let (Some(classes), Some(class)) = (&self.mounts.classes, self.class.take()) {
            classes.succeeded(class, earliest_expiry);
        }
    }

    /// There are none, for a reason by its word.
    pub fn failed(mut self, code: Code, reason: &'static str) {
        self.outcome = (code, reason);
        if let (Some(classes), Some(class)) = (&self.mounts.classes, self.class.take()) {
            classes.failed(class);
        }
    }
}

impl Drop for Mounting<'_> {
    fn drop(&mut self) {
        let (code, reason) = self.outcome;
        let labels = [("code", spelling(code)), ("reason", reason)];
        self.mounts.ended.get_or_create(&labels).inc();
        let took = self.start.elapsed().as_secs_f64();
        #[cfg(feature = "otlp")]
        self.mounts.duration.observe(
            took,
            self.trace.take().map(|id| [("trace_id", id)]),
            Some(std::time::SystemTime::now()),
        );
        #[cfg(not(feature = "otlp"))]
        self.mounts.duration.observe(took);
        if let Some(compat) = &self.mounts.compat {
            compat.called(METHOD, code, reason, self.start);
        }
        for (phase, histogram) in MountPhase::ALL.iter().zip(&self.mounts.phases) {
            if let Some(took) = self.phases.taken(*phase) {
                histogram.observe(took.as_secs_f64());
            }
        }
        for (source, counter) in ReadSource::ALL.iter().zip(&self.mounts.reads) {
            counter.inc_by(self.phases.reads.of(*source));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tonic::Code;

    use crate::observe::metrics::Metrics;
    use crate::observe::phases::Phases;

    #[test]
    fn a_mount_counts_once_however_it_ends() {
        let metrics = Metrics::default();
        let phases = Arc::<Phases>::default();
        drop(phases.token.run());
        metrics.mount(Arc::clone(&phases)).succeeded(None);
        metrics.mount(Arc::default()).succeeded(None);
        metrics
            .mount(Arc::default())
            .failed(Code::FailedPrecondition, "KV_THROTTLED");
        drop(metrics.mount(phases));
        let page = metrics.page().unwrap();
        for series in [
            "mounts_total{code=\"OK\",reason=\"\"} 2\n",
            "mounts_total{code=\"FailedPrecondition\",reason=\"KV_THROTTLED\"} 1\n",
            "mounts_total{code=\"Canceled\",reason=\"\"} 1\n",
            "mount_duration_seconds_count 4\n",
            "mount_phase_duration_seconds_count{phase=\"token\"} 2\n",
            "mount_phase_duration_seconds_count{phase=\"render\"} 0\n",
        ] {
            assert!(page.contains(series), "{series}{page}");
        }
    }
}
