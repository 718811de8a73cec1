//! `provider-azure-rs explain`: what a reason code means and what to do, from the table that the messages
//! are made from.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use thiserror::Error;

use crate::explain::{RIGHTS, Reason};
use crate::settings::ExplainSettings;

/// The page in `docs/`, but for its table.
const PAGE: &str = "\
# Reason codes

When a mount fails, the message that `kubectl describe pod` shows begins with one of these words in brackets. They stay
the same from release to release, so alerts and searches can rely on them; the sentence behind them may become better.
Each message also says which vault, object and identity it was about, and usually has the command that fixes it; the
last column says who can, and which runbook goes on from there.

`provider-azure-rs explain CODE` says the same on a terminal. This page is made from the code (`make generate`).
";

/// Where the runbooks are.
const RUNBOOKS: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/runbooks");

/// Why there is nothing to explain.
#[derive(Debug, Error)]
pub enum ExplainError {
    /// No such code.
    #[error(
        "{found:?} is no reason code{hint}; provider-azure-rs explain lists all of them",
        hint = hint(*.meant)
    )]
    Unknown {
        /// What was asked for.
        found: String,
        /// The code that was probably meant.
        meant: Option<&'static str>,
    },
    /// Standard output cannot be written to.
    #[error("cannot write")]
    Output(#[from] io::Error),
}

fn hint(meant: Option<&'static str>) -> String {
    meant.map_or_else(String::new, |word| format!(", did you mean {word}?"))
}

/// Prints what is known of the codes, or of all of them.
pub fn run(settings: &ExplainSettings) -> Result<(), ExplainError> {
    let text = if settings.page {
        page()
    } else if settings.codes.is_empty() {
        list()
    } else {
        let reasons: Result<Vec<_>, _> = settings.codes.iter().map(|code| find(code)).collect();
        let explained: Vec<_> = reasons?.into_iter().map(explain).collect();
        explained.join("\n")
    };
    match io::stdout().write_all(text.as_bytes()) {
        // A pager that was left early.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

fn all() -> impl Iterator<Item = Reason> {
    let groups = Reason::GROUPS.iter();
    groups.flat_map(|(_, reasons)| reasons.iter().copied())
}

/// Finds a code as a message has it: in any case, and with its brackets.
fn find(code: &str) -> Result<Reason, ExplainError> {
    let word = code
        .trim_matches(['[', ']', ' '])
        .replace('-', "_")
        .to_ascii_uppercase();
    let found = all().find(|reason| reason.as_str() == word);
    found.ok_or_else(|| ExplainError::Unknown {
        found: code.to_owned(),
        meant: all()
            .map(Reason::as_str)
            .map(|known| (strsim::jaro_winkler(known, &word), known))
            .filter(|(likeness, _)| *likeness > 0.85)
            .max_by(|(one, _), (other, _)| one.total_cmp(other))
            .map(|(_, known)| known),
    })
}

fn explain(reason: Reason) -> String {
    let runbook = reason.runbook().map_or_else(String::new, |page| {
        format!("  Runbook: {RUNBOOKS}/{page}.md\n")
    });
    format!(
        "{} (gRPC {:?})\n  {}\n  {}\n  Who can fix it: {}.\n{runbook}",
        reason.as_str(),
        reason.code(),
        reason.meaning(),
        reason.remedy(),
        reason.owner()
    )
}

fn list() -> String {
    let mut text = String::new();
    for (group, reasons) in Reason::GROUPS {
        _ = writeln!(text, "{group}");
        for reason in *reasons {
            _ = writeln!(text, "  {:<30} {}", reason.as_str(), reason.meaning());
        }
    }
    text
}

fn page() -> String {
    let mut page = PAGE.to_owned();
    for (group, reasons) in Reason::GROUPS {
        _ = write!(
            page,
            "\n## {group}\n\n| code | gRPC | what it means | what to do | who can fix it |\n|---|---|---|---|---|\n"
        );
        for reason in *reasons {
            let runbook = reason.runbook().map_or_else(String::new, |page| {
                format!(" ([runbook](runbooks/{page}.md))")
            });
            _ = writeln!(
                page,
                "| `{}` | `{:?}` | {} | {} | {}{runbook} |",
                reason.as_str(),
                reason.code(),
                reason.meaning(),
                reason.remedy(),
                reason.owner()
            );
        }
    }
    page + &rights()
}

/// What it takes to read each kind of object.
fn rights() -> String {
    let mut text = "\n## What an identity needs\n\n\
        | objectType | what is read | least built-in role | its data action | access policy |\n|---|---|---|---|---|\n"
        .to_owned();
    for right in RIGHTS {
        _ = writeln!(
            text,
            "| `{}` | {} | *{}* | `{}` | `--{}-permissions get` |",
            right.kind.as_str(),
            right.read,
            right.role,
            right.action,
            right.kind.azure_name()
        );
    }
    text + "\nAn object with an `objectVersionHistory` needs `list` in an access policy too; the roles have it. *Key Vault \
        Certificate\nUser* reads all three kinds, the values of secrets among them: one role for a class that has secrets \
        and others. *Key\nVault Crypto User* reads keys too, and may sign and decrypt with them.\n"
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_found_as_people_write_them() {
        for code in [
            "KV_THROTTLED",
            "kv_throttled",
            "[KV_THROTTLED]",
            "kv-throttled",
        ] {
            assert_eq!(find(code).unwrap(), Reason::KvThrottled, "{code}");
        }
        let error = find("KV_THROTLED").unwrap_err().to_string();
        assert!(error.contains("did you mean KV_THROTTLED?"), "{error}");
        let error = find("x").unwrap_err().to_string();
        assert!(!error.contains("did you mean"), "{error}");
    }

    #[test]
    fn each_reason_has_a_word_of_its_own_and_something_to_do() {
        let words: BTreeSet<_> = all().map(Reason::as_str).collect();
        assert_eq!(words.len(), all().count());
        for reason in all() {
            let (meaning, remedy) = (reason.meaning(), reason.remedy());
            assert!(
                meaning.ends_with('.') && !meaning.contains('|'),
                "{meaning}"
            );
            assert!(remedy.ends_with('.') && !remedy.contains('|'), "{remedy}");
            assert!(!remedy.contains("  "), "{remedy}");
        }
    }
}
