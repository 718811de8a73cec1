//! The rows: which [`Work`] is measured, and which [`Goal`]s it has.

use std::fmt;
use std::time::Duration;

use super::arena::Task;
use super::metric::Metric::{
    Challenges, Cpu, Entra, Idle, Imds, Later, Middle, OfFloor, OfUnshared, Peak, PerObject, Rate,
    Time,
};
use super::metric::{Goal, Metric};
use super::protocol::Protocol::{self, Http1, Http2};
use super::work::{Course, FAST_TTL, Work};
use crate::pod::{Identity, Objects, Secrets};

/// The latency that the goals are for.
pub const USUAL_LATENCY: Duration = Duration::from_millis(20);

/// How long the services think before they answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latency {
    /// As long as the command line says.
    AsSaid,
    /// Always this long.
    Fixed(Duration),
}

impl Latency {
    /// The time, where the command line says this.
    pub fn with(self, said: Duration) -> Duration {
        match self {
            Self::AsSaid => said,
            Self::Fixed(fixed) => fixed,
        }
    }
}

/// A row of the tables.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What it is called.
    pub what: &'static str,
    /// What is done.
    pub work: Work,
    /// How far away Azure is meanwhile.
    pub latency: Latency,
    /// Flags for all providers that know them.
    pub flags: &'static [&'static str],
    /// The protocol for which there is this row, where it is not both.
    pub only: Option<Protocol>,
    /// The most repeats, where each takes long.
    pub repeats: usize,
    /// What it should cost.
    pub goals: Vec<Goal>,
}

impl Row {
    /// The goal for this figure.
    pub fn goal(&self, protocol: Protocol, metric: Metric) -> Option<Goal> {
        let mut goals = self.goals.iter();
        goals
            .find(|goal| goal.metric == metric && goal.holds_with(protocol))
            .copied()
    }

    /// The figures to show: what the row is about, and what else has a goal.
    pub fn metrics(&self, protocol: Protocol) -> Vec<Metric> {
        let first = match self.work.course {
            Course::AtOnce if self.work.times > 1 => Rate,
            Course::AtOnce => Time,
            Course::Syncs => PerObject,
            Course::Throttled { .. } => Middle,
        };
        let goals = self.goals.iter().filter(|goal| goal.holds_with(protocol));
        let others = goals
            .map(|goal| goal.metric)
            .filter(|metric| *metric != first);
        [first].into_iter().chain(others).collect()
    }

    /// Whether it is measured where this protocol is spoken.
    pub fn is_with(&self, protocol: Protocol) -> bool {
        self.only.is_none_or(|only| only == protocol)
    }

