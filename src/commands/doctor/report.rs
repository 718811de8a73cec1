//! [`Report`], the steps in the two forms of the output: for people, each as soon as it is there, and for machines,
//! as one JSON object.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use serde::Serialize;
use serde_json::Value;

use crate::commands::doctor::step::{Facts, Finding, Outcome, Step, Subject};
use crate::settings::OutputForm;

/// The steps so far.
#[derive(Debug)]
pub(super) struct Report {
    form: OutputForm,
    colours: bool,
    class: String,
    provider: String,
    steps: Vec<Step>,
}

/// A step as JSON. The names are a contract with those who read them; see docs/doctor.md.
#[derive(Serialize)]
struct Entry<'a> {
    step: Subject,
    name: &'a str,
    outcome: Outcome,
    milliseconds: u64,
    summary: &'a str,
    details: &'a Value,
    warnings: &'a [String],
    reason: Option<&'a str>,
    cause: Option<&'a str>,
    fix: Option<&'a str>,
}

/// The whole report as JSON.
#[derive(Serialize)]
struct Whole<'a> {
    class: &'a str,
    provider: &'a str,
    outcome: Outcome,
    steps: Vec<Entry<'a>>,
}

impl Report {
    /// A report on a class.
    pub(super) fn new(form: OutputForm, colours: bool, class: &str, provider: &str) -> Self {
        Self {
            form,
            colours,
            class: class.to_owned(),
            provider: provider.to_owned(),
            steps: Vec::new(),
        }
    }

    /// Adds a step. Whether it works.
    pub(super) fn add(&mut self, step: Step) -> bool {
        if self.form == OutputForm::Text {
            print(&text(&step, self.colours));
        }
        let works = matches!(step.finding, Finding::Works(_));
        self.steps.push(step);
        works
    }

    /// Adds steps that are not taken, since something before them failed.
    pub(super) fn skip(&mut self, subjects: &[Subject]) {
        for &subject in subjects {
            self.add(Step::skipped(subject, ""));
        }
    }

    /// The worst that was found.
    pub(super) fn outcome(&self) -> Outcome {
        let outcomes = self.steps.iter().map(Step::outcome);
        outcomes.max().unwrap_or(Outcome::Skipped)
    }

    /// Ends the output.
    pub(super) fn end(&self) {
        match self.form {
            OutputForm::Text => print(&self.last_line()),
            OutputForm::Json => print(&self.json()),
        }
    }

    fn last_line(&self) -> String {
        let count = |outcome| {
            let those = self.steps.iter().filter(|step| step.outcome() == outcome);
            those.count()
        };
        let plural = |count: usize, one: &str| {
            let s = if count == 1 { "" } else { "s" };
            format!("{count} {one}{s}")
        };
        let (failed, warned) = (count(Outcome::Failed), count(Outcome::Warning));
        let counted = format!(
            "{}, {}",
            plural(failed, "failure"),
            plural(warned, "warning")
        );
        if failed > 0 {
            format!("\nclass {:?} does not mount here: {counted}\n", self.class)
        } else {
            format!("\nclass {:?} mounts here: {counted}\n", self.class)
        }
    }

    fn json(&self) -> String {
        let whole = Whole {
            class: &self.class,
            provider: &self.provider,
            outcome: self.outcome(),
            steps: self.steps.iter().map(Entry::of).collect(),
        };
        // Strings and numbers always become JSON.
        let json = serde_json::to_string_pretty(&whole).unwrap_or_default();
        format!("{json}\n")
    }
}

impl<'a> Entry<'a> {
    fn of(step: &'a Step) -> Self {
        let entry = Self {
            step: step.subject,
            name: &step.name,
            outcome: step.outcome(),
            milliseconds: u64::try_from(step.took.as_millis()).unwrap_or(u64::MAX),
            summary: "",
            details: &Value::Null,
            warnings: &[],
            reason: None,
            cause: None,
            fix: None,
        };
        let with = |facts: &'a Facts| Self {
            summary: &facts.summary,
            details: &facts.details,
            warnings: &facts.warnings,
            ..entry
        };
        match &step.finding {
            Finding::Works(facts) => with(facts),
            Finding::Failed { why, facts } => Self {
                // What it would say if it worked.
                summary: "",
                reason: Some(why.reason.as_str()),
                cause: Some(&why.cause),
                fix: Some(&why.fix),
                ..with(facts)
            },
            Finding::Skipped => entry,
        }
    }
}

