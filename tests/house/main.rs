//! The floors of the house, held by a test: a room uses only rooms below it, modules do not import each other in a
//! circle, and pure rooms stay pure. CONTRIBUTING.md and docs/architecture.md show the same floors.
//!
//! A crate of its own could hold the pure rooms by the compiler, but neither the order of the others nor circles inside a
//! room, and it would be one more that everything waits for.
//!
//! `cargo test --test house -- --nocapture figures` says how many rooms, arrows and circles there are.

mod rules;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use rules::{circles, impure, outsiders, upward};
use tree::Tree;

/// The rooms of `src/` from the top floor to the bottom.
const FLOORS: [&str; 17] = [
    "foreign_bytes",
    "commands",
    "settings",
    "server",
    "explain",
    "mount",
    "azure",
    "cluster",
    "transport",
    "observe",
    "policy",
    "class",
    "rendering",
    "shares",
    "text",
    "os",
    "generated",
];

/// The rooms without async, network, clock, files, environment and command line.
const PURE: [&str; 4] = ["policy", "class", "rendering", "text"];

/// The rooms that may use Azure's SDK.
const OF_AZURE: [&str; 2] = ["azure", "transport"];

/// The crates whose modules may import each other in circles. `crates/emulator/src/state.rs` says why the emulator's
/// do.
const ROUND: [&str; 1] = ["emulator"];

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

static HOUSE: LazyLock<Tree> = LazyLock::new(|| Tree::read(&checkout().join("src")));

/// The other crates, by their names.
fn crates() -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(checkout().join("crates")).expect("crates/");
    let mut crates: Vec<_> = entries
        .map(|entry| {
            let entry = entry.expect("a crate");
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, entry.path().join("src"))
        })
        .collect();
    crates.sort();
    crates
}

#[test]
fn a_room_uses_only_rooms_below_it() {
    let arrows = upward(&HOUSE, &FLOORS);
    assert!(arrows.is_empty(), "{}", arrows.join("\n"));
}

#[test]
fn no_modules_import_each_other_in_a_circle() {
    let mut found = circles(&HOUSE);
    for (name, sources) in crates() {
        if !ROUND.contains(&name.as_str()) {
            let of_crate = circles(&Tree::read(&sources)).into_iter();
            found.extend(of_crate.map(|circle| format!("{name}: {circle}")));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn pure_rooms_stay_pure() {
    let leaks = impure(&HOUSE, &PURE);
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
}

#[test]
fn azures_sdk_has_its_rooms() {
    let outsiders = outsiders(&HOUSE, "azure_", &OF_AZURE);
    assert!(outsiders.is_empty(), "{}", outsiders.join("\n"));
}

#[test]
fn the_pictures_have_the_same_floors() {
    let page = fs::read_to_string(checkout().join("CONTRIBUTING.md")).expect("CONTRIBUTING.md");
    let picture = page
        .split_once("## How the house is laid out")
        .and_then(|(_, section)| section.split("```").nth(1))
        .expect("a picture");
    let shown: Vec<_> = picture
        .lines()
        .filter_map(|line| line.split_once('/'))
        .map(|(room, _)| room)
        .filter(|room| !room.starts_with(' '))
        .collect();
    // The first stands apart, being for tests alone.
    assert_eq!(shown, FLOORS[1..]);
    let page = checkout().join("docs/architecture.md");
    let page = fs::read_to_string(page).expect("docs/architecture.md");
    let picture = page
        .split_once("a test holds that.")
        .and_then(|(_, section)| section.split("```").nth(1))
        .expect("a picture");
    let rooms = picture.lines().skip(1);
    let shown: Vec<_> = rooms
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(shown, FLOORS[1..]);
}

#[test]
fn figures() {
    let print = |name: &str, tree: &Tree| {
        let rooms = tree.rooms();
        let between = tree.between_children(&[]);
        println!(
            "{name}: {} modules, {} arrows; {} at the top, {} arrows between them, {} floors; {} circles",
            tree.modules().count(),
            tree.arrows().len(),
            rooms.len(),
            between.len(),
            rules::floors(&between).map_or("no".to_owned(), |floors| floors.to_string()),
            circles(tree).len(),
        );
    };
    assert!(!HOUSE.rooms().is_empty());
    print("provider", &HOUSE);
    for (name, sources) in crates() {
        print(&name, &Tree::read(&sources));
    }
}
