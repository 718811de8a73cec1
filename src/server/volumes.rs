//! [`Volumes`], which volumes have been filled before, so that a mount is told from a remount.
//!
//! It matters for what may be answered from memory (`--cache-ttl`): the first mount of a volume always asks the vault, so
//! that a pod that starts has what is there now.

use parking_lot::Mutex;

use crate::class::request::Pod;
use crate::shares::{Kept, Namespace, Weight};

/// The most bytes of what is known of volumes. A node with 250 pods of four volumes each takes a third of it.
const MAX_BYTES: usize = 2 * 1024 * 1024;
/// The most bytes of a path that is remembered.
///
/// Source: limits.h of Linux, `PATH_MAX`.
const MAX_PATH: usize = 4096;
/// After how many successful answers a volume has certainly been filled once: a driver that fails after the first one comes
/// again for a pod that has no files yet.
const ANSWERS: u8 = 2;

/// Which volumes have been filled before.
#[derive(Debug)]
pub struct Volumes(Mutex<Kept<String, Answered>>);

/// One volume of one pod, by the path at which it is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Volume {
    namespace: Namespace,
    path: String,
}

/// How often it was answered with success, and how long its path is.
#[derive(Debug)]
struct Answered {
    times: u8,
    path: usize,
}

impl Weight for Answered {
    fn weight(&self) -> usize {
        // The path is kept twice.
        2 * self.path
    }
}

impl Volume {
    /// The volume that is mounted there for a pod. None where the path is not one of that pod alone: the sync controller
    /// names one path for all.
    pub fn new(pod: &Pod, target_path: &str) -> Option<Self> {
        let is_pods = !pod.uid.is_empty() && target_path.split('/').any(|part| part == pod.uid);
        (is_pods && target_path.len() <= MAX_PATH).then(|| Self {
            namespace: Namespace::new(&pod.namespace),
            path: target_path.to_owned(),
        })
    }

    /// The namespace of its pod, which pays for what is known of it.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Where it is mounted.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl Default for Volumes {
    fn default() -> Self {
        Self(Mutex::new(Kept::new(MAX_BYTES)))
    }
}

impl Volumes {
    /// Whether the volume has its files, so that this mount is a remount.
    pub fn is_filled(&self, volume: &Volume) -> bool {
        let mut volumes = self.0.lock();
        let answered = volumes.get(&volume.namespace, &volume.path);
        answered.is_some_and(|answered| answered.times >= ANSWERS)
    }

    /// A mount of the volume was answered with its files.
    pub fn answered(&self, volume: Volume) {
        self.count(volume, 1);
    }

    /// The volume has its files, as the driver says.
    pub fn fill(&self, volume: Volume) {
        self.count(volume, ANSWERS);
    }

    fn count(&self, volume: Volume, more: u8) {
        let mut volumes = self.0.lock();
        if let Some(answered) = volumes.get_mut(&volume.namespace, &volume.path) {
            answered.times = answered.times.saturating_add(more);
            return;
        }
        let (path, times) = (volume.path.len(), more);
        volumes.put(&volume.namespace, volume.path, Answered { times, path });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(namespace: &str, uid: &str) -> Pod {
        Pod {
            namespace: namespace.to_owned(),
            uid: uid.to_owned(),
            ..Pod::default()
        }
    }

    #[test]
    fn a_volume_is_one_pods() {
        let path = "/var/lib/kubelet/pods/1-2/volumes/kubernetes.io~csi/secrets/mount";
        assert!(Volume::new(&pod("n", "1-2"), path).is_some());
        for (uid, path) in [
            ("", path),
            ("", "/a//b"),
            ("1", path),
            ("1-2", "/tmp/1-23/mount"),
            ("1-2", "/dev/shm/secrets-store"),
        ] {
            assert_eq!(Volume::new(&pod("n", uid), path), None, "{uid} {path}");
        }
        let long = format!("/1-2/{}", "x".repeat(MAX_PATH));
        assert_eq!(Volume::new(&pod("n", "1-2"), &long), None);
    }

    fn volume(namespace: &str, uid: &str) -> Volume {
        Volume::new(&pod(namespace, uid), &format!("/pods/{uid}/mount")).unwrap()
    }

    #[test]
    fn a_volume_is_filled_from_its_second_answer_on() {
        let volumes = Volumes::default();
        for filled in [false, false, true, true] {
            assert_eq!(volumes.is_filled(&volume("n", "1")), filled);
            volumes.answered(volume("n", "1"));
        }
        assert!(!volumes.is_filled(&volume("n", "2")));
        volumes.fill(volume("n", "2"));
        assert!(volumes.is_filled(&volume("n", "2")));
    }

    #[test]
    fn another_namespaces_volumes_push_none_out() {
        let volumes = Volumes::default();
        for _ in 0..2 {
            volumes.answered(volume("victim", "v"));
        }
        for number in 0..20_000 {
            volumes.answered(volume("attacker", &number.to_string()));
        }
        assert!(volumes.is_filled(&volume("victim", "v")));
    }
}
