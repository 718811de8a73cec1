//! [`Source`], where a mount gets its objects from: a vault, or, in an outage, what it gave before.

use std::sync::Arc;

use time::OffsetDateTime;
use tokio::time::Instant;

use crate::azure::limiter::Turn;
use crate::azure::retry::retry;
use crate::azure::vault::azure::Vault;
use crate::azure::vault::memory::{Memory, Principal, Recollection};
use crate::azure::vault::values::{ValueKey, Values};
use crate::azure::vault::{ListedVersion, VaultError, VaultObject};
use crate::class::object::ObjectVersion;
use crate::class::plan::Fetch;
use crate::observe::metrics::ObjectRequests;
use crate::shares::Namespace;

/// Where the objects of one mount come from.
pub(super) enum Source<'a> {
    /// The vault, asked in turn with other mounts.
    Vault(FromVault<'a>),
    /// What a vault gave to the same principal before.
    Memory(Recollection<'a>),
}

/// The requests of one mount to one vault.
pub(super) struct FromVault<'a> {
    /// The pod's, which pays for what is kept.
    pub(super) namespace: Namespace,
    pub(super) vault: &'a Arc<Vault>,
    /// What is kept so that it need not be asked for again, where that is allowed.
    pub(super) values: Option<&'a Values>,
    /// What is kept for outages, where that is allowed, and for whom.
    pub(super) memory: Option<(&'a Memory, Arc<Principal>)>,
    /// When what proves the identity expires.
    pub(super) proof_end: Option<OffsetDateTime>,
    pub(super) deadline: Instant,
    pub(super) turn: Arc<Turn>,
    pub(super) requests: &'a ObjectRequests,
}

impl Source<'_> {
    /// One version of an object.
    pub(super) async fn object(
        &self,
        fetch: &Fetch,
        version: &ObjectVersion,
    ) -> Result<Arc<VaultObject>, VaultError> {
        match self {
            Self::Memory(memory) => memory.object(fetch, version),
            Self::Vault(vault) => {
                let object = vault.object(fetch, version).await;
                if let Some((memory, principal)) = &vault.memory {
                    let (namespace, host) = (&vault.namespace, vault.host());
                    match &object {
                        Ok(object) => {
                            memory.keep_object(namespace, principal, host, fetch, version, object);
                        }
                        Err(error) if error.is_denial() => {
                            memory.forget(principal, host, fetch, Some(version));
                        }
                        Err(_) => {}
                    }
                }
                object
            }
        }
    }

    /// The enabled versions of an object, the newest first: as many as a history needs.
    pub(super) async fn versions(&self, fetch: &Fetch) -> Result<Vec<ListedVersion>, VaultError> {
        match self {
            Self::Memory(memory) => memory.versions(fetch),
            Self::Vault(from) => {
                let list = || {
                    let most = fetch.most_listed();
                    Box::pin(from.vault.versions(fetch.kind, &fetch.name, most))
                };
                let limiter = from.vault.limiter();
                let listed = retry(limiter, &from.turn, from.deadline, list);
                let listed = from
                    .requests
                    .count(fetch.kind, listed, VaultError::word)
                    .await;
                if let Some((memory, principal)) = &from.memory {
                    let (namespace, host) = (&from.namespace, from.host());
                    match &listed {
                        Ok(listed) => {
                            memory.keep_versions(namespace, principal, host, fetch, listed);
                        }
                        Err(error) if error.is_denial() => {
                            memory.forget(principal, host, fetch, None);
                        }
                        Err(_) => {}
                    }
                }
                listed
            }
        }
    }
}

impl FromVault<'_> {
    fn host(&self) -> &str {
        &self.vault.owner().0
    }

    /// One version of an object, from what is kept where that is allowed. Each request is boxed, so that
    /// those that wait for their turn have no room reserved for it.
    async fn object(
        &self,
        fetch: &Fetch,
        version: &ObjectVersion,
    ) -> Result<Arc<VaultObject>, VaultError> {
        let Some(values) = self.values else {
            let get = || Box::pin(self.vault.get(fetch.kind, &fetch.name, version));
            let object = retry(self.vault.limiter(), &self.turn, self.deadline, get);
            let object = self
                .requests
                .count(fetch.kind, object, VaultError::word)
                .await?;
            return Ok(Arc::new(object));
        };
        let key = ValueKey {
            owner: Arc::clone(self.vault.owner()),
            kind: fetch.kind,
            name: fetch.name.clone(),
            version: version.clone(),
        };
        // Other mounts may wait for it too, so it has all it needs with it.
        let ask = || {
            let (vault, turn) = (Arc::clone(self.vault), Arc::clone(&self.turn));
            let (wanted, deadline) = (key.clone(), self.deadline);
            let requests = self.requests.clone();
            async move {
                let get = || Box::pin(vault.get(wanted.kind, &wanted.name, &wanted.version));
                let object = retry(vault.limiter(), &turn, deadline, get);
                requests.count(wanted.kind, object, VaultError::word).await
            }
        };
        Box::pin(values.get(&self.namespace, &key, self.proof_end, ask)).await
    }
}
