//! [`Memory`], what vaults gave last: for remounts, for as long as the operator allows (`--cache-ttl`), and for when the
//! vaults are out of order (`--stale-if-error`).
//!
//! It is kept for a principal: the application or managed identity that Entra ID or IMDS gave a token for.
//! Who asks it has just proved to be that principal, since a mount begins with the token; so a new pod, or
//! the same pod with a renewed token, finds what another pod of the principal has left.

mod store;

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use thiserror::Error;
use tokio::time::Instant;

use self::store::Store;
use crate::azure::credential::{IdentityKey, Realm};
use crate::azure::vault::{Contents, ListedVersion, VaultError, VaultObject};
use crate::class::identity::IdentityName;
use crate::class::object::{ObjectKind, ObjectName, ObjectVersion};
use crate::class::plan::Fetch;
use crate::observe::metrics::Metrics;
use crate::shares::{Namespace, Weight};

/// The longest that an exact version answers remounts. It never changes, but somebody may lose the right to it.
pub const MAX_VERSION_TTL: Duration = Duration::from_secs(3600);

/// For how long what vaults gave is kept, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemorySettings {
    /// How old the newest version of an object may be in a remount; always younger than between two rotations.
    pub ttl: Duration,
    /// The same of an exact version.
    pub version_ttl: Duration,
    /// The greatest age of what is served in an outage.
    pub stale_if_error: Duration,
    /// The most bytes in all.
    pub max_bytes: usize,
}

/// Times that go against the driver's or each other.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum MemorySettingsError {
    /// A rotation would find the value of the one before.
    #[error(
        "--cache-ttl: expected less than the driver's --rotation-poll-interval ({rotation:?}), found {found:?}; where the \
         driver has another interval, say so with --rotation-poll-interval"
    )]
    NotBelowRotation {
        /// The driver's interval.
        rotation: Duration,
        /// What was asked for.
        found: Duration,
    },
    /// Longer than anything may be kept.
    #[error("--cache-version-ttl: expected at most {MAX_VERSION_TTL:?}, found {0:?}")]
    VersionTooLong(Duration),
    /// Versions without the rest.
    #[error("--cache-version-ttl: expected --cache-ttl beside it, which is off")]
    VersionsOnly,
}

impl MemorySettings {
    /// The settings, unless they go against each other or the driver's `rotation`. None where nothing is kept.
    pub fn new(
        ttl: Duration,
        version_ttl: Option<Duration>,
        stale_if_error: Duration,
        max_bytes: usize,
        rotation: Duration,
    ) -> Result<Option<Self>, MemorySettingsError> {
        let version_ttl = version_ttl.unwrap_or(ttl);
        if ttl.is_zero() && !version_ttl.is_zero() {
            return Err(MemorySettingsError::VersionsOnly);
        }
        if ttl >= rotation {
            let found = ttl;
            return Err(MemorySettingsError::NotBelowRotation { rotation, found });
        }
        if version_ttl > MAX_VERSION_TTL {
            return Err(MemorySettingsError::VersionTooLong(version_ttl));
        }
        let keeps = !ttl.is_zero() || !stale_if_error.is_zero();
        Ok(keeps.then_some(Self {
            ttl,
            version_ttl,
            stale_if_error,
            max_bytes,
        }))
    }

    fn ttl_of(&self, version: &ObjectVersion) -> Duration {
        match version {
            ObjectVersion::Latest => self.ttl,
            ObjectVersion::Exact(_) => self.version_ttl,
        }
    }
}

/// Whose rights a vault looks at: an identity of one kind, whatever proves it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal {
    identity: IdentityName,
    realm: Option<Realm>,
}

impl Principal {
    /// The principal that an identity proves to be.
    pub fn of(identity: &IdentityKey) -> Self {
        Self {
            identity: identity.identity.clone(),
            realm: identity.realm.clone(),
        }
    }
}

/// For whom something is kept.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'a> {
    /// The namespace, which pays for it.
    pub namespace: &'a Namespace,
    /// The principal, to which the vault gave it.
    pub principal: &'a Arc<Principal>,
    /// The vault's host.
    pub host: &'a str,
}

/// What vaults gave last.
pub struct Memory {
    settings: MemorySettings,
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
    oldest: Mutex<Option<Instant>>,
}