    /// The work and how it is measured, where the command line says this latency and so many repeats.
    pub fn task(&self, latency: Duration, repeats: usize) -> Task<'_> {
        let has = |metric| self.goals.iter().any(|goal| goal.metric == metric);
        Task {
            work: &self.work,
            latency: self.latency.with(latency),
            repeats: repeats.min(self.repeats),
            flags: self.flags,
            unshared: has(OfUnshared),
            later: has(Later),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

/// A row with the usual latency, for both protocols.
fn row(what: &'static str, work: Work, goals: &[Goal]) -> Row {
    Row {
        what,
        work,
        latency: Latency::AsSaid,
        flags: &[],
        only: None,
        repeats: usize::MAX,
        goals: goals.to_vec(),
    }
}

/// All of them. Times that hold for HTTP/2 alone cannot be reached over 32 connections of HTTP/1.1: 1,100 requests
/// of 20 ms each take 700 ms there.
pub fn rows() -> Vec<Row> {
    [
        one_pod(),
        nodes(),
        many_with_one_identity(),
        big_and_small(),
    ]
    .concat()
}

/// What one pod waits for.
fn one_pod() -> Vec<Row> {
    let goals = |over_http2, over_http1| {
        [
            Goal::with(Http2, Time, over_http2),
            Goal::with(Http2, OfFloor, 1.03),
            Goal::with(Http1, Time, over_http1),
        ]
    };
    vec![
        row("1 object, warm", Work::warm(1), &goals(24.0, 24.0)),
        row("50 objects, warm", Work::warm(50), &goals(35.0, 60.0)),
        row("200 objects, warm", Work::warm(200), &goals(55.0, 175.0)),
        Row {
            latency: Latency::Fixed(Duration::ZERO),
            ..row(
                "200 objects, warm, no latency",
                Work::warm(200),
                &[Goal::with(Http2, Time, 25.0), Goal::with(Http2, Cpu, 20.0)],
            )
        },
        row(
            "history of 10, 3 objects, warm",
            Work {
                objects: Objects {
                    count: 3,
                    secrets: Secrets::Histories,
                },
                ..Work::warm(3)
            },
            &[Goal::new(Time, 70.0)],
        ),
    ]
}

/// What a node's pods wait for that start together, and those that mount again.
fn nodes() -> Vec<Row> {
    let storm = |identity| Work::cold(110, 10, identity);
    vec![
        row(
            "110 pods x 10, cold, workload identity",
            storm(Identity::Workload),
            &[
                Goal::with(Http2, Time, 150.0),
                Goal::with(Http2, OfFloor, 1.05),
                Goal::with(Http2, Middle, 105.0),
                Goal::new(Entra, 110.0),
                Goal::new(Challenges, 1.0),
                Goal::new(Idle, 10.0),
                Goal::new(Peak, 17.0),
            ],
        ),
        row(
            "110 pods x 10, cold, managed identity",
            storm(Identity::Managed),
            &[
                Goal::with(Http2, Time, 150.0),
                Goal::new(Imds, 1.0),
                Goal::new(Challenges, 1.0),
            ],
        ),
        row(
            "the first 110 again (rotation)",
            Work {
                cold: false,
                ..storm(Identity::Workload)
            },
            &[
                Goal::new(Entra, 0.0),
                Goal::new(Challenges, 0.0),
                Goal::new(Imds, 0.0),
            ],
        ),
        Row {
            latency: Latency::Fixed(Duration::from_millis(5)),
            ..row(
                "32 callers x 5, warm, 5 ms",
                Work {
                    pods: 32,
                    times: 20,
                    ..Work::warm(5)
                },
                &[Goal::with(Http2, Rate, 3000.0), Goal::with(Http2, Cpu, 0.6)],
            )
        },
    ]
}

/// What a vault is asked for pods of one application.
fn many_with_one_identity() -> Vec<Row> {
    let syncs = |what, pods| Row {
        // 20 ms would be like 1.2 s in a cluster.
        latency: Latency::Fixed(Duration::ZERO),
        flags: &[FAST_TTL],
        only: Some(Http2),
        repeats: 1,
        ..row(what, Work::syncs(pods, 5), &[Goal::new(PerObject, 1.1)])
    };
    vec![
        row(
            "110 pods of one identity x 10, cold",
            Work::cold(110, 10, Identity::Shared),
            &[
                Goal::with(Http2, OfUnshared, 1.05),
                Goal::new(PerObject, 3.0),
                Goal::new(Entra, 110.0),
            ],
        ),
        syncs("requests per object in 90 s, 10 pods of one identity", 10),
        syncs("requests per object in 90 s, 110 pods of one identity", 110),
    ]
}

/// What big mounts cost, and those beside them.
fn big_and_small() -> Vec<Row> {
    let big = |what, pods, count| Row {
        only: Some(Http2),
        repeats: 3,
        ..row(
            what,
            Work {
                objects: Objects {
                    count,
                    secrets: Secrets::Big,
                },
                ..Work::cold(pods, count, Identity::Workload)
            },
            &[Goal::new(Peak, 96.0), Goal::new(Later, 24.0)],
        )
    };
    let throttled = |what, behind| Row {
        only: Some(Http2),
        ..row(what, Work::throttled(behind), &[Goal::new(Middle, 35.0)])
    };
    vec![
        big("300 pods x 10 of 25 KB, cold", 300, 10),
        big("110 pods x 100 of 25 KB, cold", 110, 100),
        throttled("1 object at a throttled vault", 0),
        throttled("1 object behind 110 pods x 100 at a throttled vault", 110),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_begins_with_what_it_is_about_and_has_its_name_for_itself() {
        let rows = rows();
        for row in &rows {
            assert_eq!(
                rows.iter().filter(|other| other.what == row.what).count(),
                1
            );
            for protocol in [Http2, Http1] {
                let metrics = row.metrics(protocol);
                let first = metrics.first();
                assert_eq!(
                    metrics
                        .iter()
                        .filter(|metric| Some(*metric) == first)
                        .count(),
                    1
                );
            }
        }
        let figures = |what: &str| {
            rows.iter()
                .find(|row| row.what == what)
                .map(|row| row.metrics(Http2))
        };
        assert_eq!(figures("32 callers x 5, warm, 5 ms"), Some(vec![Rate, Cpu]));
        assert_eq!(figures("1 object at a throttled vault"), Some(vec![Middle]));
    }

    #[test]
    fn a_row_that_takes_long_is_repeated_less_often() {
        let rows = rows();
        let repeats = |most: usize| {
            rows.iter()
                .map(|row| row.task(USUAL_LATENCY, most).repeats)
                .max()
        };
        assert_eq!(repeats(7), Some(7));
        let syncs = rows.iter().filter(|row| row.work.course == Course::Syncs);
        assert!(syncs.clone().count() > 0);
        assert!(
            syncs
                .map(|row| row.task(USUAL_LATENCY, 7))
                .all(|task| task.repeats == 1 && task.flags == [FAST_TTL])
        );
    }
}
