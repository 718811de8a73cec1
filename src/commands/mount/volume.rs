//! [`Volume`], a folder written as the driver's atomic writer writes a pod's volume: the files are in
//! a folder `..<timestamp>`, the link `..data` points to it, and the names that an app sees are links
//! through `..data`. Renaming `..data` changes every file at one moment.
//!
//! Source: the driver's `pkg/util/fileutil/atomic_writer.go`, which is Kubernetes' own.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use thiserror::Error;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::class::object::FilePath;
use crate::generated::v1alpha1::File;

const DATA: &str = "..data";
const NEW_DATA: &str = "..data_tmp";

/// A folder that an app would see as its volume.
#[derive(Debug)]
pub(super) struct Volume {
    target: PathBuf,
}

/// What writing did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing was there before.
    Written,
    /// Something changed, and all files were changed at one moment.
    Updated,
    /// Everything was there already.
    Unchanged,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Written => "written",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
        })
    }
}

/// Why the files could not be written.
#[derive(Debug, Error)]
pub enum VolumeError {
    /// A path that the driver refuses.
    #[error("the provider's answer has the path {path:?}, which the driver does not accept")]
    Path { path: String },
    /// A mode that the driver refuses.
    #[error(
        "the provider's answer has mode {mode:o} for {path:?}, which the driver does not accept"
    )]
    Mode { path: String, mode: i32 },
    /// Something is there that this command did not make, and that it leaves alone.
    #[error("{}: is in the way; it was not made by this command", .0.display())]
    InTheWay(PathBuf),
    /// The file system.
    #[error("{}: cannot be {action}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was to be done.
        action: &'static str,
        /// Why it cannot.
        source: io::Error,
    },
}

fn failed(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> VolumeError {
    let path = path.to_owned();
    move |source| VolumeError::Io {
        path,
        action,
        source,
    }
}

impl Volume {
    /// The volume at this folder, which is made where there is none.
    pub(super) fn new(target: &Path) -> Result<Self, VolumeError> {
        fs::create_dir_all(target).map_err(failed(target, "made"))?;
        Ok(Self {
            target: target.to_owned(),
        })
    }

    /// Writes the files and removes what is no longer among them.
    pub(super) fn write(&self, files: &[File]) -> Result<Outcome, VolumeError> {
        for file in files {
            check(file)?;
        }
        let data = self.target.join(DATA);
        let old = match fs::read_link(&data) {
            // Only a folder beside it is ours to remove later; a link that leads elsewhere is not.
            Ok(link) if is_timestamped(&link) => {
                Some(self.target.join(link)).filter(|old| old.is_dir())
            }
            Ok(_) => return Err(VolumeError::InTheWay(data)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(failed(&data, "read")(source)),
        };
        let old_names = old
            .as_deref()
            .map(top_level_names)
            .transpose()?
            .unwrap_or_default();
        let names: BTreeSet<_> = files
            .iter()
            .map(|file| top_level(&file.path).to_owned())
            .collect();
        self.check_names(&names)?;
        if let Some(old) = &old
            && is_unchanged(old, files)
        {
            self.link_names(&names)?;
            return Ok(Outcome::Unchanged);
        }
        let fresh = self.fresh_folder()?;
        let result = write_files(&fresh, files)
            .and_then(|()| self.link_names(&names))
            .and_then(|()| self.switch_to(&fresh));
        if let Err(error) = result {
            _ = fs::remove_dir_all(&fresh);
            return Err(error);
        }
        for name in old_names.difference(&names) {
            let link = self.target.join(name);
            match fs::remove_file(&link) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed(&link, "removed")(error));
                }
                _ => {}
            }
        }
        match old {
            None => Ok(Outcome::Written),
            Some(old) => {
                fs::remove_dir_all(&old).map_err(failed(&old, "removed"))?;
                Ok(Outcome::Updated)
            }
        }
    }

    /// A new folder `..<timestamp>`.
    fn fresh_folder(&self) -> Result<PathBuf, VolumeError> {
        let format = format_description!("..[year]_[month]_[day]_[hour]_[minute]_[second]");
        let timestamp = OffsetDateTime::now_utc()
            .format(format)
            .unwrap_or_else(|_| "..0".to_owned());
        let path = self
            .target
            .join(format!("{timestamp}.{:09}", fastrand::u32(..1_000_000_000)));
        DirBuilder::new()
            .mode(0o755)
            .create(&path)
            .map_err(failed(&path, "made"))?;
        // Whatever the umask is, the app's user must be able to walk through.
        fs::set_permissions(&path, Permissions::from_mode(0o755)).map_err(failed(&path, "made"))?;
        Ok(path)
    }

    /// Refuses names that something else has already.
    fn check_names(&self, names: &BTreeSet<String>) -> Result<(), VolumeError> {
        for name in names {
            let link = self.target.join(name);
            let ours = match fs::read_link(&link) {
                Ok(leads_to) => leads_to == Path::new(DATA).join(name),
                Err(error) => error.kind() == io::ErrorKind::NotFound,
            };
            if !ours {
                return Err(VolumeError::InTheWay(link));
            }
        }
        Ok(())
    }

    /// The links that an app sees. One that is there already leads through `..data` and stays.
    fn link_names(&self, names: &BTreeSet<String>) -> Result<(), VolumeError> {
        for name in names {
            let link = self.target.join(name);
            if fs::read_link(&link).is_ok() {
                continue;
            }
            symlink(Path::new(DATA).join(name), &link).map_err(failed(&link, "linked"))?;
        }
        Ok(())
    }

    /// Makes `..data` point to the folder, at one moment.
    fn switch_to(&self, fresh: &Path) -> Result<(), VolumeError> {
        let new_data = self.target.join(NEW_DATA);
        let data = self.target.join(DATA);
        // A run that was killed in between may have left one.
        _ = fs::remove_file(&new_data);
        symlink(fresh.file_name().unwrap_or_default(), &new_data)
            .map_err(failed(&new_data, "linked"))?;
        fs::rename(&new_data, &data).map_err(failed(&data, "switched"))
    }
}

