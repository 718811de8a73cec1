//! [`Provider::mount`], the main job: from a [`Plan`] to the files that the driver writes.
//!
//! A mount answers all of its files or none. A failure that concerns single objects (not found, not
//! allowed) names every one of them; one that concerns the vault or the identity ends the mount at once.

mod bytes;
mod entry;
mod history;
mod room;
mod source;
mod workshop;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;

use futures::FutureExt as _;
use parking_lot::Mutex;
use thiserror::Error;
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tokio::time::{Duration, Instant};

use crate::azure::limiter::{Asker, Turn};
use crate::azure::reads::Arrival;
use crate::azure::vault::attributes::Attributes;
use crate::azure::vault::azure::Vault;
use crate::azure::vault::memory::{Memory, Principal};
use crate::azure::vault::{Contents, PublicJwk, VaultError, VaultObject, Vaults, WaitingFor};
use crate::class::asked::Asked;
use crate::class::cloud::VaultName;
use crate::class::file_mode::FileMode;
use crate::class::object::ObjectVersion;
use crate::class::plan::{Fetch, Plan};
use crate::mount::bytes::{ANSWER, FILE, LISTED, list_weight, needed, side_by_side};
use crate::mount::history::{is_undecided, newest_from};
use crate::mount::room::Room;
use crate::mount::source::{FromVault, SharedMember, SharedReads, Source};
use crate::mount::workshop::{Finished, HANGING, Workshop};
use crate::observe::metrics::{Metrics, ObjectRequests, OutageMetrics};
use crate::observe::phases::Phases;
use crate::observe::traces::Trace;
use crate::rendering::{self, JsonWebKey, PublicKeyError, RenderError, Rendered, SecretContent};
use crate::shares::{Account, Held, Payer, Workers};
use crate::text::excerpt::causes;
use crate::text::sensitive::Sensitive;
use crate::transport::Transport;

pub use self::room::Full;
pub use self::workshop::Work;

/// The most lists of versions that one mount reads at once: each may have thousands of entries, and only its files count
/// for the answer's size.
const MAX_LISTS: usize = 4;

/// The most bytes of values that wait for mounts which still earn their tokens.
const MAX_SHARED_BYTES: usize = 8 * 1024 * 1024;
/// How long what was there before may wait for bytes, once time has run out.
const RECOLLECTING: Duration = Duration::from_millis(200);

/// What serves every mount of this process.
#[derive(Debug)]
pub struct Provider {
    vaults: Vaults,
    reads: Option<SharedReads>,
    memory: Option<Memory>,
    metrics: OutageMetrics,
    requests: ObjectRequests,
    workers: Workers,
    max_answer_size: usize,
}

/// When a mount was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Arrived(Option<Arrival>);

/// When and how a mount is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Occasion {
    /// When its request came: nobody gets what was read before, but for what is kept.
    pub arrived: Arrived,
    /// Whether its volume has its files already, so that what is kept may answer.
    pub is_remount: bool,
    /// When it is due.
    pub deadline: Instant,
}

/// What a mount came to.
#[derive(Debug)]
pub struct Mounted {
    /// The files of the answer.
    pub files: Vec<MountedFile>,
    /// The vault that they are from, also where it gave them a while ago.
    pub vault: VaultName,
    /// Whether that is the class's failover vault.
    pub is_failover: bool,
}

impl Mounted {
    fn from(files: Vec<MountedFile>, vault: &VaultName, plan: &Plan) -> Self {
        Self {
            files,
            vault: vault.clone(),
            is_failover: *vault != plan.vault,
        }
    }
}

/// One file of the answer.
#[derive(Debug)]
pub struct MountedFile {
    /// Its path in the volume.
    pub path: String,
    pub mode: FileMode,
    pub contents: Sensitive,
    /// The id of the object it comes from.
    pub id: String,
    /// The version of the object in the vault.
    pub version: String,
    /// Whether and when the object is meant to be used.
    pub attributes: Attributes,
    /// A secret's `contentType`.
    pub content_type: Option<String>,
    /// What is odd about the certificates in it.
    pub chain_oddity: Option<String>,
    /// Whether it comes of a certificate whose private key the vault does not give.
    pub lacks_key: bool,
}

/// What the fields of a file have around them in the answer, at most: their tags and lengths.
const FRAME: usize = 32;

