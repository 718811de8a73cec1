//! [`Source`], where a mount gets its objects from: a vault, asked by this mount or by another one, or what it gave
//! before.

use std::num::NonZeroU32;
use std::sync::Arc;

use tokio::time::Instant;

use crate::azure::limiter::{Permit, Turn};
use crate::azure::reads::{Member, Reading, Reads, Shareable, Way, Whose};
use crate::azure::retry::{Attempts, Retriable as _, tell};
use crate::azure::vault::azure::Vault;
use crate::azure::vault::memory::{Holder, Memory, Principal, Recollection};
use crate::azure::vault::{ListedVersion, VaultError, VaultObject};
use crate::class::object::{ObjectKind, ObjectName, ObjectVersion};
use crate::class::plan::Fetch;
use crate::observe::metrics::ObjectRequests;
use crate::observe::phases::{ReadCounts, ReadSource};
use crate::observe::traces;
use crate::shares::{Namespace, Weight};

/// Where the objects of one mount come from.
pub(super) enum Source<'a> {
    /// The vault, asked in turn with other mounts.
    Vault(FromVault<'a>),
    /// What a vault gave to the same principal before.
    Memory(Recollection<'a>),
}

/// The reads of one mount from one vault.
pub(super) struct FromVault<'a> {
    /// The pod's, which pays for what is kept.
    pub(super) namespace: Namespace,
    pub(super) vault: &'a Arc<Vault>,
    /// By which it shares what is read, where that is allowed.
    pub(super) member: Option<SharedMember>,
    /// What is kept, where that is allowed, and for whom.
    pub(super) memory: Option<(&'a Memory, Arc<Principal>)>,
    /// Whether what is kept may answer.
    pub(super) is_remount: bool,
    /// Until when the vault is waited for, unless that is over and the mount still goes on.
    pub(super) patience: Instant,
    /// When the mount is due.
    pub(super) deadline: Instant,
    pub(super) turn: Arc<Turn>,
    pub(super) requests: &'a ObjectRequests,
    pub(super) counts: &'a ReadCounts,
}

/// The reads that mounts share.
pub(super) type SharedReads = Reads<Asking, Arc<Wanted>, Given, VaultError>;
pub(super) type SharedMember = Member<Asking, Arc<Wanted>, Given, VaultError>;

/// Who asks which vault. Those who are equal may have what one of them is given.
pub type Asking = (Arc<Principal>, String);

/// What is asked of a vault.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    kind: ObjectKind,
    name: ObjectName,
    what: What,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum What {
    Version(ObjectVersion),
    /// The newest versions, at most so many.
    Versions(Option<NonZeroU32>),
}

/// What a vault gave.
#[derive(Debug)]
pub enum Given {
    /// A version of an object.
    Object(Arc<VaultObject>),
    /// The newest versions of an object.
    Versions(Vec<ListedVersion>),
}

impl Weight for Given {
    fn weight(&self) -> usize {
        match self {
            Self::Object(object) => object.weight(),
            Self::Versions(versions) => versions.len() * 128,
        }
    }
}

impl Shareable for VaultError {
    fn whose(&self) -> Whose {
        match self {
            Self::Absent => Whose::Everyones,
            Self::Refused(refusal) if refusal.says_that_it_is_not_there() => Whose::Everyones,
            Self::Refused(refusal) if matches!(refusal.status, 401 | 403) => Whose::Askers,
            _ => Whose::Nobodys,
        }
    }
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
            Self::Vault(vault) => vault.object(fetch, version).await,
        }
    }

    /// The vault's current version of an object, read after this call: an earlier read could be older than the list.
    pub(super) async fn current(&self, fetch: &Fetch) -> Result<Arc<VaultObject>, VaultError> {
        match self {
            Self::Memory(memory) => memory.object(fetch, &ObjectVersion::Latest),
            Self::Vault(vault) => {
                let member = vault.member.as_ref().map(SharedMember::now);
                let latest = &ObjectVersion::Latest;
                vault.read_object(fetch, latest, member.as_ref()).await
            }
        }
    }

    /// The enabled versions of an object, the newest first: as many as a history needs.
    pub(super) async fn versions(&self, fetch: &Fetch) -> Result<Vec<ListedVersion>, VaultError> {
        match self {
            Self::Memory(memory) => memory.versions(fetch),
            Self::Vault(vault) => vault.versions(fetch).await,
        }
    }

    /// The bytes that a version of an object is expected to take.
    pub(super) fn expected(&self) -> usize {
        match self {
            Self::Memory(_) => 0,
            Self::Vault(vault) => vault.vault.limiter().answers().expected(),
        }
    }

    /// One took so many.
    pub(super) fn took(&self, bytes: usize) {
        if let Self::Vault(vault) = self {
            vault.vault.limiter().answers().took(bytes);
        }
    }

    /// A request is made once more.
    pub(super) fn repeat(&self) {
        if let Self::Vault(vault) = self {
            vault.turn.add(1);
        }
    }

    /// So many requests that were expected need not be made.
    pub(super) fn spare(&self, requests: u64) {
        if let Self::Vault(vault) = self {
            vault.turn.remove(requests);
        }
    }
}

