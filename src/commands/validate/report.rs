//! The two forms of the output: for people, as compilers write, and for machines, as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use crate::commands::validate::finding::{Finding, Place, Severity};
use crate::commands::validate::placed_yaml::Text;

/// The most characters of a source line that are shown.
const MAX_COLUMNS: usize = 120;
/// How many characters before the place are shown of a line that is longer.
const BEFORE: usize = 60;

/// One finding for people: the place, the message, the line that it is about, and what to do.
pub fn text(file: &str, source: &Text<'_>, finding: &Finding) -> String {
    let Finding {
        place,
        severity,
        reason,
        class,
        message,
        why,
        fix,
        ..
    } = finding;
    let mut text = format!(
        "{file}:{}:{}: {}[{reason}]: {message}\n",
        place.at.line,
        place.at.column,
        severity.as_str()
    );
    let number = place.at.line.to_string();
    let margin = " ".repeat(number.len());
    if *severity != Severity::Note
        && let Some((line, carets)) = excerpt(source, *place)
    {
        _ = writeln!(text, "{margin} |\n{number} | {line}\n{margin} | {carets}");
    }
    let mut line = |name: &str, words: &str| {
        if !words.is_empty() {
            _ = writeln!(text, "{margin} = {name}: {words}");
        }
    };
    let class: String = class.chars().filter(|c| !c.is_control()).collect();
    line("class", &class);
    line("why", why);
    line("fix", fix);
    text
}

/// The line of a place, and carets below it; nothing for a place behind the end.
fn excerpt(source: &Text<'_>, place: Place) -> Option<(String, String)> {
    let line = source.line(place.at.line)?;
    let column = place.at.column - 1;
    let length = line.chars().count();
    if line.trim().is_empty() || column >= length {
        return None;
    }
    let first = if length > MAX_COLUMNS {
        column.saturating_sub(BEFORE)
    } else {
        0
    };
    let shown: String = line
        .chars()
        .skip(first)
        .take(MAX_COLUMNS)
        .map(|character| match character {
            '\t' => ' ',
            // What a terminal would act on stays out, bidirectional overrides included.
            other if other == '\'' || other == '"' || other == '\\' => other,
            other if other.escape_debug().count() == 1 => other,
            _ => '\u{fffd}',
        })
        .collect();
    let width = place
        .width
        .min(shown.chars().count() - (column - first))
        .max(1);
    let carets = format!("{}{}", " ".repeat(column - first), "^".repeat(width));
    Some((shown, carets))
}

/// A finding as JSON. The names are a contract with those who read them; see docs/validate.md.
#[derive(Serialize)]
struct Entry<'a> {
    file: &'a str,
    line: usize,
    column: usize,
    class: &'a str,
    severity: Severity,
    reason: &'a str,
    field: &'a str,
    message: &'a str,
    why: &'a str,
    fix: &'a str,
}

/// All findings for machines: a list, one entry a line.
pub fn json(findings: &[(String, Finding)]) -> String {
    let entries: Vec<_> = findings
        .iter()
        .filter_map(|(file, finding)| {
            let entry = Entry {
                file,
                line: finding.place.at.line,
                column: finding.place.at.column,
                class: &finding.class,
                severity: finding.severity,
                reason: finding.reason,
                field: &finding.field,
                message: &finding.message,
                why: finding.why,
                fix: &finding.fix,
            };
            // Strings and numbers always become JSON.
            serde_json::to_string(&entry).ok()
        })
        .collect();
    if entries.is_empty() {
        "[]\n".to_owned()
    } else {
        format!("[\n  {}\n]\n", entries.join(",\n  "))
    }
}

/// `2 classes checked: 1 error, 2 warnings`
pub fn summary(classes: usize, errors: usize, warnings: usize) -> String {
    let count = |count: usize, one: &str, many: &str| {
        format!("{count} {}", if count == 1 { one } else { many })
    };
    format!(
        "{} checked: {}, {}",
        count(classes, "class", "classes"),
        count(errors, "error", "errors"),
        count(warnings, "warning", "warnings")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::validate::placed_yaml::{Origin, Position};

    fn source(text: &str) -> Text<'_> {
        Text::new(text, Origin::FILE)
    }

    fn place(line: usize, column: usize, width: usize) -> Place {
        Place {
            at: Position { line, column },
            width,
        }
    }

    #[test]
    fn a_finding_is_shown_at_its_line() {
        let finding = Finding {
            place: place(2, 6, 3),
            severity: Severity::Error,
            reason: "INVALID_PARAMETER",
            class: "c".to_owned(),
            field: "a".to_owned(),
            message: "a: expected b".to_owned(),
            why: "",
            fix: "write b".to_owned(),
        };
        assert_eq!(
            text("f.yaml", &source("x\n  a: xyz\n"), &finding),
            "f.yaml:2:6: error[INVALID_PARAMETER]: a: expected b\n  |\n2 |   a: xyz\n  |      ^^^\n  = class: c\n  = fix: write b\n"
        );
    }

    #[test]
    fn a_line_is_short_and_harmless() {
        let long = format!("{}x{}", "a".repeat(1000), "b".repeat(1000));
        let (line, carets) = excerpt(&source(&long), place(1, 1001, 5000)).unwrap();
        assert_eq!(line.chars().count(), MAX_COLUMNS);
        assert_eq!(line.chars().nth(carets.find('^').unwrap()), Some('x'));
        assert_eq!(carets.len(), MAX_COLUMNS);
        let (line, _) = excerpt(&source("a\tb\u{1b}[2J\u{202e}'\""), place(1, 1, 1)).unwrap();
        assert_eq!(line, "a b\u{fffd}[2J\u{fffd}'\"");
        for nothing in [place(1, 9, 1), place(7, 1, 1)] {
            assert_eq!(excerpt(&source("abc\n"), nothing), None);
        }
    }

    #[test]
    fn the_summary_counts() {
        assert_eq!(summary(2, 1, 2), "2 classes checked: 1 error, 2 warnings");
        assert_eq!(summary(1, 0, 1), "1 class checked: 0 errors, 1 warning");
    }
}