impl Memory {
    pub fn new(settings: MemorySettings, metrics: &Metrics) -> Self {
        Self {
            settings,
            kept: Store::new(settings.max_bytes, metrics.values(settings.max_bytes)),
        }
    }

    /// Whether it serves in an outage.
    pub fn serves_outages(&self) -> bool {
        !self.settings.stale_if_error.is_zero()
    }

    /// A version of an object for a remount, if it is young enough, and when it was asked for.
    pub fn recent(
        &self,
        holder: &Holder<'_>,
        fetch: &Fetch,
        version: &ObjectVersion,
    ) -> Option<Arc<VaultObject>> {
        let ttl = self.settings.ttl_of(version);
        if ttl.is_zero() {
            return None;
        }
        let key = key(holder.principal, holder.host, fetch, Some(version));
        let kept = self.kept.younger(holder.namespace, &key, ttl)?;
        match &*kept {
            Kept::Object(object) => Some(Arc::clone(object)),
            Kept::Versions(_) => None,
        }
    }

    /// Keeps what a vault gave for a version of an object that was asked for then.
    pub fn keep_object(
        &self,
        holder: &Holder<'_>,
        fetch: &Fetch,
        version: &ObjectVersion,
        object: &Arc<VaultObject>,
        asked_at: Instant,
    ) {
        let key = key(holder.principal, holder.host, fetch, Some(version));
        let life = self
            .settings
            .ttl_of(version)
            .max(self.settings.stale_if_error);
        let kept = Arc::new(Kept::Object(Arc::clone(object)));
        self.kept.put(holder.namespace, key, kept, asked_at, life);
    }

    /// Keeps no longer what a vault does not give any more.
    pub fn forget(&self, holder: &Holder<'_>, fetch: &Fetch, version: Option<&ObjectVersion>) {
        self.kept
            .remove(&key(holder.principal, holder.host, fetch, version));
    }

