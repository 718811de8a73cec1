//! [`News`], what there is to tell a pod of the files of a volume.

use time::OffsetDateTime;

use super::versions::Versions;
use crate::shares::Weight;

/// The files of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The versions of their objects.
    pub versions: Versions,
    /// Where they are from. None if only the status tells of them.
    pub origin: Option<Origin>,
}

/// Where files are from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The vault's name.
    pub vault: String,
    /// Whether it is the class's `failoverKeyvaultName`.
    pub is_failover: bool,
    /// A digest of the class's parameters.
    pub class: u64,
}

/// What a pod is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Its files are of new versions.
    Rotated(Change),
    /// They follow an edited class.
    ClassChanged(Change),
    /// They are from another vault.
    SourceChanged(Change),
    /// They cannot be made new.
    Failed(Failure),
    /// They can be made new again, and perhaps were.
    Recovered {
        /// Since when they could not.
        since: OffsetDateTime,
        /// What the pod was told of it.
        reason: &'static str,
        /// How they changed.
        change: Option<Change>,
    },
}

/// How the files of a volume changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What they were.
    pub from: Files,
    /// What they are.
    pub to: Files,
}

/// Why files are not made new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The word that stands for why.
    pub reason: &'static str,
    /// What happened and what to do about it.
    pub cause: Cause,
    pub since: OffsetDateTime,
    /// Whether the provider does not know how it was before.
    pub is_first_sight: bool,
    /// What the files are.
    pub files: Versions,
}

/// What keeps files from being made new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The mount fails.
    Mount {
        cause: String,
        /// What to do about it.
        fix: String,
    },
    /// The driver was given files of these versions, and the status does not have them.
    NotWritten(Versions),
}

/// The word for files that the driver did not write.
pub const NOT_WRITTEN: &str = "FILES_NOT_WRITTEN";

impl Files {
    fn vault(&self) -> Option<&str> {
        self.origin.as_ref().map(|origin| origin.vault.as_str())
    }

    /// Whether they are from another vault by the same class.
    pub(super) fn moved_from(&self, earlier: &Self) -> bool {
        let of_both = self.origin.as_ref().zip(earlier.origin.as_ref());
        of_both.is_some_and(|(to, from)| to.class == from.class && to.vault != from.vault)
    }
}

impl Weight for Files {
    fn weight(&self) -> usize {
        self.versions.weight() + self.vault().map_or(0, str::len)
    }
}
