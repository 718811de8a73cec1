//! [`Memory`], what vaults gave last, for when they are out of order (`--stale-if-error`).
//!
//! It is kept for a principal: the application or managed identity that Entra ID or IMDS gave a token for.
//! Who asks it has just proved to be that principal, since a mount begins with the token; so a new pod, or
//! the same pod with a renewed token, finds what another pod of the principal has left.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::azure::cache::store::Store;
use crate::azure::credential::{IdentityKey, Realm};
use crate::azure::vault::{ListedVersion, VaultError, VaultObject};
use crate::class::identity::IdentityId;
use crate::class::object::{ObjectKind, ObjectName, ObjectVersion};
use crate::class::plan::Fetch;
use crate::os::lock::lock;
use crate::shares::{Namespace, Weight};

/// For how long what vaults gave is kept, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemorySettings {
    /// The greatest age of what is served in an outage.
    pub max_age: Duration,
    /// The most bytes in all.
    pub max_bytes: usize,
}

/// Whose rights a vault looks at: an identity however it proves itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal {
    id: IdentityId,
    realm: Option<Realm>,
}

impl Principal {
    /// The principal that an identity proves to be.
    pub fn of(identity: &IdentityKey) -> Self {
        Self {
            id: identity.identity.id.clone(),
            realm: identity.realm.clone(),
        }
    }
}

/// What vaults gave last.
pub struct Memory {
    max_age: Duration,
    kept: Store<Key, Kept>,
}

/// Whose, from which vault, and what.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    principal: Arc<Principal>,
    host: String,
    kind: ObjectKind,
    name: ObjectName,
    /// The version as it was asked for; none for the list of versions.
    version: Option<ObjectVersion>,
    /// How many versions a list has at most, if not all.
    most: Option<NonZeroU32>,
}

enum Kept {
    Object(Arc<VaultObject>),
    Versions(Vec<ListedVersion>),
}

impl Weight for Kept {
    fn weight(&self) -> usize {
        match self {
            Self::Object(object) => object.weight(),
            Self::Versions(versions) => versions.len() * 128,
        }
    }
}

/// One mount's look into the memory.
pub struct Recollection<'a> {
    memory: &'a Memory,
    namespace: Namespace,
    principal: Arc<Principal>,
    host: String,
    /// The oldest of what it found.
    oldest: std::sync::Mutex<Option<Instant>>,
}

impl Memory {
    /// Nothing yet.
    pub fn new(settings: MemorySettings) -> Self {
        Self {
            max_age: settings.max_age,
            kept: Store::new(settings.max_bytes, None),
        }
    }

    /// Keeps what a vault gave for a version of an object. The namespace pays for it.
    pub fn keep_object(
        &self,
        namespace: &Namespace,
        principal: &Arc<Principal>,
        host: &str,
        fetch: &Fetch,
        version: &ObjectVersion,
        object: &Arc<VaultObject>,
    ) {
        let key = key(principal, host, fetch, Some(version));
        self.keep(namespace, key, Kept::Object(Arc::clone(object)));
    }

    /// Keeps no longer what a vault does not give any more.
    pub fn forget(
        &self,
        principal: &Arc<Principal>,
        host: &str,
        fetch: &Fetch,
        version: Option<&ObjectVersion>,
    ) {
        self.kept.remove(&key(principal, host, fetch, version));
    }

    /// Keeps an object's list of versions.
    pub fn keep_versions(
        &self,
        namespace: &Namespace,
        principal: &Arc<Principal>,
        host: &str,
        fetch: &Fetch,
        versions: &[ListedVersion],
    ) {
        let key = key(principal, host, fetch, None);
        self.keep(namespace, key, Kept::Versions(versions.to_vec()));
    }

    fn keep(&self, namespace: &Namespace, key: Key, kept: Kept) {
        let end = Instant::now() + self.max_age;
        self.kept.put(namespace, key, Arc::new(kept), end);
    }

    /// What the vault at this host gave to a principal, who has just proved to be that.
    pub fn recollection(
        &self,
        namespace: &Namespace,
        principal: Arc<Principal>,
        host: String,
    ) -> Recollection<'_> {
        Recollection {
            memory: self,
            namespace: namespace.clone(),
            principal,
            host,
            oldest: std::sync::Mutex::default(),
        }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("max_age", &self.max_age)
            .finish_non_exhaustive()
    }
}

impl Recollection<'_> {
    /// A version of an object as it was.
    pub fn object(
        &self,
        fetch: &Fetch,
        version: &ObjectVersion,
    ) -> Result<Arc<VaultObject>, VaultError> {
        match &*self.recall(fetch, Some(version))? {
            Kept::Object(object) => Ok(Arc::clone(object)),
            Kept::Versions(_) => Err(VaultError::Forgotten),
        }
    }

    /// An object's list of versions as it was.
    pub fn versions(&self, fetch: &Fetch) -> Result<Vec<ListedVersion>, VaultError> {
        match &*self.recall(fetch, None)? {
            Kept::Versions(versions) => Ok(versions.clone()),
            Kept::Object(_) => Err(VaultError::Forgotten),
        }
    }

    fn recall(
        &self,
        fetch: &Fetch,
        version: Option<&ObjectVersion>,
    ) -> Result<Arc<Kept>, VaultError> {
        let key = key(&self.principal, &self.host, fetch, version);
        let (kept, since) = self
            .memory
            .kept
            .get(&self.namespace, &key)
            .ok_or(VaultError::Forgotten)?;
        let mut oldest = self.lock();
        *oldest = Some(oldest.map_or(since, |oldest| oldest.min(since)));
        Ok(kept)
    }

    /// The age of the oldest that it found.
    pub fn age(&self) -> Duration {
        self.lock().map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        lock(&self.oldest)
    }
}

fn key(
    principal: &Arc<Principal>,
    host: &str,
    fetch: &Fetch,
    version: Option<&ObjectVersion>,
) -> Key {
    Key {
        principal: Arc::clone(principal),
        host: host.to_owned(),
        kind: fetch.kind,
        name: fetch.name.clone(),
        version: version.cloned(),
        most: fetch.most_listed().filter(|_| version.is_none()),
    }
}
