//! [`Workshop`], where the objects of one mount become files: by the workers where that may take long, one after the
//! other, and each version once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::{self, OnceCell};

use crate::class::plan::Fetch;
use crate::observe::phases::Phases;
use crate::os::lock::lock;
use crate::rendering::{
    self, Derivations, Effort, RenderError, Rendered, Rendering, SecretContent,
};
use crate::shares::{Payer, Workers};
use crate::text::sensitive::Sensitive;

/// What one mount makes files with.
#[derive(Debug)]
pub(super) struct Workshop<'a> {
    workers: &'a Workers,
    payer: &'a Payer,
    phases: &'a Phases,
    derivations: Arc<Derivations>,
    /// One job of a mount at a time.
    turn: sync::Mutex<()>,
    is_busy: AtomicBool,
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

/// What is made once, for all entries that ask for it.
type Once = OnceCell<Result<Made, RenderError>>;

/// A version of a secret, and what becomes of it.
type Version = (String, String, Rendering);

impl<'a> Workshop<'a> {
    /// A mount's, which has made nothing yet.
    pub(super) fn new(workers: &'a Workers, payer: &'a Payer, phases: &'a Phases) -> Self {
        Self {
            workers,
            payer,
            phases,
            derivations: Arc::default(),
            turn: sync::Mutex::default(),
            is_busy: AtomicBool::new(false),
        }
    }

    /// Where the time of the mount goes.
    pub(super) fn phases(&self) -> &'a Phases {
        self.phases
    }

    /// Whether something is being made, or waits for its turn.
    pub(super) fn is_busy(&self) -> bool {
        self.is_busy.load(Ordering::Relaxed)
    }

    /// Makes the files of a version of a secret, or takes those that are there.
    pub(super) async fn secret(
        &self,
        finished: &Finished,
        fetch: &Fetch,
        version: &str,
        value: Sensitive,
        content: SecretContent,
    ) -> Result<Made, RenderError> {
        let how = fetch.rendering;
        if rendering::is_cheap(content, value.len()) {
            let _render = self.phases.render.run();
            return made(value, content, how, &Effort::default());
        }
        // Names have no case.
        let name = fetch.name.as_str().to_ascii_lowercase();
        let once = {
            let mut known = lock(&finished.0);
            Arc::clone(known.entry((name, version.to_owned(), how)).or_default())
        };
        let making = || self.make(value, content, how);
        once.get_or_init(making).await.clone()
    }

    async fn make(
        &self,
        value: Sensitive,
        content: SecretContent,
        how: Rendering,
    ) -> Result<Made, RenderError> {
        let _turn = self.turn.lock().await;
        let _render = self.phases.render.run();
        let _busy = Busy::new(&self.is_busy);
        let derivations = Arc::clone(&self.derivations);
        let job = move |stop: &_| {
            let stop = Clone::clone(stop);
            made(value, content, how, &Effort { derivations, stop })
        };
        let what = "turning certificates into files";
        self.workers.run(self.payer, what, job).await
    }
}

/// Holds for as long as this lives, however that ends.
struct Busy<'a>(&'a AtomicBool);

impl<'a> Busy<'a> {
    fn new(is_busy: &'a AtomicBool) -> Self {
        is_busy.store(true, Ordering::Relaxed);
        Self(is_busy)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
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
        let workshop = Workshop::new(&workers, &payer, &phases);
        let finished = Finished::default();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/certificates");
        let good = STANDARD.encode(std::fs::read(format!("{folder}/p256-3des.pfx")).unwrap());
        let make = async |fetch: Fetch, version: &str, value: &str| {
            let (value, content) = (value.to_owned().into(), SecretContent::CertificatePfx);
            let made = workshop.secret(&finished, &fetch, version, value, content);
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
        assert!(!workshop.is_busy());
    }
}
