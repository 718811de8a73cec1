//! [`Source`], where a token, a certificate or a key is.

use std::borrow::Cow;
use std::path::PathBuf;

use thiserror::Error;

use crate::os::small_file::{self, SmallFileError};
use crate::text::sensitive::Sensitive;

/// The most bytes of a token, of certificates or of a key. A cluster's CA has a few kilobytes.
const MAX_BYTES: usize = 1024 * 1024;

/// Where a token, a certificate or a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In a file, which is read each time: tokens and certificates are replaced while the process runs.
    File(PathBuf),
    Inline(Sensitive),
}

/// A file has nothing that can be used.
#[derive(Debug, Error)]
#[error("{}: {problem}", path.display())]
pub struct SourceError {
    path: PathBuf,
    problem: SmallFileError,
}

impl Source {
    /// Whether it is here and has this word in it.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn says(&self, word: &str) -> bool {
        let bytes = match self {
            Self::File(_) => return false,
            Self::Inline(bytes) => bytes.expose(),
        };
        bytes
            .windows(word.len())
            .any(|found| found == word.as_bytes())
    }

    /// What is there now.
    pub fn read(&self) -> Result<Cow<'_, Sensitive>, SourceError> {
        match self {
            Self::Inline(bytes) => Ok(Cow::Borrowed(bytes)),
            Self::File(path) => match small_file::read(path, MAX_BYTES) {
                Ok(bytes) => Ok(Cow::Owned(bytes.into())),
                Err(problem) => Err(SourceError {
                    path: path.clone(),
                    problem,
                }),
            },
        }
    }
}
