//! [`Hosts`], which names stand in the file of hosts.
//!
//! The file is only read for that: what a name's address is says the resolver, which may have been told to look
//! elsewhere first. The resolver itself cannot tell which of its answers come without DNS.

use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use parking_lot::Mutex;

/// The most bytes of the file that are read: what follows counts as any other name.
const MAX_BYTES: u64 = 256 * 1024;

/// A file of hosts, read again when it has changed.
pub(super) struct Hosts {
    path: PathBuf,
    read: Mutex<Option<Read>>,
}

struct Read {
    version: Version,
    names: HashSet<String>,
}

/// The file, its size, and when it was changed: the kubelet writes another one, others write into it.
type Version = (u64, u64, i64, i64);

impl Hosts {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            read: Mutex::default(),
        }
    }

    /// Whether this name, in lower case, has an address in the file.
    pub(super) fn have(&self, name: &str) -> bool {
        let mut read = self.read.lock();
        let version = std::fs::metadata(&self.path).as_ref().map(version).ok();
        if read.as_ref().map(|read| read.version) != version {
            *read = self.read().ok();
        }
        read.as_ref().is_some_and(|read| read.names.contains(name))
    }

    fn read(&self) -> io::Result<Read> {
        let file = File::open(&self.path)?;
        let version = version(&file.metadata()?);
        let mut bytes = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut bytes)?;
        let names = names(&String::from_utf8_lossy(&bytes));
        Ok(Read { version, names })
    }
}

fn version(metadata: &Metadata) -> Version {
    let changed = (metadata.ctime(), metadata.ctime_nsec());
    (metadata.ino(), metadata.size(), changed.0, changed.1)
}

/// The names of the lines.
///
/// Source: hosts(5).
fn names(text: &str) -> HashSet<String> {
    let lines = text.lines().map(|line| line.split('#').next());
    let names = lines.flat_map(|line| line.unwrap_or_default().split_whitespace().skip(1));
    names.map(str::to_ascii_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_an_address() {
        for (text, expected) in [
            ("", &[][..]),
            ("127.0.0.1", &[]),
            ("# 127.0.0.1 a", &[]),
            (
                "127.0.0.1\tA b#c\n  ::1   d.example # e",
                &["a", "b", "d.example"],
            ),
        ] {
            let expected = expected.iter().map(|name| (*name).to_owned());
            assert_eq!(names(text), expected.collect(), "{text:?}");
        }
    }

    #[test]
    fn a_file_that_changes_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        let hosts = Hosts::new(path.clone());
        assert!(!hosts.have("a"));
        for (text, a, b) in [
            ("::1 a", true, false),
            ("::1 b", false, true),
            ("", false, false),
        ] {
            let new = folder.path().join("new");
            std::fs::write(&new, text).unwrap();
            std::fs::rename(&new, &path).unwrap();
            assert_eq!((hosts.have("a"), hosts.have("b")), (a, b), "{text:?}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(!hosts.have("b"));
        let many = usize::try_from(MAX_BYTES).unwrap() / 2;
        let long = format!("::1 {}\n::1 late", "x ".repeat(many));
        std::fs::write(&path, long).unwrap();
        assert!(hosts.have("x") && !hosts.have("late"));
    }
}
