//! What must hold for a [`Tree`]. Each rule says what breaks it, a line for each.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::{Arrow, Segments, Tree};

/// What a pure room has nothing to do with, by the beginning of its path.
const IMPURE: [&str; 21] = [
    "async_trait",
    "axum",
    "clap",
    "fastrand",
    "futures",
    "hyper",
    "hyper_util",
    "rustix",
    "rustls",
    "std::env",
    "std::fs",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::ToSocketAddrs",
    "std::net::UdpSocket",
    "std::os::unix::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "tokio",
];

/// The words by which a pure room would be one no more, whatever they belong to.
const IMPURE_WORDS: [&str; 7] = [
    "async",
    "canonicalize",
    "now_local",
    "now_utc",
    "read_dir",
    "symlink_metadata",
    "tonic",
];

/// The arrows to a room that is not below, and rooms that have no floor.
pub fn upward(tree: &Tree, floors: &[&str]) -> Vec<String> {
    let floor = |module: &Segments| floors.iter().position(|room| *room == module[0]);
    let mut found: Vec<_> = tree
        .rooms()
        .into_iter()
        .filter(|room| !floors.contains(&room.as_str()))
        .map(|room| format!("{room} has no floor"))
        .collect();
    for (from, to) in tree.arrows() {
        if !from.is_empty() && from[0] != to[0] && floor(from) >= floor(to) {
            found.push(format!("{} -> {} goes up", named(from), named(to)));
        }
    }
    found
}

/// The circles at each level: among the rooms, and among the modules of each folder. What a module and those
/// inside it have to do with each other is its own affair.
pub fn circles(tree: &Tree) -> Vec<String> {
    let folders: BTreeSet<Segments> = tree
        .modules()
        .filter(|module| !module.is_empty())
        .map(|module| module[..module.len() - 1].to_vec())
        .collect();
    folders
        .iter()
        .flat_map(|folder| {
            let arrows = tree.between_children(folder);
            knots(&arrows).into_iter().map(move |knot| {
                let inside = arrows
                    .iter()
                    .filter(|(from, to)| knot.contains(from) && knot.contains(to))
                    .map(|(from, to)| format!("{} -> {}", named(from), named(to)));
                inside.collect::<Vec<_>>().join(", ")
            })
        })
        .collect()
}

/// The modules of pure rooms that use what is not.
pub fn impure(tree: &Tree, rooms: &[&str]) -> Vec<String> {
    let is_pure = |module: &Segments| module.first().is_some_and(|r| rooms.contains(&r.as_str()));
    let mut found: Vec<_> = tree
        .foreign()
        .into_iter()
        .filter(|(module, path)| {
            is_pure(module) && IMPURE.iter().any(|impure| begins(path, impure))
        })
        .map(|(module, path)| format!("{} uses {}", named(&module), named(&path)))
        .collect();
    for module in tree.modules().filter(|module| is_pure(module)) {
        for word in IMPURE_WORDS {
            if tree.says(module, word) {
                found.push(format!("{} says {word}", named(module)));
            }
        }
    }
    found
}

/// The modules outside these rooms that use crates whose names begin so.
pub fn outsiders(tree: &Tree, beginning: &str, rooms: &[&str]) -> Vec<String> {
    tree.foreign()
        .into_iter()
        .filter(|(module, path)| {
            path[0].starts_with(beginning)
                && !module.first().is_some_and(|r| rooms.contains(&r.as_str()))
        })
        .map(|(module, path)| format!("{} uses {}", named(&module), named(&path)))
        .collect()
}

/// How many floors it takes to have every arrow go down; nothing where no number does.
pub fn floors(arrows: &BTreeSet<Arrow>) -> Option<usize> {
    if !knots(arrows).is_empty() {
        return None;
    }
    let deepest = arrows.iter().map(|(from, _)| below(from, arrows)).max();
    Some(1 + deepest.unwrap_or(0))
}

