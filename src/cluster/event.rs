//! [`PodEvent`], something that a pod is told.

use crate::class::request::Pod;
use crate::cluster::api_server::is_object_name;
use crate::cluster::note::Note;
use crate::shares::Namespace;

/// The most bytes of several fields.
///
/// Source: Kubernetes' `pkg/apis/core/validation/events.go`, `ReportingInstanceLengthLimit` and the like.
pub(super) const MAX_FIELD: usize = 128;

/// A pod that is told something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodName {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: String,
}

/// Something that a pod is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodEvent {
    pub pod: PodName,
    /// What happened, in a word.
    pub reason: EventReason,
    /// The same for people.
    pub note: Note,
    /// What tells it from others of this pod and reason. The same event again is written as one that goes on: it counts up,
    /// and is kept by the API server for longer. Its text stays the first one, since the API server lets nobody change it.
    pub key: String,
}

/// Which event it is, for the API server and for alerts. Once released, a word is neither renamed nor used for something
/// else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(
    clippy::enum_variant_names,
    reason = "they are the words that people read"
)]
pub enum EventReason {
    /// The pod has other versions than before.
    SecretRotationComplete,
    /// The pod's files cannot be brought up to date.
    SecretRotationFailed,
    /// They can be again.
    SecretRotationRecovered,
    /// The pod has the same objects from another vault: the class's failover vault, or the first one again.
    SecretSourceChanged,
    /// The pod has what an edited class asks for.
    SecretProviderClassChanged,
}

/// What makes two events one.
pub type EventKey = (PodName, EventReason, String);

impl From<&Pod> for PodName {
    fn from(pod: &Pod) -> Self {
        Self {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: pod.uid.clone(),
        }
    }
}

impl PodName {
    /// Whether a pod can have it. The driver's attributes are what is known of a pod.
    pub(super) fn is_possible(&self) -> bool {
        let is_uid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        is_object_name(&self.namespace)
            && is_object_name(&self.name)
            && (1..=MAX_FIELD).contains(&self.uid.len())
            && self.uid.bytes().all(is_uid)
    }
}

impl EventReason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SecretRotationComplete => "SecretRotationComplete",
            Self::SecretRotationFailed => "SecretRotationFailed",
            Self::SecretRotationRecovered => "SecretRotationRecovered",
            Self::SecretSourceChanged => "SecretSourceChanged",
            Self::SecretProviderClassChanged => "SecretProviderClassChanged",
        }
    }

    /// The event's `type`.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::SecretRotationFailed => "Warning",
            Self::SecretRotationComplete
            | Self::SecretRotationRecovered
            | Self::SecretSourceChanged
            | Self::SecretProviderClassChanged => "Normal",
        }
    }
}

impl PodEvent {
    /// The namespace that pays for it.
    pub fn namespace(&self) -> Namespace {
        Namespace::new(&self.pod.namespace)
    }

    /// What makes it the same as another one.
    pub fn key(&self) -> EventKey {
        (self.pod.clone(), self.reason, self.key.clone())
    }

    /// What it weighs in memory: its names are there twice more, as a key.
    pub fn weight(&self) -> usize {
        let pod = &self.pod;
        let names = pod.namespace.len() + pod.name.len() + pod.uid.len() + self.key.len();
        size_of::<Self>() + 3 * (names + size_of::<EventKey>()) + self.note.as_str().len()
    }
}
