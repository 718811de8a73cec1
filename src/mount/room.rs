//! [`Room`], how much one mount may still get. A class may ask for far more than an answer can hold, and what is kept
//! until the answer is there is kept by the process that serves the whole node.

use std::sync::atomic::{AtomicUsize, Ordering};

use thiserror::Error;

/// The most versions that the histories of one mount may have together.
const MAX_VERSIONS: usize = 10_000;

/// What is taken by the objects of one mount, and how much there may be.
#[derive(Debug)]
pub(super) struct Room {
    max_bytes: usize,
    bytes: AtomicUsize,
    versions: AtomicUsize,
}

/// An answer has no room for all that a class asks for.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Full {
    /// More bytes than the driver takes.
    #[error("the files have more than {0} bytes")]
    Bytes(usize),
    /// More versions than anybody looks at.
    #[error("the histories have more than {MAX_VERSIONS} versions together")]
    Versions,
}

impl Room {
    /// All of it, for so many bytes.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            bytes: AtomicUsize::new(0),
            versions: AtomicUsize::new(0),
        }
    }

    /// Files of so many bytes are there.
    pub(super) fn take_bytes(&self, bytes: usize) -> Result<(), Full> {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.max_bytes {
            return Err(Full::Bytes(self.max_bytes));
        }
        Ok(())
    }

    /// A history has so many versions.
    pub(super) fn take_versions(&self, versions: usize) -> Result<(), Full> {
        let before = self.versions.fetch_add(versions, Ordering::Relaxed);
        if before.saturating_add(versions) > MAX_VERSIONS {
            return Err(Full::Versions);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_adds_up() {
        let room = Room::new(10);
        assert_eq!(room.take_bytes(10), Ok(()));
        assert_eq!(room.take_bytes(0), Ok(()));
        assert_eq!(room.take_bytes(1), Err(Full::Bytes(10)));
        assert_eq!(room.take_bytes(usize::MAX), Err(Full::Bytes(10)));
        assert_eq!(room.take_versions(MAX_VERSIONS), Ok(()));
        assert_eq!(room.take_versions(1), Err(Full::Versions));
    }
}
