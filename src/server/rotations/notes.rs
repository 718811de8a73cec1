//! What the events of a rotation say: sentences about [`News`], without a value of a secret.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::news::{Cause, Change, Failure, NOT_WRITTEN, News, Origin};
use crate::cluster::Note;
use crate::text::excerpt::plain;

/// The most characters of the name of a class or a vault.
const MAX_NAME: usize = 253;
/// The most bytes of a list of changes, which a note of 1,024 bytes has room for.
const MAX_CHANGES: usize = 640;
/// The most bytes of a list within a sentence about something else.
const MAX_LIST: usize = 160;

/// What a pod whose volume has this class is told.
pub fn note(news: &News, class: &str) -> Note {
    let class = plain(class, MAX_NAME);
    let text = match news {
        News::Failed(failure) => return of_failure(failure, &class),
        News::Rotated(change) => format!(
            "Rotated {}{} (class {class})",
            changes(change),
            of_vault(change)
        ),
        News::ClassChanged(change) => format!(
            "The files follow the class {class}, which was edited: {}{}",
            changes(change),
            of_vault(change)
        ),
        News::SourceChanged(change) => of_source(change, &class),
        News::Recovered {
            since,
            reason,
            change,
        } => {
            let rotated = change.as_ref().map_or_else(String::new, |change| {
                format!("; rotated {}{}", changes(change), of_vault(change))
            });
            let with = match *reason {
                NOT_WRITTEN => String::new(),
                reason => format!(" with {reason}"),
            };
            let since = time(*since);
            format!(
                "Rotation works again. It had failed since {since}{with}{rotated} (class {class})"
            )
        }
    };
    Note::new(&text, "")
}

fn of_failure(failure: &Failure, class: &str) -> Note {
    let Failure {
        reason,
        cause,
        since,
        is_first_sight,
        files,
    } = failure;
    // What a provider that has just started sees first may have begun long ago.
    let at_least = if *is_first_sight { " at least" } else { "" };
    let since = time(*since);
    let begin = format!("Rotation has failed since{at_least} {since} (class {class})");
    match cause {
        Cause::Mount { cause, fix } => {
            let has = files.list(MAX_LIST);
            Note::new(
                &format!("[{reason}] {begin}; the files are still of {has}. {cause}."),
                &format!("Fix: {fix}"),
            )
        }
        Cause::NotWritten(given) => Note::new(
            &format!(
                "{begin}. The driver was given new files, but the pod's SecretProviderClassPodStatus has the old versions: \
                 {}.",
                files.changes_to(given, MAX_LIST)
            ),
            "Fix: see the log of the driver's pod on this node, which says why it could not write the files or the status",
        ),
    }
}

fn of_source(change: &Change, class: &str) -> String {
    let vault = |origin: &Origin| plain(&origin.vault, MAX_NAME);
    let (from, to) = (&change.from.origin, &change.to.origin);
    let now = match to {
        Some(to) if to.is_failover => format!("the failover vault {}", vault(to)),
        Some(to) => format!("the vault {} again", vault(to)),
        None => "another vault".to_owned(),
    };
    let before = from.as_ref().map_or_else(String::new, |from| {
        let is_failover = to.as_ref().is_some_and(|to| to.is_failover);
        let why = if is_failover {
            ", which is unavailable"
        } else {
            ""
        };
        format!(" instead of {}{why}", vault(from))
    });
    let changes = changes(change);
    let colon = if changes.is_empty() { "" } else { ": " };
    format!("The files are of {now}{before} (class {class}){colon}{changes}")
}

fn of_vault(change: &Change) -> String {
    let origin = change.to.origin.as_ref();
    origin.map_or_else(String::new, |origin| {
        format!(" of vault {}", plain(&origin.vault, MAX_NAME))
    })
}

fn changes(change: &Change) -> String {
    let (from, to) = (&change.from.versions, &change.to.versions);
    from.changes_to(to, MAX_CHANGES)
}

/// In whole seconds, as Kubernetes writes times.
fn time(time: OffsetDateTime) -> String {
    let time = time.replace_nanosecond(0).unwrap_or(time);
    time.format(&Rfc3339).unwrap_or_default()
}