impl FromVault<'_> {
    /// What is kept, and for whom.
    fn memory(&self) -> Option<(&Memory, Holder<'_>)> {
        let (memory, principal) = self.memory.as_ref()?;
        let holder = Holder {
            namespace: &self.namespace,
            principal,
            host: &self.vault.owner().0,
        };
        Some((memory, holder))
    }

    async fn object(
        &self,
        fetch: &Fetch,
        version: &ObjectVersion,
    ) -> Result<Arc<VaultObject>, VaultError> {
        if let Some(object) = self.remembered(fetch, version) {
            self.turn.remove(1);
            self.counts.count(ReadSource::Memory);
            return Ok(object);
        }
        self.read_object(fetch, version, self.member.as_ref()).await
    }

    async fn read_object(
        &self,
        fetch: &Fetch,
        version: &ObjectVersion,
        member: Option<&SharedMember>,
    ) -> Result<Arc<VaultObject>, VaultError> {
        let what = What::Version(version.clone());
        let read = self.read(fetch, what, member).await;
        let object = match read {
            Ok(reading) => match &*reading.value {
                Given::Object(object) => Ok((Arc::clone(object), reading.own_since())),
                Given::Versions(_) => Err(VaultError::Forgotten),
            },
            Err(error) => Err(error),
        };
        if let Some((memory, holder)) = self.memory() {
            match &object {
                Ok((object, Some(at))) => {
                    memory.keep_object(&holder, fetch, version, object, *at);
                }
                Err(error) if error.is_denial() => {
                    memory.forget(&holder, fetch, Some(version));
                }
                Ok(_) | Err(_) => {}
            }
        }
        object.map(|(object, _)| object)
    }

    /// What is young enough for a remount, while this mount's identity has proved who it is.
    fn remembered(&self, fetch: &Fetch, version: &ObjectVersion) -> Option<Arc<VaultObject>> {
        let (memory, holder) = self.memory()?;
        let may = self.is_remount && self.vault.is_signed_in();
        may.then(|| memory.recent(&holder, fetch, version))?
    }

    async fn versions(&self, fetch: &Fetch) -> Result<Vec<ListedVersion>, VaultError> {
        let what = What::Versions(fetch.most_listed());
        let read = self.read(fetch, what, self.member.as_ref()).await;
        let listed = match read {
            Ok(reading) => match &*reading.value {
                Given::Versions(listed) => Ok((listed.clone(), reading.own_since())),
                Given::Object(_) => Err(VaultError::Forgotten),
            },
            Err(error) => Err(error),
        };
        if let Some((memory, holder)) = self.memory() {
            match &listed {
                Ok((listed, Some(at))) => {
                    memory.keep_versions(&holder, fetch, listed, *at);
                }
                Err(error) if error.is_denial() => {
                    memory.forget(&holder, fetch, None);
                }
                Ok(_) | Err(_) => {}
            }
        }
        listed.map(|(listed, _)| listed)
    }

    /// Until when a request may wait that is made now.
    fn until(&self) -> Instant {
        if Instant::now() < self.patience {
            self.patience
        } else {
            self.deadline
        }
    }

    /// What the vault gives, and when it was asked: by this mount, or by another one.
    async fn read(
        &self,
        fetch: &Fetch,
        what: What,
        member: Option<&SharedMember>,
    ) -> Result<Reading<Given>, VaultError> {
        let wanted = Arc::new(Wanted {
            kind: fetch.kind,
            name: fetch.name.clone(),
            what,
        });
        let reading = Box::pin(self.attempts(&wanted, member));
        let reading = self.requests.count(fetch.kind, reading, VaultError::word);
        let reading = reading.await;
        self.turn.remove(1);
        reading
    }

    /// Tries until it succeeds, or it is no use.
    async fn attempts(
        &self,
        wanted: &Arc<Wanted>,
        member: Option<&SharedMember>,
    ) -> Result<Reading<Given>, VaultError> {
        let mut attempts = Attempts::new(self.until());
        loop {
            match self.attempt(wanted, member).await {
                Ok(given) => return Ok(given),
                Err(VaultError::Overload(overload)) => return Err(attempts.overloaded(overload)),
                Err(error) => attempts.failed(error).await?,
            }
        }
    }

    async fn attempt(
        &self,
        wanted: &Arc<Wanted>,
        member: Option<&SharedMember>,
    ) -> Result<Reading<Given>, VaultError> {
        let enter = || async {
            let permit = self.vault.limiter().enter(&self.turn, self.until()).await;
            permit.map_err(|overload| VaultError::overloaded(overload, None))
        };
        let Some(member) = member else {
            let permit = enter().await?;
            let asked_at = Instant::now();
            let asking = ask(Arc::clone(self.vault), Arc::clone(wanted), permit);
            let given = Box::pin(asking).await?;
            self.counts.count(ReadSource::Own);
            return Ok(Reading {
                value: Arc::new(given),
                way: Way::Own,
                asked_at,
            });
        };
        // Other mounts may wait for it too, so it has all it needs with it.
        let send = |permit| {
            let asking = ask(Arc::clone(self.vault), Arc::clone(wanted), permit);
            traces::here(self.namespace.clone().around(asking))
        };
        let has_proof = || self.vault.is_signed_in();
        let reading = member.read(wanted, has_proof, enter, send).await?;
        self.counts.count(match reading.way {
            Way::Own => ReadSource::Own,
            Way::Shared => ReadSource::Shared,
        });
        Ok(reading)
    }
}

