//! [`PrivateFolder`], a folder that nobody else can look into, for as long as the value lives.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// A folder with mode 0700 and a name of its own. Removed with this value, and all that is in it.
#[derive(Debug)]
pub struct PrivateFolder(PathBuf);

impl PrivateFolder {
    /// A new folder in another one. It is always made, never found: the process's number would not do for
    /// a name, since in containers all processes have the same.
    pub fn new(parent: &Path, prefix: &str) -> io::Result<Self> {
        loop {
            let path = parent.join(format!("{prefix}{:08x}", fastrand::u32(..)));
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                result => return result.map(|()| Self(path)),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}
