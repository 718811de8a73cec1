//! A file that has a size at most, read whole.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use thiserror::Error;

/// Why a file is not read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SmallFileError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(io::ErrorKind),
    /// It is a folder, a pipe, or the like.
    #[error("expected a file")]
    NotAFile,
    /// It is larger.
    #[error("expected at most {0} bytes, found more")]
    TooLarge(usize),
}

/// Reads a file of at most so many bytes. In place: it is small, and in memory as all of a pod's projected files are.
pub fn read(path: &Path, max_bytes: usize) -> Result<Vec<u8>, SmallFileError> {
    let failed = |error: io::Error| SmallFileError::Unreadable(error.kind());
    // Opening a pipe would wait for somebody to write.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(SmallFileError::NotAFile);
    }
    let mut bytes = Vec::new();
    fs::File::open(path)
        .map_err(failed)?
        .take(max_bytes as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() > max_bytes {
        return Err(SmallFileError::TooLarge(max_bytes));
    }
    Ok(bytes)
}
