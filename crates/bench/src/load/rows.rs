//! The rows: which [`Work`] is measured, and which [`Goal`]s it has.

use std::fmt;
use std::time::Duration;

use super::metric::Metric::{Challenges, Cpu, Entra, Idle, Imds, Peak, Rate, Time};
use super::metric::{Goal, Metric};
use super::protocol::Protocol::{self, Http1, Http2};
use super::work::Work;
use crate::pod::{Identity, Objects};

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

    /// The figures to show: how long it takes, or how much of it is done in a second, and what else has a goal.
    pub fn metrics(&self, protocol: Protocol) -> Vec<Metric> {
        let first = if self.work.times > 1 { Rate } else { Time };
        let goals = self.goals.iter().filter(|goal| goal.holds_with(protocol));
        let others = goals
            .map(|goal| goal.metric)
            .filter(|metric| *metric != first);
        [first].into_iter().chain(others).collect()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

/// All of them. Times that hold for HTTP/2 alone cannot be reached over 32 connections of HTTP/1.1: 1,100 requests
/// of 20 ms each take 700 ms there.
pub fn rows() -> Vec<Row> {
    let row = |what, work, goals: &[Goal]| Row {
        what,
        work,
        latency: Latency::AsSaid,
        goals: goals.to_vec(),
    };
    let times = |over_http2, over_http1| {
        [
            Goal::with(Http2, Time, over_http2),
            Goal::with(Http1, Time, over_http1),
        ]
    };
    let storm = |identity| Work::cold(110, 10, identity);
    vec![
        row("1 object, warm", Work::warm(1), &times(24.0, 24.0)),
        row("50 objects, warm", Work::warm(50), &times(35.0, 60.0)),
        row("200 objects, warm", Work::warm(200), &times(55.0, 175.0)),
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
                    versions: 10,
                },
                ..Work::warm(3)
            },
            &[Goal::new(Time, 70.0)],
        ),
        row(
            "110 pods x 10, cold, workload identity",
            storm(Identity::Workload),
            &[
                Goal::with(Http2, Time, 150.0),
                Goal::new(Entra, 110.0),
                Goal::new(Challenges, 1.0),
                Goal::new(Idle, 10.0),
                Goal::new(Peak, 20.0),
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
                &[Goal::with(Http2, Rate, 1500.0), Goal::with(Http2, Cpu, 0.6)],
            )
        },
    ]
}
