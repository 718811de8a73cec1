//! [`Table`], what came of all attacks, in Markdown.

use std::fmt;

use super::trial::Outcome;
use crate::report::{megabytes, milliseconds};

/// What came of attacks.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rows: Vec<(&'static str, Outcome)>,
}

impl Table {
    pub fn add(&mut self, name: &'static str, outcome: Outcome) {
        self.rows.push((name, outcome));
    }

    /// The attacks that have succeeded.
    pub fn succeeded(&self) -> Vec<&'static str> {
        let succeeded = self
            .rows
            .iter()
            .filter(|(_, outcome)| !outcome.failures().is_empty());
        succeeded.map(|(name, _)| *name).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| attack | victim alone | under attack: median | worst | bound | probes failed | SIGTERM to end | memory: peak \
             | after | |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|---|---|")?;
        for (name, outcome) in &self.rows {
            let Outcome {
                alone,
                bound,
                mounts,
                probes,
                end,
                peak,
                memory,
                ..
            } = outcome;
            let worst = match &mounts.failure {
                None => milliseconds(mounts.worst()),
                Some(_) => format!("{}, fails", milliseconds(mounts.worst())),
            };
            let end = end.map_or_else(|| "never".to_owned(), milliseconds);
            let verdict = if outcome.failures().is_empty() {
                "held"
            } else {
                "succeeded"
            };
            writeln!(
                f,
                "| {name} | {} | {} | {worst} | {} | {} of {} | {end} | {} | {} | {verdict} |",
                milliseconds(*alone),
                milliseconds(mounts.median()),
                milliseconds(*bound),
                probes.failed,
                probes.asked,
                megabytes(*peak),
                megabytes(*memory),
            )?;
        }
        Ok(())
    }
}
