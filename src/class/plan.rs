//! [`Plan`], what one mount will fetch and which files will come of it.
//!
//! The last place that refuses without any network: what passes here can only fail because of Azure.

use std::collections::BTreeMap;
use std::iter;
use std::num::NonZeroU32;
use std::sync::Arc;

use thiserror::Error;

use crate::class::cloud::{Cloud, VaultName};
use crate::class::file_mode::FileMode;
use crate::class::identity::Identity;
use crate::class::object::{FilePath, Object, ObjectKind, ObjectName, ObjectVersion};
use crate::class::parameters::{Parameters, TenantId};
use crate::class::problems::Problems;
use crate::rendering::Rendering;
use crate::shares::{Namespace, Weight};

/// What the operator decides for every class.
#[derive(Clone, Copy, Debug)]
pub struct Conventions {
    /// How many files `objectVersionHistory` gives.
    pub history: HistoryCount,
    /// Whether certificates are put in order, from the leaf to the root.
    pub construct_pem_chain: bool,
    /// Whether a certificate's secret gives a `.crt` and a `.key` file too.
    pub separate_files: bool,
}

/// How many files `objectVersionHistory: N` gives, where there are more versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryCount {
    /// N, as the Go provider's documentation promises.
    Documented,
    /// N + 1, as the Go provider does.
    Go,
}

/// What one mount does.
#[derive(Debug)]
pub struct Plan {
    /// The pod's namespace, which pays for what is kept.
    pub namespace: Namespace,
    pub vault: VaultName,
    /// The vault that is asked when that one is out of order.
    pub failover_vault: Option<VaultName>,
    /// The cloud that the vault lives in.
    pub cloud: Cloud,
    /// The tenant that gives the token.
    pub tenant: TenantId,
    pub identity: Identity,
    /// What is fetched, in the order of the answer; mounts of one class can have it together.
    pub fetches: Arc<[Fetch]>,
}

/// One object and the file it becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    pub kind: ObjectKind,
    /// Its name in the vault.
    pub name: ObjectName,
    /// Which version; the first of them where there are several.
    pub version: ObjectVersion,
    /// How many versions at most, where one file per version is asked for. Their paths and ids then end
    /// in `/0`, the newest, `/1`, and so on.
    pub history: Option<NonZeroU32>,
    /// How the contents become files.
    pub rendering: Rendering,
    /// The file's path in the volume.
    pub path: FilePath,
    /// The file's mode.
    pub mode: FileMode,
    /// The object's id in the answer.
    pub id: String,
}

/// Why the files cannot all be in one volume.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PlanError {
    /// Two different objects have one path.
    #[error(
        "objects[{first}] and objects[{second}] both write the file {path}; expected another objectAlias for one \
         of them"
    )]
    SamePath {
        /// The first entry, counted from 0.
        first: usize,
        second: usize,
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
    /// Plans a mount in this cloud; files without a mode of their own get `default_mode`.
    pub fn new(
        parameters: Parameters,
        cloud: Cloud,
        conventions: Conventions,
        default_mode: FileMode,
    ) -> Result<Self, Problems<PlanError>> {
        let fetches: Vec<_> = parameters
            .objects
            .into_iter()
            .map(|object| Fetch::new(object, conventions, default_mode))
            .collect();
        let problems = conflicts(&fetches.iter().enumerate().collect::<Vec<_>>());
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            namespace: parameters.namespace,
            vault: parameters.vault,
            failover_vault: parameters.failover_vault,
            cloud,
            tenant: parameters.tenant,
            identity: parameters.identity,
            fetches: fetches.into(),
        })
    }
}

impl Plan {
    /// The vault, and the one that is asked when that one is out of order.
    pub fn vaults(&self) -> impl Iterator<Item = &VaultName> {
        iter::once(&self.vault).chain(&self.failover_vault)
    }
}

/// What keeps the files of these entries, each with its place in `objects`, from being in one volume.
///
/// One path, one file. The same entry twice is harmless and stays. It takes about as long as to sort the paths, however
/// deep they are: whoever may create a pod writes them.
pub fn conflicts(fetches: &[(usize, &Fetch)]) -> Problems<PlanError> {
    let mut problems = Problems::default();
    let mut files = BTreeMap::new();
    for &(second, fetch) in fetches {
        let path = fetch.first_path();
        let (first, known) = *files.entry(sortable(&path)).or_insert((second, fetch));
        if !known.gives_what(fetch) {
            problems.push(PlanError::SamePath {
                first,
                second,
                path,
            });
        }
    }
    let mut folders: Vec<(&str, usize)> = Vec::new();
    for (path, &(folder, _)) in &files {
        around(&mut folders, path);
        for (file_path, file) in &folders {
            problems.push_with(|| PlanError::FileAndFolder {
                file: *file,
                folder,
                path: shown(file_path),
            });
        }
        folders.push((path, folder));
    }
    history_conflicts(fetches, &mut problems);
    problems
}

