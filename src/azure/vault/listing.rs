//! [`Newest`], the newest enabled versions of an object, picked out while the vault lists them, which it does in no
//! order.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

use crate::azure::vault::ListedVersion;

/// The most versions of one object that are looked at. Each page of the vault's list has 25.
pub const MAX_VERSIONS: usize = 5_000;

/// The newest enabled versions of those that were listed so far: a list may be as long as whoever writes to the vault
/// likes, and a class asks for the first few.
pub(super) struct Newest {
    most: usize,
    /// Hashes of the ids, since all that matters is whether there is news.
    listed: HashSet<u64>,
    hasher: RandomState,
    versions: Vec<ListedVersion>,
}

impl Newest {
    /// At most so many, of a list that has not begun.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            listed: HashSet::new(),
            hasher: RandomState::new(),
            versions: Vec::new(),
        }
    }

    /// Adds a page. Returns whether it has versions which the ones before had not.
    pub(super) fn add(&mut self, page: impl Iterator<Item = ListedVersion>) -> bool {
        let known = self.listed.len();
        for version in page {
            let is_news = self.listed.insert(self.hasher.hash_one(&version.id));
            if is_news && version.enabled {
                self.versions.push(version);
            }
        }
        // Those of one second have an order that stays, though nothing tells which of them is newer.
        self.versions
            .sort_by(|one, other| one.order().cmp(&other.order()));
        self.versions.truncate(self.most);
        self.listed.len() > known
    }

    /// Whether none was listed, enabled or not.
    pub(super) fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// Whether no more are looked at.
    pub(super) fn is_full(&self) -> bool {
        self.listed.len() >= MAX_VERSIONS
    }

    /// The versions, the newest first.
    pub(super) fn into_versions(self) -> Vec<ListedVersion> {
        self.versions
    }
}

impl ListedVersion {
    fn order(&self) -> impl Ord {
        (Reverse(self.created), &self.id)
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;

    fn version(id: &str, created: i64, enabled: bool) -> ListedVersion {
        ListedVersion {
            id: id.to_owned(),
            created: OffsetDateTime::from_unix_timestamp(created).ok(),
            enabled,
        }
    }

    fn ids(newest: Newest) -> Vec<String> {
        let versions = newest.into_versions().into_iter();
        versions.map(|version| version.id).collect()
    }

    #[test]
    fn the_newest_stay_in_whatever_order_they_come() {
        let listed = [
            version("c", 2, true),
            version("x", 9, false),
            version("a", 1, true),
            version("e", 3, true),
            version("d", 2, true),
            version("b", 2, true),
        ];
        for rotation in 0..listed.len() {
            for page in 1..=listed.len() {
                for (most, expected) in [
                    (1, &["e"][..]),
                    (3, &["e", "b", "c"]),
                    (9, &["e", "b", "c", "d", "a"]),
                ] {
                    let mut listed = listed.to_vec();
                    listed.rotate_left(rotation);
                    let mut newest = Newest::new(most);
                    for page in listed.chunks(page) {
                        assert!(newest.add(page.iter().cloned()));
                        assert!(newest.versions.len() <= most);
                    }
                    assert_eq!(ids(newest), expected);
                }
            }
        }
    }

    #[test]
    fn what_was_listed_before_is_no_news() {
        let mut newest = Newest::new(1);
        assert!(newest.is_empty());
        assert!(newest.add([version("off", 1, false)].into_iter()));
        assert!(!newest.is_empty());
        assert!(newest.add([version("a", 2, true), version("b", 3, true)].into_iter()));
        // The first is kept no longer, and is known all the same.
        for _ in 0..2 {
            assert!(!newest.add([version("a", 2, true), version("off", 1, false)].into_iter()));
        }
        let many = (0..).map(|number| version(&number.to_string(), 0, true));
        assert!(newest.add(many.take(MAX_VERSIONS)) && newest.is_full());
        assert_eq!(ids(newest), ["b"]);
    }
}
