//! [`Volume`], the folder that an app would see as its volume.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::azure::SECRET;
use crate::digest::sha256;
use crate::failure::{Failure, cannot};
use crate::listing;

/// The folder. It need not be there yet.
#[derive(Clone, Debug)]
pub struct Volume {
    path: PathBuf,
}

/// What is in a volume, so that two moments can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Where `..data` points to.
    pub data: String,
    /// Where the name that the app opens points to.
    pub link: String,
    /// The file's mode, in octal.
    pub mode: String,
    /// SHA-256 of the file.
    pub digest: String,
    /// When the file was written.
    written: SystemTime,
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            data,
            mode,
            digest,
            written,
            ..
        } = self;
        let written = written
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        write!(
            f,
            "..data -> {data}, mode {mode}, sha256 {digest}, written at {written:?}"
        )
    }
}

impl Volume {
    /// The volume in this folder.
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file that the app opens.
    pub fn file(&self) -> PathBuf {
        self.path.join(SECRET)
    }

    /// As `ls -la` shows it.
    pub fn list(&self) -> Result<String, Failure> {
        listing::list(&self.path).map_err(cannot("list the volume"))
    }

    /// What is in it.
    pub fn contents(&self) -> Result<Contents, Failure> {
        let link = |path: &Path| {
            fs::read_link(path)
                .map(|target| target.display().to_string())
                .map_err(cannot(format!("read the link {}", path.display())))
        };
        let file = self.file();
        let bytes = fs::read(&file).map_err(cannot("read the secret's file"))?;
        let found = fs::metadata(&file).map_err(cannot("examine the secret's file"))?;
        Ok(Contents {
            data: link(&self.path.join("..data"))?,
            link: link(&file)?,
            mode: format!("{:04o}", found.permissions().mode() & 0o7777),
            digest: sha256(&bytes),
            written: found
                .modified()
                .map_err(cannot("examine the secret's file"))?,
        })
    }
}