/// The later versions' files, `PATH/1` and so on, may meet somebody else's too.
fn history_conflicts(fetches: &[(usize, &Fetch)], problems: &mut Problems<PlanError>) {
    let mut paths: Vec<_> = fetches
        .iter()
        .map(|&(index, fetch)| (sortable(fetch.path.as_str()), fetch.history, index))
        .collect();
    if paths.iter().all(|(_, history, _)| history.is_none()) {
        return;
    }
    paths.sort_unstable();
    let mut histories: Vec<(&str, (usize, u32))> = Vec::new();
    for (path, history, second) in &paths {
        around(&mut histories, path);
        for &(folder, (first, count)) in &histories {
            // The part of the path that could be the number of a version. `PATH/0` has been looked at.
            let number = path[folder.len() + 1..]
                .split(SEPARATOR)
                .next()
                .filter(|number| !number.starts_with('0'))
                .and_then(|number| number.parse::<u32>().ok());
            if let Some(number) = number
                && number < count
            {
                problems.push_with(|| PlanError::SamePath {
                    first,
                    second: *second,
                    path: format!("{}/{number}", shown(folder)),
                });
            }
        }
        if let Some(count) = history {
            // The longest one of those with the same path.
            if histories.last().is_some_and(|(last, _)| last == path) {
                histories.pop();
            }
            histories.push((path, (*second, count.get())));
        }
    }
}

/// What stands between the parts of a path where paths are sorted: no path has it, and it comes before all else, so
/// that what is in a folder follows the folder.
const SEPARATOR: char = '\0';

fn sortable(path: &str) -> String {
    path.replace('/', "\0")
}

fn shown(sortable: &str) -> String {
    sortable.replace(SEPARATOR, "/")
}

/// Leaves only the folders that this path is in, or that it is itself. Those that it is in must come before it.
fn around<T>(folders: &mut Vec<(&str, T)>, path: &str) {
    while let Some((folder, _)) = folders.last() {
        match path.strip_prefix(*folder) {
            Some(rest) if rest.starts_with(SEPARATOR) => return,
            _ => folders.pop(),
        };
    }
}

impl Plan {
    /// The most requests that it takes: a history takes its list and its versions.
    pub fn requests(&self) -> u64 {
        let of_fetch = |fetch: &Fetch| match fetch.history {
            Some(count) => 1 + u64::from(count.get()),
            None => 1,
        };
        self.fetches.iter().map(of_fetch).sum()
    }
}

impl Weight for Fetch {
    fn weight(&self) -> usize {
        let version = match &self.version {
            ObjectVersion::Latest => 0,
            ObjectVersion::Exact(version) => version.as_str().len(),
        };
        let texts = self.name.as_str().len() + version + self.path.as_str().len() + self.id.len();
        // Each text is a block of the heap.
        size_of::<Self>() + texts + 4 * 16
    }
}

impl Fetch {
    /// How many versions a history needs to know of, the newest: all where it does not begin with the newest.
    pub fn most_listed(&self) -> Option<NonZeroU32> {
        self.history
            .filter(|_| self.version == ObjectVersion::Latest)
    }

    /// What becomes of one object. Without a mode of its own, its file gets `default_mode`.
    pub fn new(object: Object, conventions: Conventions, default_mode: FileMode) -> Self {
        Self {
            id: object.id(),
            history: object.history.map(|count| match conventions.history {
                HistoryCount::Documented => count,
                HistoryCount::Go => count.saturating_add(1),
            }),
            rendering: Rendering {
                format: object.format,
                encoding: object.encoding,
                construct_pem_chain: conventions.construct_pem_chain,
                separate_files: conventions.separate_files,
            },
            kind: object.kind,
            name: object.name,
            version: object.version,
            path: object.path,
            mode: object.mode.unwrap_or(default_mode),
        }
    }

    /// Whether both give the same bytes. The mode may differ: the driver takes the later one's.
    fn gives_what(&self, other: &Self) -> bool {
        let Self {
            kind,
            name,
            version,
            history,
            rendering,
            path,
            mode: _,
            id,
        } = self;
        *kind == other.kind
            && *name == other.name
            && *version == other.version
            && *history == other.history
            && *rendering == other.rendering
            && *path == other.path
            && *id == other.id
    }

    /// The path of its first file.
    pub fn first_path(&self) -> String {
        match self.history {
            Some(_) => format!("{}/0", self.path.as_str()),
            None => self.path.as_str().to_owned(),
        }
    }

    /// Whether this may be the path of one of its files: as many as the vault has versions, and more of
    /// a certificate with its key.
    pub fn may_write(&self, path: &str) -> bool {
        self.suffix_of(path).is_some()
    }

