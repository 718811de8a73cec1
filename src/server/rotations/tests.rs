//! Stories of volumes: what happens to one, step by step, and what is done about it.

use std::fmt::Write as _;
use std::time::Duration;

use time::macros::datetime;
use tokio::time::Instant;

use super::news::{Files, Origin};
use super::notes::note;
use super::rotation::{Look, Moment, Next, Rotation};
use super::versions::Versions;
use crate::explain::{Explanation, Reason};
use crate::shares::Weight as _;

struct Story {
    rotation: Rotation,
    now: Moment,
}

impl Story {
    fn begin() -> Self {
        let time = datetime!(2026-11-28 06:00:00.5 UTC);
        Self {
            rotation: Rotation::new(0),
            now: Moment {
                instant: Instant::now(),
                time,
            },
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now.instant += time;
        self.now.time += time;
    }

    /// One step: `arrive`, `give [failover] [edited] VERSIONS`, `fail REASON`, `status VERSIONS`, `absent`, `silent`,
    /// `wait MINUTES`.
    fn step(&mut self, step: &str) -> Next {
        let (word, rest) = step.split_once(' ').unwrap_or((step, ""));
        match word {
            "arrive" => self.rotation.arrived(),
            "give" => self.rotation.given(files(rest), self.now),
            "fail" => self.rotation.failed(&explanation(rest), self.now),
            "status" => self.rotation.looked(Look::Files(versions(rest)), self.now),
            "absent" => self.rotation.looked(Look::Absent, self.now),
            "silent" => self.rotation.looked(Look::Silent, self.now),
            "wait" => {
                self.wait(Duration::from_secs(rest.parse::<u64>().unwrap() * 60));
                Next::default()
            }
            other => panic!("{other}"),
        }
    }

    /// What comes of a step: what the pod is told, and `?` with the seconds until a look.
    fn outcome(&mut self, step: &str) -> String {
        let next = self.step(step);
        let mut outcome = String::new();
        for news in &next.news {
            _ = writeln!(outcome, "{}", note(news, "chat").as_str());
        }
        if let Some(after) = next.look {
            _ = writeln!(outcome, "?{}", after.as_secs());
        }
        outcome.trim_end().to_owned()
    }

    /// Steps of which nothing is to come but looks.
    fn after(steps: &[&str]) -> Self {
        let mut story = Self::begin();
        for step in steps {
            let outcome = story.outcome(step);
            let is_quiet = outcome.is_empty() || outcome.starts_with('?');
            assert!(is_quiet, "{step}: {outcome}");
        }
        story
    }

    fn goes_on(&mut self, steps: &[(&str, &str)]) {
        for (number, (step, expected)) in steps.iter().enumerate() {
            assert_eq!(self.outcome(step), *expected, "{number}: {step}");
        }
    }
}

fn versions(text: &str) -> Versions {
    let objects = text.split_whitespace();
    let objects = objects.map(|object| object.split_once('=').unwrap());
    objects
        .map(|(id, version)| (format!("secret/{id}"), version.to_owned()))
        .collect()
}

fn files(text: &str) -> Files {
    let (words, objects): (Vec<_>, Vec<_>) = text
        .split_whitespace()
        .partition(|word| !word.contains('='));
    let is_failover = words.contains(&"failover");
    let vault = if is_failover { "kv2" } else { "kv1" };
    Files {
        versions: versions(&objects.join(" ")),
        origin: Some(Origin {
            vault: vault.to_owned(),
            is_failover,
            class: u64::from(words.contains(&"edited")),
        }),
    }
}

fn explanation(reason: &str) -> Explanation {
    let reason = match reason {
        "down" => Reason::KvUnavailable,
        "denied" => Reason::KvAccessDenied,
        other => panic!("{other}"),
    };
    Explanation {
        reason,
        cause: "the cause\nof it.".to_owned(),
        fix: "the fix".to_owned(),
    }
}

/// A volume whose files the status shows.
const MOUNTED: [&str; 5] = ["arrive", "absent", "give a=1", "arrive", "status a=1"];

const DOWN: &str = "[KV_UNAVAILABLE] Rotation has failed since 2026-11-28T06:00:00Z (class chat); the files are still of \
                    secret/a 1. the cause of it. Fix: the fix";
const UP: &str = "Rotation works again. It had failed since 2026-11-28T06:00:00Z with KV_UNAVAILABLE (class chat)";

#[test]
fn a_first_mount_is_not_told() {
    let mut story = Story::begin();
    story.goes_on(&[
        ("arrive", "?0"),
        ("fail down", ""),
        ("absent", ""),
        // The kubelet tells of a first mount that fails, and no look is needed until there may be files.
        ("arrive", ""),
        ("fail denied", ""),
        ("give a=1", ""),
        ("arrive", "?0"),
        ("status a=1", ""),
        ("give a=1", ""),
        ("arrive", ""),
    ]);
}

#[test]
fn a_driver_that_did_not_write_its_first_files_mounts_for_the_first_time() {
    let mut story = Story::after(&["arrive", "absent", "give a=1"]);
    story.goes_on(&[
        ("arrive", "?0"),
        ("absent", ""),
        ("give a=2", ""),
        ("arrive", "?0"),
        // The answer is faster than the look.
        ("give a=3", ""),
        ("absent", ""),
        ("arrive", "?0"),
        ("status a=3", ""),
        ("give a=3", ""),
    ]);
}

#[test]
fn a_rotation_is_told_once_the_status_has_it() {
    let rotated = "Rotated secret/a 1 -> 2 of vault kv1 (class chat)";
    let mut story = Story::after(&MOUNTED);
    story.goes_on(&[
        ("give a=2", "?1"),
        ("status a=1", "?2"),
        // Asked again meanwhile, the driver is given the same.
        ("arrive", ""),
        ("give a=2", ""),
        ("silent", "?4"),
        ("status a=2", rotated),
        ("give a=2", ""),
        ("arrive", ""),
        ("give a=1", "?1"),
        ("give a=3", ""),
        // What is told is what the pod had, not what was given.
        ("status a=1", "?2"),
        (
            "status a=3",
            "Rotated secret/a 1 -> 3 of vault kv1 (class chat)",
        ),
    ]);
}

#[test]
fn nothing_is_told_of_a_rotation_that_nobody_can_look_at() {
    let mut story = Story::after(&MOUNTED);
    story.outcome("give a=2");
    let mut looks = 0;
    while !story.outcome("silent").is_empty() {
        looks += 1;
    }
    assert_eq!(looks, 8);
    story.goes_on(&[
        ("arrive", "?0"),
        ("silent", ""),
        ("give a=2", ""),
        ("arrive", ""),
        ("give a=3", "?1"),
        (
            "status a=3",
            "Rotated secret/a 2 -> 3 of vault kv1 (class chat)",
        ),
    ]);
}

#[test]
fn files_that_the_driver_does_not_write_are_a_failure() {
    let mut story = Story::after(&MOUNTED);
    story.outcome("give a=2");
    for _ in 0..8 {
        assert!(story.outcome("status a=1").starts_with('?'));
    }
    let failed = "Rotation has failed since 2026-11-28T06:00:00Z (class chat). The driver was given new \
                  files, but the pod's SecretProviderClassPodStatus has the old versions: secret/a 1 -> 2. Fix: see the log \
                  of the driver's pod on this node, which says why it could not write the files or the status";
    story.goes_on(&[
        ("status a=1", failed),
        ("give a=2", "?1"),
        ("status a=1", ""),
        ("wait 21", ""),
        ("give a=2", "?1"),
        ("status a=1", failed),
        ("give a=2", "?1"),
        (
            "status a=2",
            "Rotated secret/a 1 -> 2 of vault kv1 (class chat)\nRotation works again. It had failed since \
             2026-11-28T06:00:00Z; rotated secret/a 1 -> 2 of vault kv1 (class chat)",
        ),
    ]);
}

#[test]
fn a_failure_is_told_and_refreshed_and_its_end_is_told() {
    let mut story = Story::after(&MOUNTED);
    story.goes_on(&[
        ("fail down", DOWN),
        ("wait 1", ""),
        ("fail down", ""),
        ("wait 18", ""),
        ("fail down", ""),
        ("wait 1", ""),
        ("fail down", DOWN),
        ("fail down", ""),
        ("give a=1", UP),
        ("give a=1", ""),
    ]);
    // Of another volume it is told at another time.
    let mut story = Story::begin();
    story.rotation = Rotation::new(599);
    for step in MOUNTED {
        story.step(step);
    }
    story.goes_on(&[
        ("fail down", DOWN),
        ("wait 29", ""),
        ("fail down", ""),
        ("wait 1", ""),
        ("fail down", DOWN),
    ]);
}

#[test]
fn another_reason_is_told_at_once_and_flaps_are_not() {
    let denied = DOWN.replace("KV_UNAVAILABLE", "KV_ACCESS_DENIED");
    let mut story = Story::after(&MOUNTED);
    story.goes_on(&[("fail down", DOWN), ("fail denied", &denied)]);
    let mut told = 0;
    for round in 0..60 {
        let step = if round % 2 == 0 {
            "fail down"
        } else {
            "fail denied"
        };
        told += usize::from(!story.outcome(step).is_empty());
        story.outcome("wait 1");
    }
    // The other four at once, and one each ten minutes.
    assert_eq!(told, 4 + 5);
    let mut story = Story::after(&MOUNTED);
    let mut told = Vec::new();
    for round in 0..60 {
        let step = if round % 2 == 0 {
            "fail down"
        } else {
            "give a=1"
        };
        told.push(story.outcome(step));
        story.outcome("wait 1");
    }
    told.retain(|outcome| !outcome.is_empty());
    assert_eq!(told.len(), 6 + 5);
    // What was told last is true after a while.
    story.outcome("wait 10");
    let last = [story.outcome("give a=1"), told.pop().unwrap()];
    assert!(
        last.iter()
            .any(|outcome| outcome.starts_with("Rotation works again"))
    );
}

#[test]
fn a_failure_that_ends_with_new_files_says_so_once_they_are_there() {
    let rotated = "Rotated secret/a 1 -> 2 of vault kv1 (class chat)";
    let recovered = UP.replace(
        " (class chat)",
        "; rotated secret/a 1 -> 2 of vault kv1 (class chat)",
    );
    let mut story = Story::after(&MOUNTED);
    story.goes_on(&[
        ("fail down", DOWN),
        ("give a=2", "?1"),
        ("status a=1", "?2"),
        ("status a=2", &format!("{rotated}\n{recovered}")),
    ]);
}

#[test]
fn after_a_restart_the_status_says_what_was_before() {
    // That it fails is told: where there is a status, there are files.
    let at_least = DOWN.replace("since 2026", "since at least 2026");
    let mut story = Story::begin();
    story.goes_on(&[
        ("arrive", "?0"),
        ("fail down", ""),
        ("status a=1", &at_least),
        ("fail down", ""),
    ]);
    let mut story = Story::begin();
    story.goes_on(&[
        ("arrive", "?0"),
        ("status a=1", ""),
        ("fail down", &at_least),
    ]);
    // So is a rotation, whichever comes first.
    let rotated = "Rotated secret/a 1 -> 2 of vault kv1 (class chat)";
    let mut story = Story::begin();
    story.goes_on(&[
        ("arrive", "?0"),
        ("status a=1", ""),
        ("give a=2", "?1"),
        ("status a=2", rotated),
    ]);
    let mut story = Story::begin();
    story.goes_on(&[
        ("arrive", "?0"),
        ("give a=2", ""),
        ("status a=1", "?2"),
        ("status a=2", rotated),
    ]);
    // A look that comes too late, or not at all, tells nothing.
    Story::after(&["arrive", "give a=2", "status a=2", "arrive", "give a=2"]);
    Story::after(&[
        "arrive",
        "fail down",
        "silent",
        "arrive",
        "give a=2",
        "silent",
    ]);
    // What was edited meanwhile shows by its objects.
    let mut story = Story::after(&["arrive", "status a=1 b=1", "give a=2 c=1"]);
    let edited = "The files follow the class chat, which was edited: secret/a 1 -> 2, secret/c added (1), secret/b removed \
                  of vault kv1";
    story.goes_on(&[("status a=2 c=1", edited)]);
    let mut story = Story::after(&["arrive", "status a=1", "give failover a=7"]);
    let moved = "The files are of the failover vault kv2 (class chat): secret/a 1 -> 7";
    story.goes_on(&[("status a=7", moved)]);
}

#[test]
fn another_vault_is_no_rotation() {
    let to_failover =
        "The files are of the failover vault kv2 instead of kv1, which is unavailable (class chat)";
    let back = "The files are of the vault kv1 again instead of kv2 (class chat)";
    // With versions of its own.
    let mut story = Story::after(&MOUNTED);
    story.outcome("give a=1");
    story.goes_on(&[
        ("give failover a=7", "?1"),
        ("status a=7", &format!("{to_failover}: secret/a 1 -> 7")),
        ("give failover a=8", "?1"),
        (
            "status a=8",
            "Rotated secret/a 7 -> 8 of vault kv2 (class chat)",
        ),
        ("give a=1", "?1"),
        ("status a=1", &format!("{back}: secret/a 8 -> 1")),
        ("give failover a=8", "?1"),
        ("status a=8", &format!("{to_failover}: secret/a 1 -> 8")),
        // The first vault has gone on meanwhile.
        ("give a=2", "?1"),
        (
            "status a=2",
            &format!("{back}: secret/a 8 -> 2\nRotated secret/a 1 -> 2 of vault kv1 (class chat)"),
        ),
    ]);
    // With those of the first, as a backup that was restored has; not at each flap.
    let mut story = Story::after(&MOUNTED);
    story.outcome("give a=1");
    story.goes_on(&[
        ("give failover a=1", to_failover),
        ("give failover a=1", ""),
        ("give a=1", back),
        ("give failover a=1", to_failover),
        ("give a=1", back),
        ("give failover a=1", to_failover),
        ("give a=1", back),
        ("give failover a=1", ""),
        ("wait 10", ""),
        ("give failover a=1", to_failover),
    ]);
}

#[test]
fn an_edited_class_is_no_rotation() {
    let mut story = Story::after(&MOUNTED);
    story.outcome("give a=1");
    story.goes_on(&[
        ("give edited a=1 b=5", "?1"),
        (
            "status a=1 b=5",
            "The files follow the class chat, which was edited: secret/b added (5) of vault kv1",
        ),
        ("give a=1 b=5", ""),
        ("give a=1 b=6", "?1"),
        (
            "status a=1 b=6",
            "Rotated secret/b 5 -> 6 of vault kv1 (class chat)",
        ),
    ]);
}

#[test]
fn what_was_told_long_ago_is_not_kept() {
    let mut story = Story::after(&MOUNTED);
    let quiet = story.rotation.weight();
    story.outcome("fail down");
    assert_eq!(story.rotation.weight(), quiet);
    for _ in 0..100 {
        story.outcome("give a=2");
        story.outcome("fail down");
        story.outcome("status a=2");
        story.outcome("give a=1");
        story.outcome("status a=1");
    }
    assert!(story.rotation.weight() < quiet + 2 * files("a=1").weight());
}

#[test]
fn a_note_has_room_for_what_it_must_say() {
    let many = |version: usize| {
        (0..200)
            .map(|n| format!("object-{n}={version}"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let mut story = Story::after(&["arrive"]);
    story.step(&format!("status {}", many(1)));
    let failed = story.outcome("fail down");
    assert!(
        failed.contains(" more. the cause of it. Fix: the fix"),
        "{failed}"
    );
    assert!(failed.len() < 500, "{failed}");
    story.step(&format!("give {}", many(2)));
    let rotated = story.outcome(&format!("status {}", many(2)));
    let (first, _) = rotated.split_once('\n').unwrap();
    assert!(
        first.ends_with(" more of vault kv1 (class chat)"),
        "{first}"
    );
    assert!(first.len() < 800, "{first}");
}