fn below(module: &Segments, arrows: &BTreeSet<Arrow>) -> usize {
    let next = arrows.iter().filter(|(from, _)| from == module);
    next.map(|(_, to)| 1 + below(to, arrows)).max().unwrap_or(0)
}

/// The modules that can be reached from each other, where there is more than one of them.
fn knots(arrows: &BTreeSet<Arrow>) -> Vec<BTreeSet<Segments>> {
    let mut reached: BTreeMap<&Segments, BTreeSet<&Segments>> = BTreeMap::new();
    for (from, _) in arrows {
        let mut found = BTreeSet::new();
        let mut waiting = vec![from];
        while let Some(at) = waiting.pop() {
            let next = arrows.iter().filter(|(from, _)| from == at);
            waiting.extend(next.map(|(_, to)| to).filter(|to| found.insert(*to)));
        }
        reached.insert(from, found);
    }
    let mut knots: Vec<BTreeSet<Segments>> = Vec::new();
    for (from, found) in &reached {
        if found.contains(from) && !knots.iter().any(|knot| knot.contains(*from)) {
            let back =
                |to: &&&Segments| reached.get(**to).is_some_and(|there| there.contains(from));
            knots.push(found.iter().filter(back).map(|to| (*to).clone()).collect());
        }
    }
    knots
}

fn begins(path: &[String], beginning: &str) -> bool {
    let mut path = path.iter();
    beginning
        .split("::")
        .all(|segment| path.next().is_some_and(|found| found == segment))
}