/// What the driver checks before it writes.
fn check(file: &File) -> Result<(), VolumeError> {
    if FilePath::new(&file.path)
        .ok()
        .is_none_or(|clean| clean.as_str() != file.path)
    {
        return Err(VolumeError::Path {
            path: file.path.clone(),
        });
    }
    if !(0..=0o777).contains(&file.mode) {
        return Err(VolumeError::Mode {
            path: file.path.clone(),
            mode: file.mode,
        });
    }
    Ok(())
}

/// Whether `..data` leads to a folder of the kind that [`Volume::fresh_folder`] makes, beside it.
fn is_timestamped(link: &Path) -> bool {
    let mut parts = link.components();
    let name = match (parts.next(), parts.next()) {
        (Some(Component::Normal(name)), None) => name.to_string_lossy(),
        _ => return false,
    };
    name.len() > 2 && name.starts_with("..") && name != DATA && name != NEW_DATA
}

fn top_level(path: &str) -> &str {
    path.split('/').next().unwrap_or(path)
}

fn top_level_names(folder: &Path) -> Result<BTreeSet<String>, VolumeError> {
    fs::read_dir(folder)
        .map_err(failed(folder, "read"))?
        .map(|entry| {
            Ok(entry
                .map_err(failed(folder, "read"))?
                .file_name()
                .to_string_lossy()
                .into_owned())
        })
        .collect()
}

/// Whether the folder holds exactly these files.
fn is_unchanged(folder: &Path, files: &[File]) -> bool {
    let expected: BTreeSet<_> = files.iter().map(|file| folder.join(&file.path)).collect();
    let mut found = BTreeSet::new();
    walk(folder, &mut found).is_ok()
        && found == expected
        && files.iter().all(|file| {
            let path = folder.join(&file.path);
            let mode = fs::metadata(&path).map(|found| found.permissions().mode() & 0o777);
            mode.is_ok_and(|mode| i64::from(mode) == i64::from(file.mode))
                && fs::read(&path).is_ok_and(|contents| contents == file.contents)
        })
}

fn walk(folder: &Path, found: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), found)?;
        } else {
            found.insert(entry.path());
        }
    }
    Ok(())
}