    /// What is appended to the object's path (and version) in that of a file that it may write: nothing, `.crt` or
    /// `.key`.
    pub fn suffix_of<'p>(&self, path: &'p str) -> Option<&'p str> {
        let mut rest = path.strip_prefix(self.path.as_str())?;
        if let Some(count) = self.history {
            let age = rest.strip_prefix('/')?;
            let digits = age.bytes().take_while(u8::is_ascii_digit).count();
            let (age, suffix) = age.split_at(digits);
            let canonical = age == "0" || !age.starts_with('0');
            if !canonical || age.parse::<u32>().map_or(true, |age| age >= count.get()) {
                return None;
            }
            rest = suffix;
        }
        let separate = self.rendering.separate_files && self.kind == ObjectKind::Secret;
        (rest.is_empty() || (separate && matches!(rest, ".crt" | ".key"))).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetch(name: &str, path: &str) -> Fetch {
        Fetch {
            kind: ObjectKind::Secret,
            name: ObjectName::new(name).unwrap(),
            version: ObjectVersion::Latest,
            history: None,
            rendering: Rendering::default(),
            path: FilePath::new(path).unwrap(),
            mode: FileMode::new(0o644).unwrap(),
            id: format!("secret/{name}"),
        }
    }

    fn check_paths(fetches: &[Fetch]) -> Vec<PlanError> {
        let indexed: Vec<_> = fetches.iter().enumerate().collect();
        conflicts(&indexed).iter().cloned().collect()
    }

    #[test]
    fn each_file_has_a_path_of_its_own() {
        let fits = [
            vec![fetch("a", "a"), fetch("b", "b")],
            vec![fetch("a", "x/a"), fetch("b", "x/b"), fetch("c", "xy")],
            vec![fetch("a", "a"), fetch("a", "a")],
            vec![
                fetch("a", "a"),
                Fetch {
                    mode: FileMode::new(0).unwrap(),
                    ..fetch("a", "a")
                },
            ],
        ];
        for fetches in fits {
            assert_eq!(check_paths(&fetches), []);
        }
        assert_eq!(
            check_paths(&[fetch("a", "x"), fetch("c", "c"), fetch("b", "x")]),
            [PlanError::SamePath {
                first: 0,
                second: 2,
                path: "x".into()
            }]
        );
        for fetches in [
            [fetch("a", "x"), fetch("b", "x/y/z")],
            [fetch("b", "x/y/z"), fetch("a", "x")],
        ] {
            let error = check_paths(&fetches)[0].to_string();
            assert!(error.contains("writes the file x, which"), "{error}");
        }
    }

    #[test]
    fn the_files_of_a_history_have_paths_of_their_own_too() {
        let history = |path: &str| Fetch {
            history: NonZeroU32::new(3),
            ..fetch("h", path)
        };
        for fits in [
            vec![history("h"), fetch("a", "a")],
            vec![history("h"), history("h")],
            vec![history("h"), fetch("a", "h/3")],
            vec![history("h"), fetch("a", "h/x")],
            vec![history("h"), fetch("a", "h/01")],
            vec![history("h"), history("g")],
        ] {
            assert_eq!(check_paths(&fits), [], "{fits:?}");
        }
        for meets in [
            vec![history("h"), fetch("a", "h")],
            vec![fetch("a", "h"), history("h")],
            vec![history("h"), fetch("a", "h/0")],
            vec![history("h"), fetch("a", "h/2")],
            vec![fetch("a", "h/2/b"), history("h")],
            vec![
                history("h"),
                Fetch {
                    history: NonZeroU32::new(2),
                    ..fetch("b", "h")
                },
            ],
        ] {
            assert_eq!(check_paths(&meets).len(), 1, "{meets:?}");
        }
    }

    #[test]
    fn the_paths_of_its_files_are_known() {
        let mut plain = fetch("a", "x/a");
        let history = Fetch {
            history: NonZeroU32::new(11),
            ..plain.clone()
        };
        plain.rendering.separate_files = true;
        for (fetch, path, expected) in [
            (&plain, "x/a", true),
            (&plain, "a", false),
            (&plain, "x/a.crt", true),
            (&plain, "x/a.key", true),
            (&plain, "x/a.pem", false),
            (&plain, "x/a/0", false),
            (&history, "x/a", false),
            (&history, "x/a/0", true),
            (&history, "x/a/10", true),
            (&history, "x/a/11", false),
            (&history, "x/a/01", false),
            (&history, "x/a/0.crt", false),
        ] {
            assert_eq!(fetch.may_write(path), expected, "{path}");
        }
    }

    #[test]
    fn a_large_class_is_checked_quickly() {
        let fetches: Vec<_> = (0..10_000)
            .map(|n| fetch("a", &format!("{}{n}", "d/".repeat(50))))
            .collect();
        assert_eq!(check_paths(&fetches), []);
    }

    #[test]
    fn the_deepest_paths_are_checked_quickly() {
        const DEPTH: usize = 2_040;
        let deep = "1/".repeat(DEPTH);
        let plain: Vec<_> = (0..5_000)
            .map(|n| fetch("a", &format!("{deep}{n}")))
            .collect();
        assert_eq!(check_paths(&plain), []);
        // Each is in the folder of all before it, and each of those is a file or a history.
        for history in [None, NonZeroU32::new(2)] {
            let fetches = (0..DEPTH).map(|n| Fetch {
                history,
                ..fetch("a", &deep[..=2 * n])
            });
            let fetches: Vec<_> = fetches.collect();
            let indexed: Vec<_> = fetches.iter().enumerate().collect();
            let problems = conflicts(&indexed);
            let found = problems.iter().count() + problems.beyond();
            assert_eq!(found, DEPTH * (DEPTH - 1) / 2);
        }
    }
}
