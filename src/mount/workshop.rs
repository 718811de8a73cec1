//! [`Workshop`], where the objects of one mount become files: by the workers where that may take long, one after the
//! other, and each version once.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{self, OnceCell};
use tokio::time::Instant;

use crate::class::plan::Fetch;
use crate::observe::phases::Phases;
use crate::rendering::{
    self, Derivations, Effort, RenderError, Rendered, Rendering, SecretContent,
};
use crate::shares::{Account, Held, Payer, Workers};
use crate::text::sensitive::Sensitive;

/// A vault that has not answered for so long may hang; a younger request may have begun since a file was ready.
pub(super) const HANGING: Duration = Duration::from_secs(1);

/// What a mount waits for while objects become files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// One of the workers, which all have others' jobs.
    Waiting,
    /// Certificates in PEM.
    Pem,
    /// A PFX file.
    Pfx,
}

/// What one mount makes files with.
#[derive(Debug)]
pub(super) struct Workshop<'a> {
    workers: &'a Workers,
    payer: &'a Payer,
    account: &'a Account,
    phases: &'a Phases,
    derivations: Arc<Derivations>,
    /// One job of a mount at a time.
    turn: sync::Mutex<()>,
    work: Arc<Mutex<Option<Work>>>,
    /// The reads from the vault that are under way.
    reads: Mutex<BTreeSet<(Instant, u64)>>,
    count: AtomicU64,
}

/// The files of a secret, and what is odd about the certificates in them.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) files: Vec<Rendered>,
    pub(super) chain_oddity: Option<String>,
}

/// What has been made of one vault's secrets that took long.
#[derive(Debug, Default)]
pub(super) struct Finished(Mutex<HashMap<Version, Arc<Once>>>);

/// What is made once, for all entries that ask for it, and the bytes of that.
type Once = OnceCell<Result<(Made, Held), RenderError>>;

/// A version of a secret, and what becomes of it.
type Version = (String, String, Rendering);

impl<'a> Workshop<'a> {
    /// A mount's, which has made nothing yet.
    pub(super) fn new(
        workers: &'a Workers,
        payer: &'a Payer,
        account: &'a Account,
        phases: &'a Phases,
    ) -> Self {
        Self {
            workers,
            payer,
            account,
            phases,
            derivations: Arc::default(),
            turn: sync::Mutex::default(),
            work: Arc::default(),
            reads: Mutex::default(),
            count: AtomicU64::new(0),
        }
    }

    /// Where the bytes of the mount are held.
    pub(super) fn account(&self) -> &'a Account {
        self.account
    }

    /// Where the time of the mount goes.
    pub(super) fn phases(&self) -> &'a Phases {
        self.phases
    }

    /// What the mount waits for while objects become files; nothing where it is the vault that does not answer.
    pub(super) fn work(&self) -> Option<Work> {
        if self.is_hanging() {
            return None;
        }
        *self.work.lock()
    }

    /// Whether the vault has not answered for so long that it may hang.
    pub(super) fn is_hanging(&self) -> bool {
        let reads = self.reads.lock();
        let oldest = reads.first().map(|(since, _)| *since);
        oldest.is_some_and(|since| since.elapsed() >= HANGING)
    }

    /// Reads from the vault.
    pub(super) async fn read<T>(&self, reading: impl Future<Output = T>) -> T {
        let _read = Read::new(&self.reads, self.count.fetch_add(1, Ordering::Relaxed));
        reading.await
    }

    /// Makes the files of a version of a secret, or takes those that are there. `bytes` are those of the value, with room for
    /// what it becomes.
    pub(super) async fn secret(
        &self,
        finished: &Finished,
        fetch: &Fetch,
        version: &str,
        value: Sensitive,
        content: SecretContent,
        bytes: &mut Held,
    ) -> Result<Made, RenderError> {
        let how = fetch.rendering;
        if rendering::is_cheap(content, value.len()) {
            let _render = self.phases.render.run();
            return made(value, content, how, &Effort::default());
        }
        // Names have no case.
        let name = fetch.name.as_str().to_ascii_lowercase();
        let once = {
            let mut known = finished.0.lock();
            Arc::clone(known.entry((name, version.to_owned(), how)).or_default())
        };
        let making = || async {
            let made = self.make(value, content, how).await?;
            // A copy stays here. Nothing is waited for, since other objects of the mount hold bytes and wait for this.
            let files = made.files.iter().map(|file| file.contents.len());
            let of_copy = bytes.split(files.sum());
            Ok((made, of_copy))
        };
        // Boxed: few objects need it, and all would have room for it.
        let made = Box::pin(once.get_or_init(making)).await;
        made.as_ref()
            .map(|(made, _)| made.clone())
            .map_err(Clone::clone)
    }

    async fn make(
        &self,
        value: Sensitive,
        content: SecretContent,
        how: Rendering,
    ) -> Result<Made, RenderError> {
        let _turn = self.turn.lock().await;
        let _render = self.phases.render.run();
        let _busy = Busy::new(&self.work);
        let work = Arc::clone(&self.work);
        let derivations = Arc::clone(&self.derivations);
        let job = move |stop: &_| {
            *work.lock() = Some(match content {
                SecretContent::CertificatePfx => Work::Pfx,
                SecretContent::CertificatePem | SecretContent::Plain => Work::Pem,
            });
            let stop = Clone::clone(stop);
            made(value, content, how, &Effort { derivations, stop })
        };
        let what = "turning certificates into files";
        self.workers.run(self.payer, what, job).await
    }
}

