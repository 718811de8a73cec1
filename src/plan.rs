//! [`Plan`], what one mount will fetch and which files will come of it.
//!
//! The last place that refuses without any network: what passes here can only fail because of Azure.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::cloud::{Cloud, VaultName};
use crate::file_mode::FileMode;
use crate::identity::Identity;
use crate::object::{FilePath, ObjectKind, ObjectName, ObjectVersion};
use crate::parameters::{Parameters, TenantId};

/// What one mount does.
#[derive(Debug)]
pub struct Plan {
    /// The vault.
    pub vault: VaultName,
    /// The cloud that the vault lives in.
    pub cloud: Cloud,
    /// The tenant that gives the token.
    pub tenant: TenantId,
    /// Who asks.
    pub identity: Identity,
    /// What is fetched, in the order of the answer.
    pub fetches: Vec<Fetch>,
}

/// One object and the file it becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its name in the vault.
    pub name: ObjectName,
    /// Which version.
    pub version: ObjectVersion,
    /// The file's path in the volume.
    pub path: FilePath,
    /// The file's mode.
    pub mode: FileMode,
    /// The object's id in the answer.
    pub id: String,
}

/// Why the files cannot all be in one volume.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PlanError {
    /// Two different objects have one path.
    #[error(
        "objects[{first}] and objects[{second}] both write the file {path}; expected another objectAlias for one \
         of them"
    )]
    SamePath {
        /// The first entry, counted from 0.
        first: usize,
        /// The second.
        second: usize,
        /// The path.
        path: String,
    },
    /// One object's file is another's folder.
    #[error(
        "objects[{file}] writes the file {path}, which objects[{folder}] needs as a folder; expected another \
         objectAlias for one of them"
    )]
    FileAndFolder {
        /// The entry that writes the file.
        file: usize,
        /// The entry whose file is inside.
        folder: usize,
        /// The path of the file.
        path: String,
    },
}

impl Plan {
    /// Plans a mount; files without a mode of their own get `default_mode`.
    pub fn new(parameters: Parameters, default_mode: FileMode) -> Result<Self, PlanError> {
        let fetches: Vec<_> = parameters
            .objects
            .into_iter()
            .map(|object| Fetch {
                id: object.id(),
                kind: object.kind,
                name: object.name,
                version: object.version,
                path: object.path,
                mode: object.mode.unwrap_or(default_mode),
            })
            .collect();
        check_paths(&fetches)?;
        Ok(Self {
            vault: parameters.vault,
            cloud: parameters.cloud,
            tenant: parameters.tenant,
            identity: parameters.identity,
            fetches,
        })
    }
}

/// One path, one file. The same entry twice is harmless and stays.
fn check_paths(fetches: &[Fetch]) -> Result<(), PlanError> {
    let mut files = BTreeMap::new();
    for (second, fetch) in fetches.iter().enumerate() {
        let first = *files.entry(fetch.path.as_str()).or_insert(second);
        if fetches[first] != *fetch {
            return Err(PlanError::SamePath {
                first,
                second,
                path: fetch.path.as_str().to_owned(),
            });
        }
    }
    for (path, &folder) in &files {
        for (end, _) in path.match_indices('/') {
            if let Some(&file) = files.get(&path[..end]) {
                return Err(PlanError::FileAndFolder {
                    file,
                    folder,
                    path: path[..end].to_owned(),
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetch(name: &str, path: &str) -> Fetch {
        Fetch {
            kind: ObjectKind::Secret,
            name: ObjectName::new(name).unwrap(),
            version: ObjectVersion::Latest,
            path: FilePath::new(path).unwrap(),
            mode: FileMode::new(0o644).unwrap(),
            id: format!("secret/{name}"),
        }
    }

    #[test]
    fn each_file_has_a_path_of_its_own() {
        let fits = [
            vec![fetch("a", "a"), fetch("b", "b")],
            vec![fetch("a", "x/a"), fetch("b", "x/b"), fetch("c", "xy")],
            vec![fetch("a", "a"), fetch("a", "a")],
        ];
        for fetches in fits {
            assert_eq!(check_paths(&fetches), Ok(()));
        }
        assert_eq!(
            check_paths(&[fetch("a", "x"), fetch("c", "c"), fetch("b", "x")]),
            Err(PlanError::SamePath {
                first: 0,
                second: 2,
                path: "x".into()
            })
        );
        for fetches in [
            [fetch("a", "x"), fetch("b", "x/y/z")],
            [fetch("b", "x/y/z"), fetch("a", "x")],
        ] {
            let error = check_paths(&fetches).unwrap_err().to_string();
            assert!(error.contains("writes the file x, which"), "{error}");
        }
    }

    #[test]
    fn a_large_class_is_checked_quickly() {
        let fetches: Vec<_> = (0..10_000)
            .map(|n| fetch("a", &format!("{}{n}", "d/".repeat(50))))
            .collect();
        assert_eq!(check_paths(&fetches), Ok(()));
    }
}
