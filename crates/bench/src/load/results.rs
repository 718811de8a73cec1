//! [`Results`], everything that a run of the bench has measured, as tables and curves are made of it.

use serde::Serialize;

use super::arena::Measured;
use super::growth::{Growth, TOLERANCE};
use super::metric::{Goal, Metric};
use super::protocol::Protocol;
use super::repeat::Repeat;
use super::rows::Row;
use super::spread::Spread;

/// A figure of a row, by contestant.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// The row's name.
    pub what: &'static str,
    /// What was spoken.
    pub protocol: Protocol,
    pub metric: Metric,
    /// Whether it is the row's own, below which there are others.
    pub leads: bool,
    /// What it should be; absent where nobody has said, or nobody asks.
    pub goal: Option<Goal>,
    /// In the contestants' order; absent where one has failed.
    pub contestants: Vec<Option<Spread>>,
    /// The same figure of the bare requests, where it has one.
    pub floor: Option<Spread>,
}

impl Line {
    /// Whether the first contestant has reached the goal; nothing where there is none.
    pub fn met(&self) -> Option<bool> {
        let goal = self.goal?;
        let measured = self.contestants.first()?;
        Some(measured.is_some_and(|spread| goal.met(spread.median)))
    }
}

/// What one contestant asked of Azure, and used, for the sake of a row.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// The row's name.
    pub what: &'static str,
    /// What was spoken.
    pub protocol: Protocol,
    /// The contestant's place in their order.
    pub contestant: usize,
    pub repeats: Vec<Repeat>,
}

/// A contestant that has not finished a row.
#[derive(Clone, Debug, Serialize)]
pub struct Failed {
    /// The contestant's place in their order.
    pub contestant: usize,
    /// The row, and what it was that went wrong.
    pub why: String,
}

/// All of it.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Results {
    /// What the contestants call themselves. The first is the one that has goals.
    pub contestants: Vec<String>,
    /// Figures.
    pub lines: Vec<Line>,
    /// Requests and resources.
    pub usage: Vec<Usage>,
    pub growth: Vec<Growth>,
    /// What did not work.
    pub failed: Vec<Failed>,
}

impl Results {
    /// Adds a row. `judged` says whether its goals count.
    pub fn add(&mut self, row: &Row, protocol: Protocol, judged: bool, measured: Measured) {
        self.note_failures(&format!("{row}, {protocol}"), &measured);
        let metrics = row.metrics(protocol).into_iter().enumerate();
        let lines = metrics.map(|(number, metric)| {
            let of =
                |repeats: &[Repeat]| Spread::of(repeats.iter().filter_map(|one| metric.of(one)));
            let contestants = measured.contestants.iter();
            Line {
                what: row.what,
                protocol,
                metric,
                leads: number == 0,
                goal: row.goal(protocol, metric).filter(|_| judged),
                contestants: contestants
                    .map(|outcome| of(outcome.as_deref().unwrap_or_default()))
                    .collect(),
                floor: of(&measured.floor).filter(|_| metric.is_bare()),
            }
        });
        // Without its process a provider that runs already has neither CPU time nor memory.
        let measurable = |line: &Line| {
            let failed = measured.contestants.iter().any(Result::is_err);
            failed || line.contestants.iter().any(Option::is_some)
        };
        self.lines.extend(lines.filter(measurable));
        for (contestant, outcome) in measured.contestants.into_iter().enumerate() {
            if let Ok(repeats) = outcome {
                self.usage.push(Usage {
                    what: row.what,
                    protocol,
                    contestant,
                    repeats,
                });
            }
        }
    }

    /// Notes who has not managed this.
    pub fn note_failures(&mut self, what: &str, measured: &Measured) {
        for (contestant, outcome) in measured.contestants.iter().enumerate() {
            if let Err(failure) = outcome {
                self.fail(contestant, &format!("{what}: {failure}"));
            }
        }
    }

    fn fail(&mut self, contestant: usize, why: &str) {
        eprintln!("bench: {}: {why}", self.contestants[contestant]);
        self.failed.push(Failed {
            contestant,
            why: why.to_owned(),
        });
    }

    /// What the first contestant has missed.
    pub fn missed(&self) -> Vec<String> {
        let lines = self.lines.iter().filter(|line| line.met() == Some(false));
        let lines =
            lines.map(|line| format!("{} of {}, {}", line.metric.name(), line.what, line.protocol));
        let growth = self.growth.iter().filter(|growth| !growth.is_linear(0));
        let growth = growth.map(|growth| {
            let unit = growth.of.unit();
            format!("linear growth by {unit} (at most {TOLERANCE} times as much for each)")
        });
        let failed = self.failed.iter().filter(|failed| failed.contestant == 0);
        lines
            .chain(growth)
            .chain(failed.map(|failed| failed.why.clone()))
            .collect()
    }
}