/// One request, of which the limiter is told how it ended.
async fn ask(vault: Arc<Vault>, wanted: Arc<Wanted>, permit: Permit) -> Result<Given, VaultError> {
    let Wanted { kind, name, what } = &*wanted;
    let given = match what {
        What::Version(version) => {
            let object = vault.get(*kind, name, version).await;
            object.map(|object| Given::Object(Arc::new(object)))
        }
        What::Versions(most) => vault
            .versions(*kind, name, *most)
            .await
            .map(Given::Versions),
    };
    tell(permit, given.as_ref().err());
    given
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::azure::limiter::{Limit, Overload};
    use crate::azure::vault::refusal::{Operation, VaultRefusal};
    use crate::transport::Refusal;

    #[test]
    fn a_failure_is_shared_only_where_it_is_everyones() {
        let refused = |status: u16, body: &str| {
            let refusal = Refusal {
                host: "h".to_owned(),
                status,
                retry_after: None,
                body: body.to_owned().into(),
            };
            VaultError::Refused(Box::new(VaultRefusal::read(&refusal, Operation::Get)))
        };
        let absent = r#"{"error":{"code":"SecretNotFound","message":"m"}}"#;
        let denied =
            r#"{"error":{"code":"Forbidden","message":"m","innererror":{"code":"AccessDenied"}}}"#;
        let disabled = r#"{"error":{"code":"Forbidden","message":"m","innererror":{"code":"SecretDisabled"}}}"#;
        // One mount's time is up, and another one's is not.
        let overload = VaultError::Overload(Overload {
            limit: Limit::Vault,
            wait: Duration::from_secs(1),
            is_outage: false,
        });
        for (error, whose) in [
            (overload, Whose::Nobodys),
            (VaultError::Absent, Whose::Everyones),
            (refused(404, absent), Whose::Everyones),
            (refused(403, disabled), Whose::Everyones),
            // A proxy's.
            (refused(404, "<html>"), Whose::Nobodys),
            (refused(401, "{}"), Whose::Askers),
            (refused(403, denied), Whose::Askers),
            (refused(403, "<html>"), Whose::Askers),
            // Another mount earns its own.
            (VaultError::LostToken, Whose::Nobodys),
            (refused(429, "{}"), Whose::Nobodys),
            (refused(503, "{}"), Whose::Nobodys),
            (VaultError::Pending, Whose::Nobodys),
        ] {
            assert_eq!(error.whose(), whose, "{error:?}");
        }
    }
}