impl MountedFile {
    /// What is odd about the object that it comes from, though it is served.
    pub fn oddities(&self, now: OffsetDateTime) -> impl Iterator<Item = &'static str> {
        let lacks_key = self.lacks_key.then_some(
            "has no private key: the certificate's policy says that its key may not be exported",
        );
        self.attributes.oddity(now).into_iter().chain(lacks_key)
    }

    /// The bytes that it takes of the answer, at most a few less.
    pub fn size_in_answer(&self) -> usize {
        FRAME + self.path.len() + self.contents.len() + self.id.len() + self.version.len()
    }
}

/// Why a mount failed: what was asked by whom, and what went wrong.
#[derive(Debug, Error)]
#[error("the mount failed")]
pub struct MountError {
    /// Who asked which vault.
    pub asked: Asked,
    /// What went wrong.
    #[source]
    pub failure: Failure,
}

/// What went wrong.
#[derive(Debug, Error)]
pub enum Failure {
    /// Some of the objects cannot be had; at least one.
    #[error("{} of the objects cannot be had", .0.len())]
    Objects(Vec<ObjectFailure>),
    /// The vault or the identity, so that no object can be had.
    #[error("the vault cannot be used")]
    Whole(#[source] VaultError),
    /// Two objects' files have one path.
    #[error("two objects write the file {0}")]
    SamePath(String),
    /// The files are more than an answer has room for.
    #[error(transparent)]
    Full(#[from] Full),
    /// Time ran out before there were bytes for what comes next.
    #[error("time ran out after {} ms, before there was memory for the objects", after.as_millis())]
    NoBytes {
        /// How much time there was.
        after: Duration,
    },
    /// Time ran out while objects became files.
    #[error("time ran out after {} ms, while certificates were turned into files", after.as_millis())]
    Rendering {
        /// How much time there was.
        after: Duration,
        /// What went on.
        work: Work,
    },
    /// The caller's time, or ours, ran out.
    #[error("time ran out after {} ms", after.as_millis())]
    Deadline {
        /// How much time there was.
        after: Duration,
        /// Who was being waited for.
        waiting_for: WaitingFor,
    },
}

/// One object that cannot be had.
#[derive(Debug, Error)]
#[error("{} {}", fetch.kind.as_str(), fetch.name.as_str())]
pub struct ObjectFailure {
    /// What was wanted.
    pub fetch: Fetch,
    /// Why it cannot be had.
    #[source]
    pub problem: ObjectProblem,
}

/// Why one object cannot be had.
#[derive(Debug, Error)]
pub enum ObjectProblem {
    /// The vault does not give it.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// It has no such version.
    #[error("there is no such version, or it is disabled")]
    NoVersion {
        /// The newest of those that there are.
        there_are: Vec<String>,
    },
    /// Its value cannot become a file.
    #[error(transparent)]
    Secret(#[from] RenderError),
    /// Its key cannot become a file.
    #[error(transparent)]
    Key(#[from] PublicKeyError),
    /// It is one too many.
    #[error(transparent)]
    Full(#[from] Full),
}

impl Provider {
    /// A provider that has talked to nobody yet. Mounts share what they read if `shares_reads`, and what vaults gave is kept,
    /// to be given again, where `memory` is something. No mount has files of more bytes than `max_answer_size`.
    pub fn new(
        vaults: Vaults,
        shares_reads: bool,
        memory: Option<Memory>,
        metrics: &Metrics,
        max_answer_size: usize,
    ) -> Self {
        Self {
            vaults,
            reads: shares_reads.then(|| SharedReads::new(MAX_SHARED_BYTES)),
            memory,
            metrics: metrics.outages().clone(),
            requests: metrics.object_requests(),
            workers: Workers::default(),
            max_answer_size,
        }
    }

    /// The HTTP client that asks vaults.
    pub fn transport(&self) -> &Transport {
        self.vaults.transport()
    }

    /// Those that do what takes CPU.
    pub fn workers(&self) -> &Workers {
        &self.workers
    }

    /// Most bytes of all files of one mount.
    pub fn max_answer_size(&self) -> usize {
        self.max_answer_size
    }

    /// A mount's request has come.
    pub fn arrive(&self) -> Arrived {
        Arrived(self.reads.as_ref().map(SharedReads::arrive))
    }

    /// Fetches everything that the plan names, in its order: from its vault, and, while that is out of
    /// order, from its failover vault, or from what was there before. With the bytes that the files hold.
    pub async fn mount(
        &self,
        plan: &Plan,
        payer: &Payer,
        account: &Account,
        occasion: Occasion,
        phases: &Phases,
    ) -> Result<(Mounted, Held), Box<MountError>> {
        let workshop = Workshop::new(&self.workers, payer, account, phases);
        // A vault that hangs leaves time for the other one.
        let leaves_time = plan.failover_vault.is_some();
        let failed = |vault, failure| {
            Box::new(MountError {
                asked: Asked::by(plan, vault),
                failure,
            })
        };
        let failure = match self
            .mount_from(plan, &plan.vault, occasion, leaves_time, &workshop)
            .await
        {
            Ok((files, bytes)) => return Ok((Mounted::from(files, &plan.vault, plan), bytes)),
            Err(failure) => failure,
        };
        if !failure.is_outage() {
            return Err(failed(&plan.vault, failure));
        }
        let error = failed(&plan.vault, failure);
        let vault = plan.vault.as_str();
        if let Some(other) = &plan.failover_vault {
            let failover = other.as_str();
            let mounting = self.mount_from(plan, other, occasion, false, &workshop);
            match mounting.await {
                Ok((files, bytes)) => {
                    self.metrics.failover.inc();
                    let causes = causes(&*error);
                    tracing::warn!(vault, failover, causes, "served by the failover vault");
                    return Ok((Mounted::from(files, other, plan), bytes));
                }
                Err(failure) => {
                    let causes = causes(&*failed(other, failure));
                    tracing::warn!(vault, failover, causes, "the failover vault fails too");
                }
            }
        }
        let recollected = tokio::time::timeout(RECOLLECTING, self.recollect(plan, &workshop)).await;
        if let Ok(Some((mounted, bytes, age))) = recollected {
            self.metrics.memory.inc();
            let (seconds, causes) = (age.as_secs(), causes(&*error));
            tracing::warn!(vault, seconds, causes, "served what was there so long ago");
            return Ok((mounted, bytes));
        }
        Err(error)
    }

    /// From one vault. If it has to leave time, it gets half of what is left once the mount has its token; everything else is
    /// waited for until the mount is due.
    async fn mount_from(
        &self,
        plan: &Plan,
        vault: &VaultName,
        occasion: Occasion,
        leaves_time: bool,
        workshop: &Workshop<'_>,
    ) -> Result<(Vec<MountedFile>, Held), Failure> {
        let (start, deadline) = (Instant::now(), occasion.deadline);
        let share = if leaves_time { 2 } else { 1 };
        let share_from = |now: Instant| now + deadline.saturating_duration_since(now) / share;
        // A vault may have to be asked for its challenge first.
        let patience = Mutex::new(share_from(start));
        let phases = workshop.phases();
        let vault = self.vaults.open(plan, vault).map_err(Failure::Whole)?;
        let principal = Arc::new(Principal::of(&vault.owner().1));
        // While it earns its token, what others are given is kept for it.
        let member = self.member(&vault, &principal, occasion.arrived);
        // Pinned here, so that it is still waiting when it is asked for whom.
        let mut work = pin!(async {
            let sign_in = Trace::sign_in().around(vault.sign_in(phases));
            sign_in.await.map_err(Failure::Whole)?;
            self.vaults.keep(plan, &vault);
            let vaults_time = share_from(Instant::now());
            *patience.lock() = vaults_time;
            let asker = Asker::new(plan.namespace.as_str(), &plan.identity.name());
            let held_back = Arc::clone(&phases.held_back);
            let turn = Turn::new(&plan.namespace, asker, held_back);
            turn.add(plan.requests());
            let source = Source::Vault(FromVault {
                namespace: plan.namespace.clone(),
                vault: &vault,
                member,
                memory: self.memory.as_ref().map(|memory| (memory, principal)),
                is_remount: occasion.is_remount,
                patience: vaults_time,
                deadline,
                turn: Arc::new(turn),
                requests: &self.requests,
                counts: &phases.reads,
            });
            let objects = fetch_all(&source, plan, workshop, self.max_answer_size);
            Trace::objects().around(objects).await
        });
        let mut until = share_from(start);
        loop {
            if let Ok(result) = tokio::time::timeout_at(until, work.as_mut()).await {
                return result;
            }
            let patience = *patience.lock();
            if until < patience {
                until = patience;
                continue;
            }
            let after = start.elapsed();
            let failure = match workshop.work() {
                Some(work) => Failure::Rendering { after, work },
                None if workshop.account().is_waiting() && !workshop.is_hanging() => {
                    Failure::NoBytes { after }
                }
                None => Failure::Deadline {
                    after,
                    waiting_for: vault.waiting_for(),
                },
            };
            if failure.is_outage() || until >= deadline {
                return Err(failure);
            }
            // A mount from another vault would wait for the same thing. Later the vault may hang.
            until = (until + HANGING).min(deadline);
        }
    }

    /// Takes part in what is read from this vault as this principal.
    fn member(
        &self,
        vault: &Vault,
        principal: &Arc<Principal>,
        arrived: Arrived,
    ) -> Option<SharedMember> {
        let (reads, arrival) = (self.reads.as_ref()?, arrived.0?);
        let asking = (Arc::clone(principal), vault.owner().0.clone());
        Some(reads.join(asking, arrival))
    }

    /// The files as they were when a vault was last in order, and the age of the oldest. Only for who has
    /// proved to be the principal that got them.
    async fn recollect(
        &self,
        plan: &Plan,
        workshop: &Workshop<'_>,
    ) -> Option<(Mounted, Held, Duration)> {
        let memory = self
            .memory
            .as_ref()
            .filter(|memory| memory.serves_outages())?;
        for name in plan.vaults() {
            let vault = self.vaults.open(plan, name).ok()?;
            if !vault.is_signed_in() {
                continue;
            }
            let (host, identity) = &**vault.owner();
            let principal = Arc::new(Principal::of(identity));
            let source =
                Source::Memory(memory.recollection(&plan.namespace, principal, host.clone()));
            let fetched = fetch_all(&source, plan, workshop, self.max_answer_size).await;
            if let Ok((files, bytes)) = fetched
                && let Source::Memory(recollection) = &source
            {
                let mounted = Mounted::from(files, name, plan);
                return Some((mounted, bytes, recollection.age()));
            }
        }
        None
    }
}

impl Failure {
    /// Whether the vault is out of order, rather than saying no.
    fn is_outage(&self) -> bool {
        match self {
            Self::Whole(error) => error.is_outage(),
            Self::Deadline { waiting_for, .. } => matches!(waiting_for, WaitingFor::Vault(_)),
            Self::Objects(_)
            | Self::SamePath(_)
            | Self::Full(_)
            | Self::NoBytes { .. }
            | Self::Rendering { .. } => false,
        }
    }
}

/// Fetches side by side and puts the files in order.
async fn fetch_all(
    source: &Source<'_>,
    plan: &Plan,
    workshop: &Workshop<'_>,
    max_answer_size: usize,
) -> Result<(Vec<MountedFile>, Held), Failure> {
    let _objects = workshop.phases().objects.run();
    let objects = Objects::new(source, workshop, max_answer_size);
    let mut files = Vec::new();
    let mut failures = Vec::new();
    let fetching = |(index, fetch)| {
        let files = objects.files_of(fetch);
        files.map(move |result| (index, result))
    };
    let all = plan.fetches.iter().enumerate();
    let fetched = side_by_side(workshop.account(), all, fetching, |(index, result)| {
        match result {
            Ok(of_one) => files.push((index, of_one)),
            Err(ObjectProblem::Vault(error)) if !error.concerns_one_object() => {
                return Err(Failure::Whole(error));
            }
            Err(ObjectProblem::Full(full)) => return Err(full.into()),
            Err(problem) => failures.push((index, problem)),
        }
        Ok(())
    });
    fetched.await?;
    if failures.is_empty() {
        files.sort_by_key(|(index, _)| *index);
        check_paths(&files)?;
        let files = files.into_iter().flat_map(|(_, of_one)| of_one).collect();
        return Ok((files, objects.into_bytes()));
    }
    failures.sort_by_key(|(index, _)| *index);
    let failures = failures.into_iter().map(|(index, problem)| ObjectFailure {
        fetch: plan.fetches[index].clone(),
        problem,
    });
    Err(Failure::Objects(failures.collect()))
}

/// The objects of one mount, and the files that they become.
struct Objects<'a> {
    source: &'a Source<'a>,
    workshop: &'a Workshop<'a>,
    finished: Finished,
    room: Room,
    /// Those of the files that are there.
    bytes: Mutex<Held>,
    /// Places for lists of versions.
    lists: Semaphore,
}

impl<'a> Objects<'a> {
    fn new(source: &'a Source<'a>, workshop: &'a Workshop<'a>, max_answer_size: usize) -> Self {
        Self {
            source,
            workshop,
            finished: Finished::default(),
            room: Room::new(max_answer_size),
            bytes: Mutex::new(Held::nothing(workshop.account())),
            lists: Semaphore::new(MAX_LISTS),
        }
    }

    /// What the files hold.
    fn into_bytes(self) -> Held {
        self.bytes.into_inner()
    }

    /// The files that one entry of the class becomes.
    async fn files_of(&self, fetch: &Fetch) -> Result<Vec<MountedFile>, ObjectProblem> {
        match fetch.history {
            None => self.files_of_version(fetch, &fetch.version, None).await,
            Some(count) => Box::pin(self.files_of_history(fetch, count)).await,
        }
    }

    /// The files of the newest versions of an object, one listing and then side by side.
    async fn files_of_history(
        &self,
        fetch: &Fetch,
        count: NonZeroU32,
    ) -> Result<Vec<MountedFile>, ObjectProblem> {
        // The semaphore is never closed, so there is a place for every list in the end.
        let place = self.lists.acquire().await;
        let mut bytes = self.account().take(list_weight(fetch)).await;
        let listed = self.workshop.read(self.source.versions(fetch)).await?;
        bytes.shrink_to(listed.len() * LISTED);
        drop(place);
        let current = if is_undecided(&listed, &fetch.version) {
            self.current(fetch).await?
        } else {
            None
        };
        let versions = newest_from(&listed, current.as_deref(), &fetch.version, count.get())?;
        drop(listed);
        bytes.shrink_to(versions.len() * LISTED);
        self.room.take_versions(versions.len())?;
        let fewer = (count.get() as usize).saturating_sub(versions.len());
        self.source.spare(fewer as u64);
        let mut files = Vec::new();
        let getting = |(age, version)| {
            let files = self.files_of_version(fetch, version, Some(age));
            files.map(move |result| (age, result))
        };
        let versions = versions.iter().enumerate();
        let got = side_by_side(self.account(), versions, getting, |(age, result)| {
            result.map(|of_one| files.push((age, of_one)))
        });
        got.await?;
        files.sort_by_key(|(age, _)| *age);
        Ok(files.into_iter().flat_map(|(_, of_one)| of_one).collect())
    }

    /// The version that the vault gives to a request for none, unless it is disabled.
    async fn current(&self, fetch: &Fetch) -> Result<Option<String>, VaultError> {
        self.source.repeat();
        match self.object(fetch, || self.source.current(fetch)).await {
            Ok((object, _bytes)) => Ok(object.attributes.enabled.then(|| object.version.clone())),
            // Of a disabled secret the vault says no more than that.
            Err(error) if error.concerns_one_object() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The files that one version of an object becomes; `age` counts from the newest.
    async fn files_of_version(
        &self,
        fetch: &Fetch,
        version: &ObjectVersion,
        age: Option<usize>,
    ) -> Result<Vec<MountedFile>, ObjectProblem> {
        let reading = || self.source.object(fetch, version);
        let (object, mut bytes) = self.object(fetch, reading).await?;
        // Copied where others have it too: mounts that share the read, or what is kept.
        let object = Arc::unwrap_or_clone(object);
        let (mut content_type, mut chain_oddity) = (None, None);
        let rendered = match object.contents {
            Contents::Secret {
                value,
                kid,
                content_type: of_secret,
            } => {
                let content = SecretContent::of(kid.as_deref(), of_secret.as_deref())?;
                content_type = of_secret;
                let (finished, version) = (&self.finished, &object.version);
                let made = self
                    .workshop
                    .secret(finished, fetch, version, value, content, &mut bytes)
                    .await?;
                chain_oddity = made.chain_oddity;
                made.files
            }
            Contents::Key(jwk) => vec![Rendered::whole(public_key(&jwk)?)],
            Contents::Certificate(der) => vec![Rendered::whole(rendering::certificate(&der))],
        };
        let place = age.map(|age| format!("/{age}")).unwrap_or_default();
        let files: Vec<_> = rendered
            .into_iter()
            .map(|file| MountedFile {
                path: format!("{}{place}{}", fetch.path.as_str(), file.suffix),
                mode: fetch.mode,
                contents: file.contents,
                id: format!("{}{place}", fetch.id),
                version: object.version.clone(),
                attributes: object.attributes,
                content_type: content_type.clone(),
                chain_oddity: chain_oddity.clone(),
                lacks_key: file.lacks_key,
            })
            .collect();
        let size = files.iter().map(MountedFile::size_in_answer).sum();
        self.room.take_bytes(size)?;
        bytes.shrink_to(size + FILE * files.len());
        self.bytes.lock().add(bytes);
        Ok(files)
    }

    /// A version of an object, as `reading` gives it, with the bytes that it takes until it is files. If it has to wait for
    /// bytes, it lets go of the object and asks for it again: what others wait for is never held by one that waits.
    async fn object<F>(
        &self,
        fetch: &Fetch,
        reading: impl Fn() -> F,
    ) -> Result<(Arc<VaultObject>, Held), VaultError>
    where
        F: Future<Output = Result<Arc<VaultObject>, VaultError>>,
    {
        let expected = || self.source.expected().max(ANSWER);
        let mut bytes = self.account().take(expected()).await;
        // More has come to be expected while it waited.
        if !bytes.try_grow_to(expected()) {
            drop(bytes);
            bytes = self.account().take(expected()).await;
        }
        loop {
            let object = self.workshop.read(reading()).await?;
            let needed = needed(&object, fetch);
            // With a quarter for the JSON that it comes in.
            self.source.took(needed + needed / 4);
            if bytes.try_grow_to(needed) {
                return Ok((object, bytes));
            }
            drop((object, bytes));
            bytes = self.account().take(needed.max(ANSWER)).await;
            self.source.repeat();
        }
    }

    fn account(&self) -> &'a Account {
        self.workshop.account()
    }
}

fn public_key(jwk: &PublicJwk) -> Result<Sensitive, PublicKeyError> {
    rendering::public_key(&JsonWebKey {
        kty: jwk.kty.as_deref(),
        crv: jwk.crv.as_deref(),
        n: jwk.n.as_deref(),
        e: jwk.e.as_deref(),
        x: jwk.x.as_deref(),
        y: jwk.y.as_deref(),
    })
}

/// A certificate's `.crt` and `.key` may meet the file of another object, which only shows now.
pub fn check_paths(files: &[(usize, Vec<MountedFile>)]) -> Result<(), Failure> {
    let mut known: BTreeMap<&str, &MountedFile> = BTreeMap::new();
    for file in files.iter().flat_map(|(_, of_one)| of_one) {
        let first = known.entry(&file.path).or_insert(file);
        // The same entry twice is harmless.
        if (&first.id, &first.contents) != (&file.id, &file.contents) {
            return Err(Failure::SamePath(file.path.clone()));
        }
    }
    for path in known.keys() {
        if path
            .match_indices('/')
            .any(|(end, _)| known.contains_key(&path[..end]))
        {
            return Err(Failure::SamePath((*path).to_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_only_show_after_rendering_have_paths_of_their_own() {
        let file = |path: &str, id: &str| MountedFile {
            path: path.into(),
            mode: FileMode::new(0).unwrap(),
            contents: Sensitive::default(),
            id: id.into(),
            version: String::new(),
            attributes: Attributes {
                enabled: true,
                not_before: None,
                expires: None,
            },
            content_type: None,
            chain_oddity: None,
            lacks_key: false,
        };
        assert!(
            check_paths(&[
                (0, vec![file("a", "x"), file("a.key", "x")]),
                (1, vec![file("b", "y")])
            ])
            .is_ok()
        );
        assert!(check_paths(&[(0, vec![file("a", "x")]), (1, vec![file("a", "x")])]).is_ok());
        assert!(
            check_paths(&[(0, vec![file("a.key", "x")]), (1, vec![file("a.key", "y")])]).is_err()
        );
        assert!(
            check_paths(&[
                (0, vec![file("a.key", "x")]),
                (1, vec![file("a.key/b", "y")])
            ])
            .is_err()
        );
    }
}