fn write_files(folder: &Path, files: &[File]) -> Result<(), VolumeError> {
    for file in files {
        let path = folder.join(&file.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed(parent, "made"))?;
        }
        // Private until it has the mode that it is to have.
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut target = options.open(&path).map_err(failed(&path, "written"))?;
        target
            .write_all(&file.contents)
            .map_err(failed(&path, "written"))?;
        let mode = u32::try_from(file.mode).unwrap_or_default();
        fs::set_permissions(&path, Permissions::from_mode(mode))
            .map_err(failed(&path, "written"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, mode: i32, contents: &str) -> File {
        File {
            path: path.into(),
            mode,
            contents: contents.into(),
        }
    }

    /// The visible names, each with where its link points.
    fn listing(target: &Path) -> Vec<(String, String)> {
        let mut names: Vec<_> = fs::read_dir(target)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| !entry.file_name().to_string_lossy().starts_with(".."))
            .map(|entry| {
                let link = fs::read_link(entry.path()).unwrap();
                (
                    entry.file_name().to_string_lossy().into_owned(),
                    link.display().to_string(),
                )
            })
            .collect();
        names.sort();
        names
    }

    #[test]
    fn files_are_written_changed_and_removed_as_the_driver_does() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("volume");
        let volume = Volume::new(&target).unwrap();
        let first = [
            file("a", 0o644, "1"),
            file("app/db/password", 0o400, "2"),
            file("app/x", 0o777, "3"),
        ];
        assert_eq!(volume.write(&first).unwrap(), Outcome::Written);
        assert_eq!(
            listing(&target),
            [
                ("a".into(), "..data/a".into()),
                ("app".into(), "..data/app".into())
            ]
        );
        assert_eq!(fs::read(target.join("app/db/password")).unwrap(), b"2");
        let mode = |path: &str| {
            fs::metadata(target.join(path))
                .unwrap()
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!(
            (mode("a"), mode("app/db/password"), mode("app/x")),
            (0o644, 0o400, 0o777)
        );

        let data = fs::read_link(target.join(DATA)).unwrap();
        assert_eq!(volume.write(&first).unwrap(), Outcome::Unchanged);
        assert_eq!(fs::read_link(target.join(DATA)).unwrap(), data);

        let second = [file("a", 0o600, "changed"), file("b", 0o644, "")];
        assert_eq!(volume.write(&second).unwrap(), Outcome::Updated);
        assert_eq!(
            listing(&target),
            [
                ("a".into(), "..data/a".into()),
                ("b".into(), "..data/b".into())
            ]
        );
        assert_eq!(fs::read(target.join("a")).unwrap(), b"changed");
        assert_eq!(mode("a"), 0o600);
        // `..data`, one folder, and the two names.
        assert_eq!(fs::read_dir(&target).unwrap().count(), 4);
        assert_ne!(fs::read_link(target.join(DATA)).unwrap(), data);
    }

    #[test]
    fn what_somebody_else_has_made_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        fs::create_dir(&victim).unwrap();
        fs::write(victim.join("a"), "precious").unwrap();
        for (name, leads_to) in [
            ("..data", victim.as_path()),
            ("..data", Path::new("../victim")),
            ("a", Path::new("/etc/hostname")),
        ] {
            let target = folder.path().join("volume");
            let volume = Volume::new(&target).unwrap();
            symlink(leads_to, target.join(name)).unwrap();
            assert!(
                matches!(
                    volume.write(&[file("a", 0o644, "1")]),
                    Err(VolumeError::InTheWay(_))
                ),
                "{name}"
            );
            assert_eq!(fs::read(victim.join("a")).unwrap(), b"precious");
            fs::remove_dir_all(&target).unwrap();
        }
        let volume = Volume::new(folder.path()).unwrap();
        fs::write(folder.path().join("b"), "precious").unwrap();
        assert!(matches!(
            volume.write(&[file("b", 0o644, "1")]),
            Err(VolumeError::InTheWay(_))
        ));
    }

    #[test]
    fn what_is_missing_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("volume");
        let volume = Volume::new(&target).unwrap();
        volume.write(&[file("a", 0o644, "1")]).unwrap();
        fs::remove_file(target.join("a")).unwrap();
        assert_eq!(
            volume.write(&[file("a", 0o644, "1")]).unwrap(),
            Outcome::Unchanged
        );
        assert_eq!(fs::read(target.join("a")).unwrap(), b"1");
        // A link that is gone already does not keep the old folder alive.
        fs::remove_file(target.join("a")).unwrap();
        assert_eq!(
            volume.write(&[file("b", 0o644, "1")]).unwrap(),
            Outcome::Updated
        );
        assert_eq!(fs::read_dir(&target).unwrap().count(), 3);
        // `..data` leads to nothing.
        let old = fs::read_link(target.join(DATA)).unwrap();
        fs::remove_dir_all(target.join(old)).unwrap();
        assert_eq!(
            volume.write(&[file("b", 0o644, "1")]).unwrap(),
            Outcome::Written
        );
    }

    #[test]
    fn what_the_driver_refuses_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let volume = Volume::new(folder.path()).unwrap();
        for refused in [
            file("/a", 0, ""),
            file("../a", 0, ""),
            file("a//b", 0, ""),
            file("", 0, ""),
        ] {
            assert!(matches!(
                volume.write(&[refused]),
                Err(VolumeError::Path { .. })
            ));
        }
        for mode in [-1, 0o1000] {
            assert!(matches!(
                volume.write(&[file("a", mode, "")]),
                Err(VolumeError::Mode { .. })
            ));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
