//! [`Report`], figures beside their goals, as a table in Markdown.

use std::fmt;
use std::time::Duration;

use crate::failure::Failure;

/// A figure that has a goal.
#[derive(Clone, Debug)]
struct Row {
    what: &'static str,
    goal: String,
    measured: String,
    met: bool,
}

/// Figures with their goals.
#[derive(Clone, Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// A time that should be less than the goal, with what else is to be said of it.
    pub fn time(&mut self, what: &'static str, goal: Duration, measured: Duration, more: &str) {
        self.rows.push(Row {
            what,
            goal: format!("under {} ms", goal.as_millis()),
            measured: format!("{}{more}", milliseconds(measured)),
            met: measured < goal,
        });
    }

    /// A size in bytes that should be less than the goal.
    pub fn size(&mut self, what: &'static str, goal: u64, measured: u64) {
        self.rows.push(Row {
            what,
            goal: format!("under {} MB", goal / 1_000_000),
            measured: megabytes(measured),
            met: measured < goal,
        });
    }

    /// An error where a goal is missed.
    pub fn verdict(&self) -> Result<(), Failure> {
        let missed: Vec<_> = self
            .rows
            .iter()
            .filter(|row| !row.met)
            .map(|row| row.what.to_owned())
            .collect();
        if missed.is_empty() {
            Ok(())
        } else {
            Err(Failure::Missed(missed))
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| | goal | measured | |")?;
        writeln!(f, "|---|---|---|---|")?;
        for Row {
            what,
            goal,
            measured,
            met,
        } in &self.rows
        {
            let verdict = if *met { "met" } else { "missed" };
            writeln!(f, "| {what} | {goal} | {measured} | {verdict} |")?;
        }
        Ok(())
    }
}

/// Such as `7.3 ms`.
pub fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// Such as `7.35 MB`, of a million bytes each. Digits that are left out are not rounded, so that a figure
/// never looks like another side of its goal.
pub fn megabytes(bytes: u64) -> String {
    format!("{}.{:02} MB", bytes / 1_000_000, bytes % 1_000_000 / 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_met_or_missed() {
        let mut report = Report::default();
        let ms = Duration::from_millis;
        report.time("start", ms(10), Duration::from_micros(7_340), " (of 3)");
        report.size("size", 8_000_000, 7_999_999);
        assert_eq!(
            report.to_string(),
            "| | goal | measured | |\n|---|---|---|---|\n\
             | start | under 10 ms | 7.3 ms (of 3) | met |\n\
             | size | under 8 MB | 7.99 MB | met |\n"
        );
        assert!(report.verdict().is_ok());
        report.size("memory", 8_000_000, 8_000_000);
        assert!(matches!(report.verdict(), Err(Failure::Missed(missed)) if missed == ["memory"]));
    }
}
