//! [`Results`], everything that a run of the bench has measured, as tables and curves are made of it.

use std::time::Duration;

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
    /// Which figure.
    pub metric: Metric,
    /// What it should be; absent where nobody has said, or nobody asks.
    #[serde(skip)]
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
    /// Each repeat.
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
    /// Curves.
    pub growth: Vec<Growth>,
    /// What did not work.
    pub failed: Vec<Failed>,
}

impl Results {
    /// Adds a row. `judged` says whether its goals count.
    pub fn add(&mut self, row: &Row, protocol: Protocol, judged: bool, measured: Measured) {
        let floor = measured.floor.iter().map(Duration::as_secs_f64);
        let floor = Spread::of(floor.map(|seconds| seconds * 1e3));
        self.note_failures(&format!("{row}, {protocol}"), &measured);
        let all: Vec<Vec<Repeat>> = measured
            .contestants
            .into_iter()
            .map(Result::unwrap_or_default)
            .collect();
        let first = if row.wants(Metric::Rate) {
            Metric::Rate
        } else {
            Metric::Time
        };
        let goals = || row.goals.iter().filter(|goal| goal.holds_with(protocol));
        let mut metrics = vec![first];
        metrics.extend(goals().map(|goal| goal.metric).filter(|m| *m != first));
        for metric in metrics {
            let spread =
                |repeats: &Vec<Repeat>| Spread::of(repeats.iter().filter_map(|one| metric.of(one)));
            let mounts = all.iter().flatten().next().map(|one| f64::from(one.mounts));
            self.lines.push(Line {
                what: row.what,
                protocol,
                metric,
                goal: goals()
                    .find(|goal| judged && goal.metric == metric)
                    .copied(),
                contestants: all.iter().map(spread).collect(),
                floor: match metric {
                    Metric::Time => floor,
                    Metric::Rate => floor.zip(mounts).map(|(floor, mounts)| Spread {
                        least: mounts / floor.most * 1e3,
                        median: mounts / floor.median * 1e3,
                        most: mounts / floor.least * 1e3,
                    }),
                    _ => None,
                },
            });
        }
        let usage = all
            .into_iter()
            .enumerate()
            .map(|(contestant, repeats)| Usage {
                what: row.what,
                protocol,
                contestant,
                repeats,
            });
        self.usage
            .extend(usage.filter(|usage| !usage.repeats.is_empty()));
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
