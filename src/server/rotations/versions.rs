//! [`Versions`], which objects in which versions the files of a volume are of, and how two of them differ.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::shares::Weight;
use crate::text::excerpt::plain;

/// The most characters of an object's ID: the kind, the name of at most 127 and the index of a version.
const MAX_ID: usize = 160;
/// The most characters of a version, which has 32.
const MAX_VERSION: usize = 64;
/// What an entry weighs beside its texts.
const ENTRY: usize = 64;

/// Versions by the ID of their object, as the driver writes them into a SecretProviderClassPodStatus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions(BTreeMap<String, String>);

impl Versions {
    /// Whether a class that was not edited can turn one into the other. A history grows by versions, and loses those that
    /// are disabled; an object comes and goes with the class alone.
    pub fn are_of_the_objects_of(&self, other: &Self) -> bool {
        let objects = |versions: &Self| -> Vec<String> {
            let mut objects: Vec<_> = versions.0.keys().map(|id| newest(id)).collect();
            objects.dedup();
            objects
        };
        objects(self) == objects(other)
    }

    /// `secret/a 1 -> 2, secret/b added (1), secret/c removed`: what is other in `later`, in at most so many bytes, and how
    /// many more there are.
    pub fn changes_to(&self, later: &Self, max_bytes: usize) -> String {
        let changed = later.0.iter().filter_map(|(id, to)| match self.0.get(id) {
            Some(from) if from == to => None,
            Some(from) => Some(format!("{} {} -> {}", name(id), version(from), version(to))),
            None => Some(format!("{} added ({})", name(id), version(to))),
        });
        let gone = self.0.keys().filter(|id| !later.0.contains_key(*id));
        let gone = gone.map(|id| format!("{} removed", name(id)));
        listed(changed.chain(gone), max_bytes)
    }

    /// `secret/a 1, secret/b 2`, in at most so many bytes, and how many more there are.
    pub fn list(&self, max_bytes: usize) -> String {
        let objects = self.0.iter();
        listed(
            objects.map(|(id, of)| format!("{} {}", name(id), version(of))),
            max_bytes,
        )
    }
}

/// Where an object is named twice, the driver takes the last.
impl FromIterator<(String, String)> for Versions {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(versions: T) -> Self {
        Self(versions.into_iter().collect())
    }
}

impl From<BTreeMap<String, String>> for Versions {
    fn from(versions: BTreeMap<String, String>) -> Self {
        Self(versions)
    }
}

impl Weight for Versions {
    fn weight(&self) -> usize {
        let entries = self.0.iter();
        entries.map(|(id, of)| ENTRY + id.len() + of.len()).sum()
    }
}

/// The ID of the newest version of a history's object; other IDs stay.
fn newest(id: &str) -> String {
    match id.rsplit_once('/') {
        Some((object, age)) if object.contains('/') && age.parse::<u32>().is_ok() => {
            format!("{object}/0")
        }
        _ => id.to_owned(),
    }
}

fn name(id: &str) -> String {
    plain(id, MAX_ID)
}

fn version(of: &str) -> String {
    plain(of, MAX_VERSION)
}

/// The first one always, and as many others as there is room for.
fn listed(objects: impl Iterator<Item = String>, max_bytes: usize) -> String {
    let mut list = String::new();
    let mut more = 0;
    for object in objects {
        if list.is_empty() {
            list = object;
        } else if more == 0 && list.len() + object.len() + 2 <= max_bytes {
            _ = write!(list, ", {object}");
        } else {
            more += 1;
        }
    }
    if more > 0 {
        _ = write!(list, " and {more} more");
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn versions(text: &str) -> Versions {
        let objects = text.split_whitespace();
        let objects = objects.map(|object| object.split_once('=').unwrap());
        objects
            .map(|(id, version)| (id.to_owned(), version.to_owned()))
            .collect()
    }

    #[test]
    fn what_differs_is_named() {
        for (from, to, expected) in [
            ("secret/a=1", "secret/a=2", "secret/a 1 -> 2"),
            ("secret/a=1", "secret/a=1", ""),
            (
                "key/b=1 secret/a=1 secret/c=1",
                "key/b=1 secret/a=2 secret/d=4",
                "secret/a 1 -> 2, secret/d added (4), secret/c removed",
            ),
            (
                "secret/a=1",
                "secret/a=2\u{202e}",
                r"secret/a 1 -> 2\u{202e}",
            ),
        ] {
            let changes = versions(from).changes_to(&versions(to), 1000);
            assert_eq!(changes, expected, "{from} {to}");
        }
    }

    #[test]
    fn a_long_list_says_how_many_more_there_are() {
        let of = |version: &str| -> Versions {
            let objects = (0..100).map(|n| (format!("secret/{n:02}"), version.to_owned()));
            objects.collect()
        };
        assert_eq!(of("1").list(25), "secret/00 1, secret/01 1 and 98 more");
        let changes = of("1").changes_to(&of("2"), 40);
        assert_eq!(changes, "secret/00 1 -> 2, secret/01 1 -> 2 and 98 more");
        // One that is too long by itself is cut, and there.
        let long = Versions::from_iter([("x".repeat(1000), "y".repeat(1000))]);
        assert_eq!(long.list(1).chars().count(), MAX_ID + MAX_VERSION + 3);
    }

    #[test]
    fn a_history_that_grows_is_of_the_same_class() {
        for (from, to, expected) in [
            ("secret/a=1", "secret/a=2", true),
            ("secret/a/0=1", "secret/a/0=2 secret/a/1=1", true),
            ("secret/a=1", "secret/a/0=2 secret/a/1=1", false),
            ("secret/a=1", "secret/b=1", false),
            ("secret/a=1", "secret/a=1 secret/b=1", false),
            ("secret/1=1", "secret/2=1", false),
        ] {
            let (from, to) = (versions(from), versions(to));
            assert_eq!(from.are_of_the_objects_of(&to), expected, "{from:?} {to:?}");
        }
    }
}
