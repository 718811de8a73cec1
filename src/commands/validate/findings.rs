//! [`Findings`] of one class, while it is checked.

use crate::class::parameters::closest;
use crate::commands::validate::finding::{Finding, Place, Severity};
use crate::commands::validate::placed_yaml::Node;
use crate::commands::validate::places::Subject;
use crate::commands::validate::scalar_type::instead_of_text;
use crate::text::excerpt::Excerpt;

/// The most findings of one severity for one class.
const MAX_FINDINGS: usize = 100;
/// The most characters of a name that somebody made up.
const MAX_NAME: usize = 200;

/// What there is to say about one class.
pub struct Findings {
    class: String,
    list: Vec<Finding>,
    left_out: usize,
}

/// What to say about something.
pub struct Say {
    /// How much it matters.
    pub severity: Severity,
    /// The stable word.
    pub reason: &'static str,
    /// What is the matter.
    pub message: String,
    /// What comes of it; may be empty.
    pub why: &'static str,
    /// What to do.
    pub fix: String,
}

impl Findings {
    /// None yet, of the class with this name.
    pub fn new(class: &str) -> Self {
        Self {
            class: clipped(class.to_owned()),
            list: Vec::new(),
            left_out: 0,
        }
    }

    /// Adds a finding. A hostile class may have any number; of each severity the first ones stay.
    pub fn add(&mut self, subject: Subject, say: Say) {
        let same = |finding: &&Finding| finding.severity == say.severity;
        if self.list.iter().filter(same).count() >= MAX_FINDINGS {
            self.left_out += 1;
            return;
        }
        self.list.push(Finding {
            place: subject.place,
            severity: say.severity,
            reason: say.reason,
            class: self.class.clone(),
            field: clipped(subject.field),
            message: say.message,
            why: say.why,
            fix: say.fix,
        });
    }

    /// Counts findings that somebody else has left out.
    pub fn leave_out(&mut self, count: usize) {
        self.left_out += count;
    }

    /// All of them; `place` is the class's.
    pub fn into_list(mut self, place: Place) -> Vec<Finding> {
        let left_out = std::mem::take(&mut self.left_out);
        if left_out > 0 {
            self.list.push(Finding {
                place,
                severity: Severity::Note,
                reason: "MORE_FINDINGS",
                class: self.class,
                field: String::new(),
                message: format!("{left_out} more findings about this class are not shown"),
                why: "",
                fix: "put those right that are shown, and check again".to_owned(),
            });
        }
        self.list
    }
}

fn clipped(mut name: String) -> String {
    if let Some((end, _)) = name.char_indices().nth(MAX_NAME) {
        name.truncate(end);
    }
    name
}

/// A field that the API server drops, or refuses when kubectl asks it to be strict.
pub fn unknown_field(
    findings: &mut Findings,
    parent: &str,
    key: &Node,
    name: &str,
    known: &[&'static str],
) {
    let near = closest(name, known);
    let hint = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
    findings.add(
        Subject {
            field: format!("{parent}.{name}"),
            place: Place::of(key),
        },
        Say {
            severity: Severity::Warning,
            reason: "UNKNOWN_FIELD",
            message: format!("{parent}: field {} is unknown{hint}", Excerpt(name)),
            why: "kubectl refuses it by default, and other tools drop it",
            fix: near.map_or_else(|| "take it out".to_owned(), |near| format!("write {near}")),
        },
    );
}

/// A name as it is, if it is short and harmless.
pub fn one_word(name: &str) -> String {
    let quoted = Excerpt(name).to_string();
    match quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    {
        Some(plain) if plain == name => name.to_owned(),
        _ => quoted,
    }
}

/// Whether a value is not text, which the API server refuses; says so.
pub fn not_a_string(findings: &mut Findings, parent: &str, name: &str, value: &Node) -> bool {
    let Some(found) = instead_of_text(value) else {
        return false;
    };
    let name = one_word(name);
    findings.add(
        Subject {
            field: format!("{parent}.{name}"),
            place: Place::of(value),
        },
        Say {
            severity: Severity::Error,
            reason: "NOT_A_STRING",
            message: format!("{parent}: {name}: expected a string, found {found}"),
            why: "Kubernetes takes only a string there and refuses the class",
            fix: match value.text() {
                Some(text) => format!("put it in quotes: {name}: {}", Excerpt(text)),
                None => "write a text in quotes, or take it out".to_owned(),
            },
        },
    );
    true
}