    /// Keeps an object's list of versions, for outages alone: a remount that asks for a history asks what is new.
    pub fn keep_versions(
        &self,
        holder: &Holder<'_>,
        fetch: &Fetch,
        versions: &[ListedVersion],
        asked_at: Instant,
    ) {
        let key = key(holder.principal, holder.host, fetch, None);
        let kept = Arc::new(Kept::Versions(versions.to_vec()));
        let life = self.settings.stale_if_error;
        self.kept.put(holder.namespace, key, kept, asked_at, life);
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
            oldest: Mutex::default(),
        }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("settings", &self.settings)
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
        let found = self.memory.kept.find(&self.namespace, &key);
        let max_age = self.memory.settings.stale_if_error;
        let (kept, since) = found
            .filter(|(_, since)| since.elapsed() < max_age)
            .ok_or(VaultError::Forgotten)?;
        let mut oldest = self.lock();
        *oldest = Some(oldest.map_or(since, |oldest| oldest.min(since)));
        Ok(kept)
    }

    /// The age of the oldest that it found.
    pub fn age(&self) -> Duration {
        self.lock().map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.oldest.lock()
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

impl Weight for VaultObject {
    fn weight(&self) -> usize {
        let contents = match &self.contents {
            Contents::Secret { value, .. } => value.len(),
            Contents::Key(jwk) => [&jwk.n, &jwk.e, &jwk.x, &jwk.y]
                .into_iter()
                .flatten()
                .map(Vec::len)
                .sum(),
            Contents::Certificate(der) => der.len(),
        };
        // The key and the rest of the object.
        contents + 512
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::azure::vault::attributes::Attributes;
    use crate::class::cloud::{Cloud, CloudChoice};
    use crate::class::file_mode::FileMode;
    use crate::class::identity::{Identity, IdentityId};
    use crate::class::object::FilePath;
    use crate::class::parameters::TenantId;
    use crate::rendering::Rendering;

    #[test]
    fn times_go_with_the_drivers() {
        let seconds = Duration::from_secs;
        let settings = |ttl, version_ttl| {
            let stale = Duration::ZERO;
            MemorySettings::new(seconds(ttl), version_ttl, stale, 1000, seconds(120))
        };
        assert_eq!(settings(0, None), Ok(None));
        assert_eq!(settings(0, Some(seconds(0))), Ok(None));
        let kept = settings(60, None).unwrap().unwrap();
        assert_eq!((kept.ttl, kept.version_ttl), (seconds(60), seconds(60)));
        let kept = settings(60, Some(seconds(3600))).unwrap().unwrap();
        assert_eq!(kept.version_ttl, seconds(3600));
        for (ttl, version_ttl, words) in [
            (120, None, "--rotation-poll-interval (120s), found 120s"),
            (60, Some(seconds(3601)), "at most 3600s"),
            (0, Some(seconds(60)), "--cache-ttl beside it"),
        ] {
            let error = settings(ttl, version_ttl).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        let outages = MemorySettings::new(seconds(0), None, seconds(9), 1000, seconds(120));
        assert_eq!(outages.unwrap().unwrap().stale_if_error, seconds(9));
    }

    fn fetch(name: &str) -> Fetch {
        Fetch {
            kind: ObjectKind::Secret,
            name: ObjectName::new(name).unwrap(),
            version: ObjectVersion::Latest,
            history: None,
            rendering: Rendering::default(),
            path: FilePath::new(name).unwrap(),
            mode: FileMode::new(0o644).unwrap(),
            id: format!("secret/{name}"),
        }
    }

    fn principal(identity: &Identity, tenant: &str, cloud: &Cloud) -> Arc<Principal> {
        let tenant = TenantId::new(tenant).unwrap();
        Arc::new(Principal::of(&IdentityKey::of(identity, &tenant, cloud)))
    }

    fn workload(client_id: &str, assertion: &str) -> Identity {
        Identity::Workload {
            client_id: client_id.into(),
            assertion: assertion.to_owned().into(),
        }
    }

    #[test]
    fn a_principal_is_an_application_of_one_tenant_whatever_proves_it() {
        let public = Cloud::public();
        let Ok(CloudChoice::Known(china)) = CloudChoice::new("AzureChinaCloud", "") else {
            panic!("China has a cloud");
        };
        let app = principal(&workload("app", "a"), "t", &public);
        assert_eq!(app, principal(&workload("app", "b"), "t", &public));
        for (other, tenant, cloud) in [
            (workload("app", "a"), "other", &public),
            (workload("app", "a"), "t", &china),
            (workload("other", "a"), "t", &public),
            (
                Identity::Managed(IdentityId::ClientId("app".into())),
                "t",
                &public,
            ),
        ] {
            assert_ne!(app, principal(&other, tenant, cloud), "{other:?} {tenant}");
        }
        // IMDS knows the node's, whatever the class says.
        let nodes = Identity::Managed(IdentityId::ClientId("app".into()));
        let other = principal(&nodes, "other", &china);
        assert_eq!(principal(&nodes, "t", &public), other);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_served_in_an_outage_is_as_old_as_its_oldest() {
        let seconds = Duration::from_secs;
        let settings = MemorySettings {
            ttl: seconds(0),
            version_ttl: seconds(0),
            stale_if_error: seconds(3600),
            max_bytes: 100_000,
        };
        let memory = Memory::new(settings, &Metrics::default());
        let namespace = Namespace::new("n");
        let principal = principal(&workload("app", "a"), "t", &Cloud::public());
        let holder = Holder {
            namespace: &namespace,
            principal: &principal,
            host: "h",
        };
        let object = Arc::new(VaultObject {
            version: "1".to_owned(),
            contents: Contents::Certificate(Vec::new()),
            attributes: Attributes {
                enabled: true,
                not_before: None,
                expires: None,
            },
        });
        for name in ["old", "new"] {
            let latest = ObjectVersion::Latest;
            memory.keep_object(&holder, &fetch(name), &latest, &object, Instant::now());
            memory.keep_versions(&holder, &fetch(name), &[], Instant::now());
            tokio::time::advance(seconds(60)).await;
        }
        for (names, age) in [
            (&["new"][..], 60),
            (&["old"], 120),
            (&["old", "new"], 120),
            (&["new", "old"], 120),
        ] {
            let recollect =
                || memory.recollection(&namespace, Arc::clone(&principal), "h".to_owned());
            let (objects, lists) = (recollect(), recollect());
            assert_eq!(objects.age(), Duration::ZERO);
            for name in names {
                objects
                    .object(&fetch(name), &ObjectVersion::Latest)
                    .unwrap();
                lists.versions(&fetch(name)).unwrap();
            }
            assert_eq!(
                (objects.age(), lists.age()),
                (seconds(age), seconds(age)),
                "{names:?}"
            );
        }
    }
}