fn named(module: &[String]) -> String {
    module.join("::")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let files = files.iter().map(|(name, text)| {
            let name = name
                .split("::")
                .filter(|s| !s.is_empty())
                .map(str::to_owned);
            (name.collect(), *text)
        });
        Tree::new(files)
    }

    /// Two rooms, the lower one with two modules.
    fn rooms(up: &str, low: &str, a: &str, b: &str) -> Tree {
        tree(&[
            ("", "mod up; mod low;"),
            ("up", up),
            ("low", low),
            ("low::a", a),
            ("low::b", b),
        ])
    }

    #[test]
    fn an_arrow_that_goes_up_is_found_however_it_is_written() {
        for text in [
            "use crate::up::Thing;",
            "use crate::{up::Thing, low::b};",
            "use crate::up;",
            "use crate::up::*;",
            "pub use crate::up::Thing as Other;",
            "fn f() { crate::up::f() }",
            "fn f() { matches!(x, crate::up::Thing) }",
            "use super::super::up::Thing;",
            "mod inner { use super::super::super::up::Thing; }",
            "impl crate::up::Thing {}",
            "#[derive(crate::up::Thing)] struct S;",
            // By way of a room below that hands it on.
            "use crate::low::Handed;",
        ] {
            let low = "pub use crate::up::Handed; pub mod a; pub mod b;";
            let tree = rooms("pub struct Thing; pub struct Handed;", low, text, "");
            let found = upward(&tree, &["up", "low"]);
            assert!(
                found.contains(&"low::a -> up goes up".to_owned()),
                "{text}: {found:?}"
            );
        }
    }

    #[test]
    fn what_is_no_use_of_a_room_above_is_none() {
        for text in [
            "",
            "//! [`crate::up::Thing`]\n/* crate::up::f() */ const S: &str = \"crate::up::Thing\";",
            "#[cfg(test)] mod tests { use crate::up::Thing; }",
            "#[cfg(test)] use crate::up::Thing;",
            "#[cfg(test)] fn f() -> crate::up::Thing { crate::up::Thing }",
            "use crate::low::b; fn f() { b::up::f() }",
            "fn f(up: u8) -> u8 { up }",
            "use other::up::Thing;",
        ] {
            let found = upward(
                &rooms("use crate::low::a;", "mod a; mod b;", text, ""),
                &["up", "low"],
            );
            assert!(found.is_empty(), "{text}: {found:?}");
        }
        let tests = tree(&[
            ("low", "#[cfg(test)] mod tests;"),
            ("low::tests", "use crate::up::Thing;"),
            ("up", ""),
        ]);
        assert!(upward(&tests, &["up", "low"]).is_empty());
    }

    #[test]
    fn a_room_needs_a_floor() {
        let found = upward(&rooms("", "", "", ""), &["low"]);
        assert_eq!(found, ["up has no floor"]);
    }

    #[test]
    fn a_circle_is_found_at_each_level() {
        for (files, expected) in [
            (
                rooms("use crate::low::a::A;", "", "use crate::up::Thing;", ""),
                "low -> up, up -> low",
            ),
            (
                rooms("", "", "use super::b::B;", "use crate::low::a::A;"),
                "low::a -> low::b, low::b -> low::a",
            ),
            (
                tree(&[
                    ("a", "use crate::b::B;"),
                    ("b", "use crate::c::d::D;"),
                    ("c", "pub mod d;"),
                    ("c::d", "fn f() { crate::a::f() }"),
                ]),
                "a -> b, b -> c, c -> a",
            ),
        ] {
            assert_eq!(circles(&files), [expected]);
        }
    }

    #[test]
    fn a_module_and_what_is_inside_it_are_no_circle() {
        let low = "mod a; mod b; use self::a::A; pub struct Shared;";
        let tree = rooms("", low, "use crate::low::Shared;", "use crate::low::a::A;");
        assert!(circles(&tree).is_empty());
        // What a folder hands on is its module's that defines it.
        let low = "mod a; mod b; pub use self::a::A;";
        let tree = rooms("", low, "use super::b::B;", "use crate::low::A;");
        assert_eq!(circles(&tree), ["low::a -> low::b, low::b -> low::a"]);
    }

    #[test]
    fn a_pure_room_that_does_something_is_found() {
        for text in [
            "use tokio::time::Duration;",
            "#[derive(clap::ValueEnum)] enum E {}",
            "use clap::ValueEnum;",
            "use std::{fmt, fs};",
            "fn f() { std::fs::read(x) }",
            "fn f() { ::std::env::var(x) }",
            "use std::time; fn f() { time::Instant::now() }",
            "use std::time::SystemTime as Clock;",
            "fn f() { time::OffsetDateTime::now_utc() }",
            "use time::OffsetDateTime; fn f() { OffsetDateTime::now_utc() }",
            "async fn f() {}",
            "fn f(path: &Path) { path.canonicalize() }",
            "mod inner { use std::env; }",
            "use hyper::Uri;",
        ] {
            let found = impure(&rooms("", "", text, ""), &["low"]);
            assert!(!found.is_empty(), "{text}");
            assert!(
                impure(&rooms(text, "", "", ""), &["low"]).is_empty(),
                "{text}"
            );
        }
        for text in [
            "use std::time::Duration; use time::OffsetDateTime;",
            "#[cfg(test)] mod tests { use std::fs; }",
            "use std::io; use std::path::Path; use std::net::IpAddr;",
            "//! std::fs\nconst S: &str = \"async\";",
        ] {
            let found = impure(&rooms("", "", text, ""), &["low"]);
            assert!(found.is_empty(), "{text}: {found:?}");
        }
    }

    #[test]
    fn a_crate_has_its_rooms() {
        let tree = rooms("use azure_core::Error;", "", "use azure_identity::X;", "");
        assert_eq!(
            outsiders(&tree, "azure_", &["up"]),
            ["low::a uses azure_identity::X"]
        );
    }

    #[test]
    fn floors_are_counted() {
        let arrows = |tree: &Tree| tree.between_children(&[]);
        let down = tree(&[
            ("a", "use crate::b::B;"),
            ("b", "use crate::c::C;"),
            ("c", ""),
        ]);
        assert_eq!(floors(&arrows(&down)), Some(3));
        let round = tree(&[("a", "use crate::b::B;"), ("b", "use crate::a::A;")]);
        assert_eq!(floors(&arrows(&round)), None);
    }
}
