//! Which versions of an object a history has.

use crate::azure::vault::ListedVersion;
use crate::class::object::{ObjectName, ObjectVersion};
use crate::mount::ObjectProblem;

/// Whether only the vault knows which version of a history comes first: its clock has whole seconds, and several were
/// made in the newest of them. Those that are listed are enabled, the newest first.
pub(super) fn is_undecided(listed: &[ListedVersion], first: &ObjectVersion) -> bool {
    let [newest, next, ..] = listed else {
        return false;
    };
    let concerned = match first {
        ObjectVersion::Latest => true,
        ObjectVersion::Exact(first) => listed
            .iter()
            .any(|one| one.id == first.as_str() && one.created == newest.created),
    };
    concerned && newest.created == next.created
}

/// The versions from `first` on, at most `count`, of those that are listed, which are enabled and the newest first.
/// `current` is the one that the vault gives to a request for none, if it was asked: it comes first, whether or not
/// it was there already when they were listed.
pub(super) fn newest_from(
    listed: &[ListedVersion],
    current: Option<&str>,
    first: &ObjectVersion,
    count: u32,
) -> Result<Vec<ObjectVersion>, ObjectProblem> {
    let others = listed.iter().map(|version| version.id.as_str());
    let others = others.filter(|id| Some(*id) != current);
    let ids: Vec<_> = current.into_iter().chain(others).collect();
    let start = match first {
        ObjectVersion::Latest => 0,
        ObjectVersion::Exact(wanted) => ids
            .iter()
            .position(|id| *id == wanted.as_str())
            .unwrap_or(ids.len()),
    };
    let versions: Vec<_> = ids
        .iter()
        .skip(start)
        .take(count as usize)
        .filter_map(|id| ObjectName::new(id))
        .map(ObjectVersion::Exact)
        .collect();
    if versions.is_empty() {
        let there_are = ids.into_iter().take(5).map(str::to_owned).collect();
        return Err(ObjectProblem::NoVersion { there_are });
    }
    Ok(versions)
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;

    fn listed(versions: &[(&str, i64)]) -> Vec<ListedVersion> {
        let versions = versions.iter().map(|(id, created)| ListedVersion {
            id: (*id).to_owned(),
            created: OffsetDateTime::from_unix_timestamp(*created).ok(),
            enabled: true,
        });
        versions.collect()
    }

    fn exact(id: &str) -> ObjectVersion {
        ObjectVersion::Exact(ObjectName::new(id).unwrap())
    }

    #[test]
    fn a_history_starts_at_its_version_and_goes_back() {
        let versions = listed(&[("d", 4), ("b", 2), ("a", 1)]);
        for (first, count, expected) in [
            (ObjectVersion::Latest, 10, vec!["d", "b", "a"]),
            (ObjectVersion::Latest, 2, vec!["d", "b"]),
            (exact("b"), 10, vec!["b", "a"]),
            (exact("a"), 10, vec!["a"]),
        ] {
            let found = newest_from(&versions, None, &first, count).unwrap();
            assert_eq!(found, expected.into_iter().map(exact).collect::<Vec<_>>());
        }
        let problem = newest_from(&versions, None, &exact("x"), 2).unwrap_err();
        let ObjectProblem::NoVersion { there_are } = problem else {
            panic!("{problem}")
        };
        assert_eq!(there_are, ["d", "b", "a"]);
    }

    #[test]
    fn the_version_that_the_vault_gives_comes_first() {
        let versions = listed(&[("a", 4), ("b", 4), ("c", 4), ("z", 1)]);
        for (current, first, expected) in [
            ("b", ObjectVersion::Latest, vec!["b", "a", "c"]),
            ("c", exact("a"), vec!["a", "b", "z"]),
            ("c", exact("c"), vec!["c", "a", "b"]),
            // It was made meanwhile, or was one too many.
            ("new", ObjectVersion::Latest, vec!["new", "a", "b"]),
        ] {
            let found = newest_from(&versions, Some(current), &first, 3).unwrap();
            assert_eq!(found, expected.into_iter().map(exact).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_vault_decides_only_where_nothing_else_does() {
        let tied = listed(&[("a", 4), ("b", 4), ("c", 3), ("d", 3)]);
        let clear = listed(&[("a", 4), ("b", 3), ("c", 3)]);
        for (versions, first, expected) in [
            (&tied[..], ObjectVersion::Latest, true),
            (&tied[..], exact("b"), true),
            (&tied[..], exact("d"), false),
            (&tied[..], exact("x"), false),
            (&clear[..], ObjectVersion::Latest, false),
            (&clear[..], exact("b"), false),
            (&clear[..1], ObjectVersion::Latest, false),
            (&[], ObjectVersion::Latest, false),
        ] {
            assert_eq!(is_undecided(versions, &first), expected, "{first:?}");
        }
    }
}
