//! [`RootFiles`], the files and folders that trusted certificates are in, and what was last found there.
//! [`crate::transport::Trust`] looks again when they may have changed.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};
use thiserror::Error;

use crate::text::excerpt::causes;

/// Why no certificates are trusted.
#[derive(Debug, Error)]
pub enum RootsError {
    /// The file that `--ca-file` names.
    #[error("--ca-file {}: expected PEM certificates", path.display())]
    CaFile {
        path: PathBuf,
        /// Why it cannot be read.
        source: pem::Error,
    },
    /// The file that `--ca-file` names has none in it.
    #[error("--ca-file {}: expected PEM certificates, found none", .0.display())]
    CaFileEmpty(PathBuf),
    /// Nobody could be believed.
    #[error(
        "no trusted certificates: expected the system's (package ca-certificates), SSL_CERT_FILE, SSL_CERT_DIR or \
         --ca-file"
    )]
    NoRoots,
}

/// The system's files, those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name, and the operator's.
#[derive(Debug)]
pub(super) struct RootFiles {
    ca_file: Option<PathBuf>,
    /// What was there the last time, good or not.
    seen: Found,
    /// What the file system said of it then.
    stamps: Vec<Option<Stamp>>,
    /// Whether the system had any when nothing was wrong with it.
    has_system: bool,
    /// What is wrong with them for as long as this runs, such as a link that leads nowhere.
    usual_problems: Vec<String>,
    /// What is trusted.
    trusted: Vec<CertificateDer<'static>>,
}

/// What tells that a file is another one, or has been written to: its device, inode, size and time.
type Stamp = (u64, u64, u64, i64, i64);

/// What is in the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Found {
    /// Sorted, each once.
    system: Vec<CertificateDer<'static>>,
    operator: Vec<CertificateDer<'static>>,
    problems: Vec<String>,
}

impl RootFiles {
    /// Reads them for the first time. The operator's file must be there.
    pub(super) fn open(ca_file: Option<&Path>) -> Result<Self, RootsError> {
        if let Some(path) = ca_file {
            ca_certificates(path)?;
        }
        let stamps = stamps(ca_file);
        let seen = Found::read(ca_file);
        for problem in &seen.problems {
            tracing::warn!(problem, "some trusted certificates cannot be read");
        }
        let trusted = seen.all();
        if trusted.is_empty() {
            return Err(RootsError::NoRoots);
        }
        Ok(Self {
            ca_file: ca_file.map(Path::to_owned),
            usual_problems: seen.problems.clone(),
            has_system: !seen.system.is_empty(),
            trusted,
            seen,
            stamps,
        })
    }

    /// The certificates that are trusted.
    pub(super) fn store(&self) -> RootCertStore {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(self.trusted.iter().cloned());
        store
    }

    /// Whether one of those that are named is another one than at the last time. The system's own, and what is below a
    /// folder, may have changed without.
    pub(super) fn are_others(&self) -> bool {
        stamps(self.ca_file.as_deref()) != self.stamps
    }

    /// Reads them again. True if others are trusted now. If something cannot be read that could be read before, a file
    /// is broken or half written: what can be read is trusted besides what was trusted before. Each change is logged
    /// once.
    pub(super) fn read_again(&mut self) -> bool {
        self.stamps = stamps(self.ca_file.as_deref());
        let found = Found::read(self.ca_file.as_deref());
        if found == self.seen {
            return false;
        }
        let mut problems: Vec<&str> = found
            .problems
            .iter()
            .filter(|problem| !self.usual_problems.contains(problem))
            .map(String::as_str)
            .collect();
        if found.system.is_empty() && self.has_system && problems.is_empty() {
            problems.push("no certificates of the system");
        }
        let mut trusted = found.all();
        if problems.is_empty() {
            self.usual_problems.clone_from(&found.problems);
            self.has_system = !found.system.is_empty();
        } else {
            trusted.extend(self.trusted.iter().cloned());
            trusted.sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
            trusted.dedup();
            let problems = problems.join("; ");
            tracing::warn!(
                problems,
                "some files of trusted certificates cannot be read; the certificates trusted so far stay trusted"
            );
        }
        self.seen = found;
        if trusted == self.trusted {
            return false;
        }
        self.trusted = trusted;
        let certificates = self.trusted.len();
        tracing::info!(certificates, "the trusted certificates have changed");
        true
    }
}

