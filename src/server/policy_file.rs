//! [`PolicyFile`], the file of `--policy` and the policy that was last read from it.
//!
//! The file is read at each mount, as [environment files](crate::server::environment_files) are, and parsed
//! where its bytes are others than the last time. That costs microseconds beside requests of milliseconds,
//! needs no task and no timer, and leaves no time in which a mount is judged by a policy that has been
//! replaced. Times and inodes could not tell as much: a file can change twice within one tick of the clock.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use thiserror::Error;

use crate::os::small_file::{self, SmallFileError};
use crate::policy::{MAX_BYTES, Policy, PolicyError};

/// A policy that follows its file.
#[derive(Debug)]
pub struct PolicyFile {
    path: PathBuf,
    held: Mutex<Held>,
}

/// What is known of the file.
#[derive(Debug)]
struct Held {
    /// The last good one.
    policy: Arc<Policy>,
    /// What was there the last time, good or not.
    seen: Result<String, PolicyFileError>,
}

/// Why a file gives no policy.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PolicyFileError {
    /// It is none that can be read.
    #[error(transparent)]
    File(#[from] SmallFileError),
    /// It is not text.
    #[error("expected YAML in UTF-8")]
    NotText,
    /// It is no policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

impl PolicyFile {
    /// Reads the file for the first time. Without a policy nothing is allowed, so there is none to start with.
    pub fn open(path: &Path) -> Result<Self, PolicyFileError> {
        let text = read(path)?;
        let policy = Policy::parse(&text)?;
        tracing::info!(policy = %path.display(), rules = policy.len(), "mounts need a rule of the policy");
        Ok(Self {
            path: path.to_owned(),
            held: Mutex::new(Held {
                policy: Arc::new(policy),
                seen: Ok(text),
            }),
        })
    }

    /// The policy in the file, or the last one where there is none. Each change is logged once.
    ///
    /// Mounts read one after another: of two that read side by side, the one that has seen the older file
    /// might come back last and bring it back.
    pub fn current(&self) -> Arc<Policy> {
        let mut held = self.held.lock();
        let found = read(&self.path);
        if found != held.seen {
            let path = self.path.display();
            let parsed = match &found {
                Ok(text) => Policy::parse(text).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            match parsed {
                Ok(policy) => {
                    tracing::info!(policy = %path, rules = policy.len(), "the policy has changed");
                    held.policy = Arc::new(policy);
                }
                Err(problem) => tracing::error!(
                    policy = %path,
                    problem,
                    rules = held.policy.len(),
                    "the policy's file is broken; the last good one stays in force"
                ),
            }
            held.seen = found;
        }
        Arc::clone(&held.policy)
    }
}

fn read(path: &Path) -> Result<String, PolicyFileError> {
    let bytes = small_file::read(path, MAX_BYTES)?;
    String::from_utf8(bytes).map_err(|_| PolicyFileError::NotText)
}