/// Where the words of a step begin: behind the tick, the title and the time.
const INDENT: usize = 26;

/// One step for people: a line, and one more for each warning or for the fix.
fn text(step: &Step, colours: bool) -> String {
    let (tick, colour) = match step.outcome() {
        Outcome::Ok => ("✓", "32"),
        Outcome::Warning => ("!", "33"),
        Outcome::Failed => ("✗", "31"),
        Outcome::Skipped => ("–", "2"),
    };
    let tick = if colours {
        format!("\u{1b}[{colour}m{tick}\u{1b}[0m")
    } else {
        tick.to_owned()
    };
    let time = match step.finding {
        Finding::Skipped => String::new(),
        _ => format!("{} ms", step.took.as_millis()),
    };
    let name = if step.subject.shows_name() && !step.name.is_empty() {
        format!("{}: ", step.name)
    } else {
        String::new()
    };
    let (words, fix, warnings) = match &step.finding {
        Finding::Works(facts) => (facts.summary.clone(), None, &facts.warnings[..]),
        Finding::Failed { why, facts } => {
            let words = format!("[{}] {}", why.reason.as_str(), why.cause);
            (words, Some(&why.fix), &facts.warnings[..])
        }
        Finding::Skipped => (
            "skipped, since what it needs failed".to_owned(),
            None,
            &[][..],
        ),
    };
    let mut text = format!(
        "{tick} {:11} {time:>10}  {name}{words}\n",
        step.subject.title()
    );
    let indent = " ".repeat(INDENT);
    for warning in warnings {
        _ = writeln!(text, "{indent}Warning: {warning}");
    }
    if let Some(fix) = fix {
        _ = writeln!(text, "{indent}Fix: {fix}");
    }
    text
}

/// Writes to standard output. Whoever closes it early has read enough.
fn print(text: &str) {
    _ = io::stdout().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::explain::{Explanation, Reason};

    fn step(subject: Subject, name: &str, finding: Finding) -> Step {
        Step {
            subject,
            name: name.to_owned(),
            took: Duration::from_millis(7),
            finding,
        }
    }

    fn works(warnings: &[&str]) -> Finding {
        Finding::Works(Facts {
            summary: "it is there".to_owned(),
            details: json!({}),
            warnings: warnings.iter().map(ToString::to_string).collect(),
        })
    }

    fn failed() -> Finding {
        Finding::Failed {
            why: Explanation {
                reason: Reason::KvUnreachable,
                cause: "a cause".to_owned(),
                fix: "a fix".to_owned(),
            },
            facts: Facts::default(),
        }
    }

    #[test]
    fn steps_have_their_words_below_each_other() {
        for (finding, expected) in [
            (works(&[]), "✓ vault: DNS        7 ms  h: it is there\n"),
            (
                works(&["soon"]),
                "! vault: DNS        7 ms  h: it is there\n                          Warning: soon\n",
            ),
            (
                failed(),
                "✗ vault: DNS        7 ms  h: [KV_UNREACHABLE] a cause\n                          Fix: a fix\n",
            ),
            (
                Finding::Skipped,
                "– vault: DNS              h: skipped, since what it needs failed\n",
            ),
        ] {
            let step = step(Subject::VaultDns, "h", finding);
            assert_eq!(text(&step, false), expected);
            let unnamed = Step {
                subject: Subject::VaultTcp,
                ..step
            };
            assert!(!text(&unnamed, false).contains("h: "));
            let coloured = text(&unnamed, true);
            assert!(coloured.starts_with("\u{1b}["), "{coloured}");
        }
    }

    #[test]
    fn the_worst_finding_counts() {
        for (findings, expected) in [
            (vec![works(&[])], Outcome::Ok),
            (vec![works(&[]), works(&["soon"])], Outcome::Warning),
            (
                vec![failed(), works(&["soon"]), Finding::Skipped],
                Outcome::Failed,
            ),
        ] {
            let mut report = Report::new(OutputForm::Json, false, "c", "azure-rs");
            for finding in findings {
                report.add(step(Subject::Vault, "", finding));
            }
            assert_eq!(report.outcome(), expected);
        }
    }
}