impl Found {
    fn read(ca_file: Option<&Path>) -> Self {
        // The crate reads SSL_CERT_FILE and SSL_CERT_DIR, and the system's files where neither is set.
        // What it cannot read is not fatal if something is left.
        let system = rustls_native_certs::load_native_certs();
        let mut problems: Vec<_> = system.errors.iter().map(ToString::to_string).collect();
        let operator = match ca_file.map(ca_certificates) {
            None => Vec::new(),
            Some(Ok(certificates)) => certificates,
            Some(Err(error)) => {
                problems.push(causes(&error));
                Vec::new()
            }
        };
        let mut found = Self {
            system: system.certs,
            operator,
            problems,
        };
        for certificates in [&mut found.system, &mut found.operator] {
            let there_were = certificates.len();
            certificates
                .retain(|certificate| RootCertStore::empty().add(certificate.clone()).is_ok());
            let unusable = there_were - certificates.len();
            if unusable > 0 {
                let problem = format!("{unusable} of {there_were} certificates cannot be used");
                found.problems.push(problem);
            }
        }
        found.problems.sort_unstable();
        found
    }

    fn all(&self) -> Vec<CertificateDer<'static>> {
        let mut all = [&self.system[..], &self.operator].concat();
        all.sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
        all.dedup();
        all
    }
}

/// What the file system says of the operator's file, and of the files and folders that the environment names.
fn stamps(ca_file: Option<&Path>) -> Vec<Option<Stamp>> {
    let variable = |name| std::env::var_os(name).unwrap_or_default();
    let paths = [variable("SSL_CERT_FILE"), variable("SSL_CERT_DIR")];
    let paths = paths.iter().flat_map(std::env::split_paths);
    paths
        .chain(ca_file.map(Path::to_owned))
        .map(|path| {
            let found = fs::metadata(path).ok()?;
            let (device, inode, size) = (found.dev(), found.ino(), found.size());
            Some((device, inode, size, found.mtime(), found.mtime_nsec()))
        })
        .collect()
}

/// The certificates in the operator's file; at least one.
fn ca_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, RootsError> {
    let unreadable = |source| RootsError::CaFile {
        path: path.to_owned(),
        source,
    };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(unreadable)?
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    if certificates.is_empty() {
        return Err(RootsError::CaFileEmpty(path.to_owned()));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> Vec<u8> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/certificates");
        fs::read(folder.join(name)).unwrap()
    }

    #[test]
    fn trust_follows_its_file_and_outlasts_a_broken_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let (one, other) = (file("root.crt"), file("other-root.crt"));
        fs::write(&path, &one).unwrap();
        let mut files = RootFiles::open(Some(&path)).unwrap();
        let at_start = files.store().len();
        assert!(!files.are_others() && !files.read_again());
        fs::write(&path, &other).unwrap();
        assert!(files.are_others());
        assert!(files.read_again());
        assert_eq!(files.store().len(), at_start);
        let other_alone = files.trusted.clone();
        for broken in [&b""[..], b"text", &one[..one.len() / 2], b"\xff"] {
            fs::write(&path, broken).unwrap();
            files.read_again();
            assert_eq!(files.trusted, other_alone);
        }
        fs::remove_file(&path).unwrap();
        files.read_again();
        assert_eq!(files.trusted, other_alone);
        // A good certificate before one that is half written.
        fs::write(&path, [&one, &other[..other.len() / 2]].concat()).unwrap();
        files.read_again();
        assert_eq!(files.trusted, other_alone);
        fs::write(&path, [&one[..], &other].concat()).unwrap();
        assert!(files.read_again());
        assert_eq!(files.store().len(), at_start + 1);
        fs::write(&path, &one).unwrap();
        assert!(files.read_again(), "what is taken out of a good file");
        assert_eq!(files.store().len(), at_start);
    }
}
