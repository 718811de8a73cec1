//! [`PrivateFolder`], a folder that nobody else can look into, for as long as the value lives.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::TempDir;

/// A folder with mode 0700 and a name of its own. Removed with this value, and all that is in it.
#[derive(Debug)]
pub struct PrivateFolder(TempDir);

impl PrivateFolder {
    /// A new folder in another one. It is always made, never found.
    pub fn new(parent: &Path, prefix: &str) -> io::Result<Self> {
        tempfile::Builder::new()
            .prefix(prefix)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(parent)
            .map(Self)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn it_is_its_owners_alone_and_goes_with_what_is_in_it() {
        let parent = tempfile::tempdir().unwrap();
        let folders = [(); 2].map(|()| PrivateFolder::new(parent.path(), ".").unwrap());
        for folder in &folders {
            let mode = fs::metadata(folder.path()).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o700);
            fs::write(folder.path().join("s"), "").unwrap();
        }
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 2);
        drop(folders);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