/// There is a job for as long as this lives, however that ends.
struct Busy<'a>(&'a Mutex<Option<Work>>);

impl<'a> Busy<'a> {
    fn new(work: &'a Mutex<Option<Work>>) -> Self {
        *work.lock() = Some(Work::Waiting);
        Self(work)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        *self.0.lock() = None;
    }
}

/// A read that is under way for as long as this lives.
struct Read<'a> {
    reads: &'a Mutex<BTreeSet<(Instant, u64)>>,
    key: (Instant, u64),
}

impl<'a> Read<'a> {
    fn new(reads: &'a Mutex<BTreeSet<(Instant, u64)>>, number: u64) -> Self {
        let key = (Instant::now(), number);
        reads.lock().insert(key);
        Self { reads, key }
    }
}

impl Drop for Read<'_> {
    fn drop(&mut self) {
        self.reads.lock().remove(&self.key);
    }
}

fn made(
    value: Sensitive,
    content: SecretContent,
    how: Rendering,
    effort: &Effort,
) -> Result<Made, RenderError> {
    let files = rendering::secret(value, content, how, effort)?;
    let is_certificate = content != SecretContent::Plain;
    let chain_oddity = is_certificate
        .then(|| rendering::chain_oddity(&files))
        .flatten();
    Ok(Made {
        files,
        chain_oddity,
    })
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use futures::FutureExt as _;

    use super::*;
    use crate::class::file_mode::FileMode;
    use crate::class::object::{FilePath, ObjectKind, ObjectName, ObjectVersion};

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

    #[tokio::test]
    async fn a_version_is_made_into_files_once() {
        let (workers, payer, phases) = (Workers::default(), Payer::default(), Phases::default());
        let account = Account::unbounded();
        let workshop = Workshop::new(&workers, &payer, &account, &phases);
        let finished = Finished::default();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/certificates");
        let good = STANDARD.encode(std::fs::read(format!("{folder}/p256-3des.pfx")).unwrap());
        let make = async |fetch: Fetch, version: &str, value: &str| {
            let (value, content) = (value.to_owned().into(), SecretContent::CertificatePfx);
            let mut bytes = Held::nothing(&account);
            let made = workshop.secret(&finished, &fetch, version, value, content, &mut bytes);
            made.await.is_ok()
        };
        assert!(!make(fetch("a"), "1", "no base64").await);
        // Another value would be another version: nobody looks at this one.
        assert!(!make(fetch("A"), "1", &good).await);
        assert!(make(fetch("a"), "2", &good).await);
        assert!(make(fetch("b"), "1", &good).await);
        let mut otherwise = fetch("a");
        otherwise.rendering.separate_files = true;
        assert!(make(otherwise, "1", &good).await);
        assert_eq!(workshop.work(), None);
    }

    #[tokio::test]
    async fn what_a_mount_waits_for_is_told_apart() {
        let (workers, payer, phases) = (Workers::new(1), Payer::default(), Phases::default());
        let account = Account::unbounded();
        let workshop = Workshop::new(&workers, &payer, &account, &phases);
        let finished = Finished::default();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let mut other = Box::pin(workers.run(&payer, "another mount's", move |_| ended.recv()));
        assert!((&mut other).now_or_never().is_none());
        let fetch = fetch("a");
        let (value, content) = ("no base64".to_owned().into(), SecretContent::CertificatePfx);
        let mut bytes = Held::nothing(&account);
        let making = workshop.secret(&finished, &fetch, "1", value, content, &mut bytes);
        let mut making = Box::pin(making);
        assert!((&mut making).now_or_never().is_none());
        assert_eq!(workshop.work(), Some(Work::Waiting));
        // A vault that hangs at that moment is what the mount waits for.
        tokio::time::pause();
        let reading = Box::pin(workshop.read(std::future::pending::<()>()));
        let mut reading = Some(reading);
        assert!(reading.as_mut().unwrap().now_or_never().is_none());
        assert_eq!(workshop.work(), Some(Work::Waiting));
        tokio::time::advance(HANGING).await;
        assert_eq!(workshop.work(), None);
        drop(reading.take());
        assert_eq!(workshop.work(), Some(Work::Waiting));
        tokio::time::resume();
        end.send(()).unwrap();
        other.await.unwrap();
        assert!(making.await.is_err());
        assert_eq!(workshop.work(), None);
    }
}
