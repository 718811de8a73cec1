//! [`Rotations`], which tells pods of their rotations: by events at the pod, since the driver answers the kubelet as if all
//! were well.
//!
//! [`crate::server::service`] begins a [`Rotating`] with each mount of a pod's volume, and says how it ends. What there is to
//! be told is decided by the volume's [`Rotation`]; here are the looks at the pod's SecretProviderClassPodStatus, which run
//! beside the mount. No mount waits for the API server.

pub mod news;
pub mod notes;
pub mod rotation;
#[cfg(test)]
mod tests;
pub mod versions;

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use time::OffsetDateTime;
use tokio::time::Instant;

use self::news::{Files, News, Origin};
use self::notes::note;
use self::rotation::{Look, Moment, Next, Rotation};
use crate::class::request::Request;
use crate::cluster::{EventReason, PodEvent, PodEvents, PodName};
use crate::explain::{Explanation, Reason};
use crate::mount::Mounted;
use crate::observe::warnings::Warnings;
use crate::os::boot_time::boot_time;
use crate::server::volumes::{Volume, Volumes};
use crate::shares::{Kept, Places, Rank};
use crate::text::excerpt::causes;

/// The most bytes of what is known of rotations. A node with 250 pods of two volumes with ten objects each takes a third.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// The most looks at once: after a start each volume of a node has one.
const MAX_LOOKS: usize = 8;

/// What tells pods of their rotations. Clones share everything.
#[derive(Clone, Debug)]
pub struct Rotations(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    events: PodEvents,
    volumes: Arc<Volumes>,
    /// By the digest of the volume.
    known: Mutex<Kept<u64, Rotation>>,
    looks: Arc<Places>,
    hashes: RandomState,
    warnings: Warnings,
    /// When the node was started.
    boot: Option<OffsetDateTime>,
}

/// A mount of a pod's volume.
#[derive(Clone, Debug)]
pub struct Rotating {
    shared: Arc<Shared>,
    volume: Volume,
    pod: PodName,
    /// The class's name.
    class: Arc<str>,
    /// A digest of its parameters.
    parameters: u64,
}

impl Rotations {
    /// Nothing is known yet of any volume. Pods are told by `events`; which volumes have their files is put down in `volumes`.
    pub fn new(events: PodEvents, volumes: Arc<Volumes>) -> Self {
        Self(Arc::new(Shared {
            events,
            volumes,
            known: Mutex::new(Kept::new(MAX_BYTES)),
            looks: Places::leaving_some(MAX_LOOKS),
            hashes: RandomState::new(),
            warnings: Warnings::default(),
            boot: boot_time(),
        }))
    }

    /// The driver asks for the files of a volume. None if nobody could be told, as of a volume without a class.
    pub fn begin(&self, volume: &Volume, request: &Request) -> Option<Rotating> {
        let pod = &request.pod;
        if pod.class.is_empty() {
            return None;
        }
        let rotating = Rotating {
            shared: Arc::clone(&self.0),
            volume: volume.clone(),
            pod: pod.into(),
            class: pod.class.as_str().into(),
            parameters: self
                .0
                .hashes
                .hash_one((&request.attributes, &request.objects)),
        };
        rotating.change(|rotation, _| rotation.arrived());
        Some(rotating)
    }

    /// The driver tells of this volume by itself. What was known of it grows old, and must not be told when a driver comes that
    /// does not.
    pub fn forget(&self, volume: &Volume) {
        let volume = self.0.hashes.hash_one(volume);
        self.0.known.lock().remove(&volume);
    }
}

impl Rotating {
    /// The driver is given the files.
    pub fn given(self, mounted: &Mounted) {
        let versions = mounted
            .files
            .iter()
            .map(|file| (file.id.clone(), file.version.clone()));
        let files = Files {
            versions: versions.collect(),
            origin: Some(Origin {
                vault: mounted.vault.as_str().to_owned(),
                is_failover: mounted.is_failover,
                class: self.parameters,
            }),
        };
        self.change(|rotation, now| rotation.given(files, now));
    }

    /// The driver gets an error.
    pub fn failed(self, explanation: &Explanation) {
        // The next provider is asked at once.
        if explanation.reason != Reason::ShuttingDown {
            self.change(|rotation, now| rotation.failed(explanation, now));
        }
    }

    /// Something happens to the volume, and what comes of it is done.
    fn change(&self, happen: impl FnOnce(&mut Rotation, Moment) -> Next) {
        let shared = &self.shared;
        let now = Moment {
            instant: Instant::now(),
            time: OffsetDateTime::now_utc(),
        };
        let volume = shared.hashes.hash_one(&self.volume);
        let mut known = shared.known.lock();
        // Taken out, since its weight changes.
        let rotation = known.remove(&volume);
        let mut rotation = rotation.unwrap_or_else(|| Rotation::new(volume));
        let next = happen(&mut rotation, now);
        known.put(self.volume.namespace(), volume, rotation);
        drop(known);
        if next.has_files {
            shared.volumes.fill(self.volume.clone());
        }
        for news in &next.news {
            shared.events.tell(self.event(news));
        }
        if let Some(after) = next.look {
            tokio::spawn(self.clone().look_after(after));
        }
    }

    async fn look_after(self, time: Duration) {
        tokio::time::sleep(time).await;
        let look = {
            let namespace = self.volume.namespace();
            let _place = self.shared.looks.take(namespace, Rank::default()).await;
            self.look().await
        };
        self.change(|rotation, now| rotation.looked(look, now));
    }

    /// What the pod's status says of the volume.
    async fn look(&self) -> Look {
        let PodName {
            namespace,
            name,
            uid,
        } = &self.pod;
        let status = self
            .shared
            .events
            .api_server()
            .pod_status(namespace, name, &self.class)
            .await;
        match status {
            Ok(Some(status)) if status.pod_uid.as_deref() != Some(uid) => Look::Absent,
            Ok(Some(status)) if status.target_path != self.volume.path() => Look::Silent,
            // After the node has restarted, the pod is the same one, and its files are gone.
            Ok(Some(status))
                if status
                    .written
                    .is_some_and(|time| Some(time) < self.shared.boot) =>
            {
                Look::Absent
            }
            Ok(Some(status)) if status.mounted => Look::Files(status.objects.into()),
            Ok(_) => Look::Absent,
            Err(error) => {
                let error = causes(&error);
                self.shared.warnings.warn(move |left_out| {
                    tracing::warn!(
                        left_out,
                        "the pods' SecretProviderClassPodStatuses cannot be read, so pods are not told of their rotations: {error}"
                    );
                });
                Look::Silent
            }
        }
    }

    fn event(&self, news: &News) -> PodEvent {
        let note = note(news, &self.class);
        // A failure that lasts is the same event.
        let key = match news {
            News::Failed(failure) => self.hash((failure.reason, failure.since)),
            _ => self.hash(note.as_str()),
        };
        PodEvent {
            pod: self.pod.clone(),
            reason: match news {
                News::Rotated(_) => EventReason::SecretRotationComplete,
                News::ClassChanged(_) => EventReason::SecretProviderClassChanged,
                News::SourceChanged(_) => EventReason::SecretSourceChanged,
                News::Failed(_) => EventReason::SecretRotationFailed,
                News::Recovered { .. } => EventReason::SecretRotationRecovered,
            },
            note,
            key,
        }
    }

    fn hash(&self, what: impl std::hash::Hash) -> String {
        let hash = self.shared.hashes.hash_one((&self.volume, what));
        format!("{hash:016x}")
    }
}
