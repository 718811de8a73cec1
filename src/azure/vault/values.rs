//! [`Values`], the objects that vaults gave, kept for as long as the operator allows (`--cache-ttl`).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::azure::cache::Cache;
use crate::azure::credential::IdentityKey;
use crate::azure::vault::{Contents, VaultError, VaultObject};
use crate::class::object::{ObjectKind, ObjectName, ObjectVersion};
use crate::observe::metrics::Metrics;
use crate::os::clock::Clock;
use crate::shares::{Namespace, Weight};

/// The longest that an exact version is kept. It never changes, but somebody may lose the right to it.
pub const MAX_VERSION_TTL: Duration = Duration::from_secs(3600);

/// How long values are kept, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueSettings {
    /// How long the newest version of an object is the newest; never longer than between two rotations.
    pub ttl: Duration,
    /// How long an exact version is kept.
    pub version_ttl: Duration,
    /// The most bytes of all values.
    pub max_bytes: usize,
}

/// Times that go against the driver's or each other.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ValueSettingsError {
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

impl ValueSettings {
    /// The settings, unless they go against each other. None where values are not kept.
    pub fn new(
        ttl: Duration,
        version_ttl: Option<Duration>,
        max_bytes: usize,
        rotation: Duration,
    ) -> Result<Option<Self>, ValueSettingsError> {
        if ttl.is_zero() {
            return match version_ttl {
                Some(ttl) if !ttl.is_zero() => Err(ValueSettingsError::VersionsOnly),
                _ => Ok(None),
            };
        }
        if ttl >= rotation {
            let found = ttl;
            return Err(ValueSettingsError::NotBelowRotation { rotation, found });
        }
        let version_ttl = version_ttl.unwrap_or(ttl);
        if version_ttl > MAX_VERSION_TTL {
            return Err(ValueSettingsError::VersionTooLong(version_ttl));
        }
        Ok(Some(Self {
            ttl,
            version_ttl,
            max_bytes,
        }))
    }
}

/// Who got something: a vault's host, and the identity that asked it. An identity's key has the digest of
/// what proved it, so that nobody gets what another one's proof has earned.
pub type Owner = (String, IdentityKey);

/// The objects that vaults gave.
pub struct Values {
    settings: ValueSettings,
    clock: Clock,
    objects: Cache<ValueKey, VaultObject, VaultError>,
}

/// Whose object it is, and which.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ValueKey {
    /// Who may have it.
    pub owner: Arc<Owner>,
    /// Its kind.
    pub kind: ObjectKind,
    /// Its name.
    pub name: ObjectName,
    /// The version as it was asked for.
    pub version: ObjectVersion,
}

impl Values {
    /// None yet.
    pub fn new(settings: ValueSettings, clock: Clock, metrics: &Metrics) -> Self {
        let metrics = metrics.values(settings.max_bytes);
        Self {
            objects: Cache::new(settings.max_bytes, Some(metrics)),
            settings,
            clock,
        }
    }

    /// The object, from memory or by asking. It is kept no longer than `proof_end`, when what proves the
    /// identity expires, and the namespace pays for it.
    pub async fn get<F>(
        &self,
        namespace: &Namespace,
        key: &ValueKey,
        proof_end: Option<OffsetDateTime>,
        ask: impl Fn() -> F,
    ) -> Result<Arc<VaultObject>, VaultError>
    where
        F: Future<Output = Result<VaultObject, VaultError>> + Send + 'static,
    {
        let life = match key.version {
            ObjectVersion::Latest => self.settings.ttl,
            ObjectVersion::Exact(_) => self.settings.version_ttl,
        };
        let proof_end = proof_end.map(|end| {
            let lasts = end - self.clock.now();
            Instant::now() + Duration::try_from(lasts).unwrap_or_default()
        });
        let mut asked = false;
        let asking = || {
            asked = true;
            ask()
        };
        match self
            .objects
            .get(namespace, key, life, proof_end, asking)
            .await
        {
            // Another mount's time was too short. This one may have more.
            Err(VaultError::Overload(_)) if !asked => ask().await.map(Arc::new),
            result => result,
        }
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Values")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
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

    #[test]
    fn times_go_with_the_drivers() {
        let seconds = Duration::from_secs;
        let settings =
            |ttl, version_ttl| ValueSettings::new(seconds(ttl), version_ttl, 1000, seconds(120));
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
    }
}
