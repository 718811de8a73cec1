//! [`PodEvents`], what pods are told: events of `events.k8s.io/v1`, which `kubectl describe pod` lists as all others.
//!
//! Whoever has something to tell does not wait for it to be written, and cannot fail. A task of the process writes one
//! event after another, at a [pace](crate::cluster::queue).
//!
//! Source for what an event may be: Kubernetes' `pkg/apis/core/validation/events.go`.

mod written;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::cluster::api_server::{ApiServer, ClusterError};
use crate::cluster::event::{EventKey, MAX_FIELD, PodEvent};
use crate::cluster::events::written::{CONTROLLER, Written, created, refreshed};
use crate::cluster::queue::{Next, Queue, Waiting};
use crate::observe::metrics::{EventMetrics, EventOutcome, Metrics};
use crate::observe::warnings::Warnings;
use crate::os::clock::Clock;
use crate::shares::Kept;
use crate::text::excerpt::{causes, cut};

/// The most bytes of what is known of events that may be refreshed: more than there are pods on a node.
const MAX_WRITTEN_BYTES: usize = 256 * 1024;
/// How often an event is tried to be written.
const MAX_TRIES: u32 = 5;
/// How long nothing is written after a failure; twice as long after each further one, up to the most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// The longest that the API server may ask to be left alone.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// What pods are told. Clones share everything.
#[derive(Clone, Debug)]
pub struct PodEvents(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    api: ApiServer,
    /// The node's name, as far as an event may have it.
    instance: String,
    clock: Clock,
    queue: Mutex<Queue>,
    /// Wakes the task that writes.
    told: Notify,
    metrics: EventMetrics,
    warnings: Warnings,
}

impl PodEvents {
    /// Nothing is told yet. `node` is the node's name. [`PodEvents::write`] has to run for as long as the process.
    pub fn new(api: ApiServer, node: &str, metrics: &Metrics, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            api,
            instance: match cut(node, MAX_FIELD) {
                "" => CONTROLLER.to_owned(),
                name => name.to_owned(),
            },
            clock,
            queue: Mutex::new(Queue::new(Instant::now())),
            told: Notify::new(),
            metrics: metrics.events().clone(),
            warnings: Warnings::default(),
        }))
    }

    /// The API server that they are written to.
    pub fn api_server(&self) -> &ApiServer {
        &self.0.api
    }

    /// Tells a pod something, as of now. Does not wait, and does not fail: where there is too much to be told, something of
    /// the namespace that has the most to tell is left out, and counted.
    pub fn tell(&self, event: PodEvent) {
        let inner = &*self.0;
        if !event.pod.is_possible() {
            inner.metrics.count(EventOutcome::Refused, 1);
            return;
        }
        let gone = inner.queue.lock().tell(event, inner.clock.now());
        inner.metrics.count(EventOutcome::Dropped, gone);
        inner.told.notify_one();
    }

    /// Writes what is told, for as long as this runs. What waits when it ends is not written.
    pub async fn write(&self) -> Infallible {
        let inner = &*self.0;
        let mut written = Kept::new(MAX_WRITTEN_BYTES);
        let mut failures = 0;
        loop {
            let next = inner.queue.lock().next(Instant::now());
            let waiting = match next {
                Next::Write(waiting) => *waiting,
                Next::Wait(until) => {
                    // What is told meanwhile may be of a namespace that need not wait.
                    tokio::select! {
                        () = tokio::time::sleep_until(until) => {}
                        () = inner.told.notified() => {}
                    }
                    continue;
                }
                Next::Nothing => {
                    inner.told.notified().await;
                    continue;
                }
            };
            match inner.write(&waiting, &mut written).await {
                Ok(outcome) => {
                    failures = 0;
                    inner.metrics.count(outcome, 1);
                }
                Err(error) => {
                    inner.warn(&error);
                    let is_transient = error.is_transient();
                    failures = if is_transient { failures + 1 } else { 0 };
                    inner.give_up_or_put_back(waiting, is_transient);
                    if is_transient {
                        tokio::time::sleep(pause(failures, &error)).await;
                    }
                }
            }
        }
    }
}

impl Inner {
    /// Writes one event: the one that is there goes on, or there is a new one.
    async fn write(
        &self,
        waiting: &Waiting,
        written: &mut Kept<EventKey, Written>,
    ) -> Result<EventOutcome, ClusterError> {
        let (namespace, key) = (waiting.event.namespace(), waiting.event.key());
        let path = format!(
            "/apis/events.k8s.io/v1/namespaces/{}/events",
            waiting.event.pod.namespace
        );
        let known = written.get(&namespace, &key);
        let (first, count) = known.map_or((waiting.first, 0), |known| (known.first, known.count));
        let count = count.saturating_add(waiting.times);
        if let Some(known) = known {
            let object = format!("{path}/{}", known.name);
            match self
                .api
                .patch(&object, refreshed(count, waiting.last))
                .await
            {
                Ok(()) => {
                    if let Some(known) = written.get_mut(&namespace, &key) {
                        known.count = count;
                    }
                    return Ok(EventOutcome::Refreshed);
                }
                // It has expired, or somebody has deleted it.
                Err(ClusterError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        let new = Written::new(waiting, first, count);
        let body = created(&waiting.event, &new, waiting.last, &self.instance);
        match self.api.create(&path, body).await {
            // An earlier attempt was not in vain, and only its answer was lost.
            Ok(()) | Err(ClusterError::AlreadyExists) => {}
            Err(error) => return Err(error),
        }
        written.put(&namespace, key, new);
        Ok(EventOutcome::Created)
    }

    fn give_up_or_put_back(&self, mut waiting: Waiting, is_transient: bool) {
        waiting.tries += 1;
        if !is_transient {
            self.metrics.count(EventOutcome::Refused, 1);
        } else if waiting.tries >= MAX_TRIES {
            self.metrics.count(EventOutcome::Failed, 1);
        } else {
            let gone = self.queue.lock().put_back(waiting);
            self.metrics.count(EventOutcome::Dropped, gone);
        }
    }

    fn warn(&self, error: &ClusterError) {
        let (error, server) = (causes(error), self.api.url().to_string());
        self.warnings.warn(move |left_out| {
            tracing::warn!(left_out, server, error, "cannot write an event at a pod");
        });
    }
}

/// How long nothing is written after so many failures in a row. Nodes that fail together do not come back together.
fn pause(failures: u32, error: &ClusterError) -> Duration {
    let doubled = FIRST_PAUSE * 2_u32.saturating_pow(failures.saturating_sub(1).min(10));
    let asked = error.retry_after().unwrap_or_default().min(MAX_RETRY_AFTER);
    asked + doubled.min(MAX_PAUSE).mul_f64(1.0 - fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests;
