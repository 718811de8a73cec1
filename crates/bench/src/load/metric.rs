//! [`Metric`], what is read off a [`Repeat`], and [`Goal`], what it should be.

use serde::Serialize;

use super::protocol::Protocol;
use super::repeat::Repeat;

/// One kind of figure. Times are in milliseconds, memory is in megabytes of a million bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Metric {
    /// Until the last pod has its files.
    Time,
    /// The time of the mount in the middle.
    Middle,
    /// The time until the last pod has its files, beside that of bare requests in the same repeat.
    OfFloor,
    /// The same beside that of the same provider without shared reads.
    OfUnshared,
    /// Of the provider's process, per mount.
    Cpu,
    /// Mounts per second.
    Rate,
    /// Requests to the vault for each object, in each interval where pods are synced.
    PerObject,
    /// Requests to Entra ID.
    Entra,
    /// Requests to the vault that it answered with 401.
    Challenges,
    /// Requests to IMDS.
    Imds,
    /// Memory before the first mount.
    Idle,
    /// The most memory so far.
    Peak,
    /// Memory 30 s after the last mount.
    Later,
}

impl Metric {
    /// The figure, where it was measured.
    pub fn of(self, repeat: &Repeat) -> Option<f64> {
        let mounts = f64::from(repeat.mounts);
        let milliseconds = |time: std::time::Duration| time.as_secs_f64() * 1e3;
        let megabytes = |bytes: u64| count(bytes) / 1e6;
        Some(match self {
            Self::Time => milliseconds(repeat.time),
            Self::Middle => milliseconds(repeat.middle?),
            Self::OfFloor => repeat.time.div_duration_f64(repeat.floor?),
            Self::OfUnshared => repeat.time.div_duration_f64(repeat.unshared?),
            Self::PerObject => count(repeat.requests.vault) / f64::from(repeat.least_requests),
            Self::Cpu => milliseconds(repeat.cpu?) / mounts,
            Self::Rate => mounts / repeat.time.as_secs_f64(),
            Self::Entra => count(repeat.requests.entra),
            Self::Challenges => count(repeat.requests.challenges),
            Self::Imds => count(repeat.requests.imds),
            Self::Idle => megabytes(repeat.idle?),
            Self::Peak => megabytes(repeat.peak?),
            Self::Later => megabytes(repeat.later?),
        })
    }

    /// Whether bare requests have this figure too.
    pub fn is_bare(self) -> bool {
        matches!(self, Self::Time | Self::Rate)
    }

    /// Whether only the first contestant has this figure.
    pub fn is_of_first(self) -> bool {
        self == Self::OfUnshared
    }

    /// For the rows of a table, below the name of the work.
    pub fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Middle => "the mount in the middle",
            Self::OfFloor => "time, of the floor's",
            Self::OfUnshared => "time, of that without shared reads",
            Self::PerObject => "requests per object",
            Self::Cpu => "CPU per mount",
            Self::Rate => "mounts/s",
            Self::Entra => "requests to Entra ID",
            Self::Challenges => "challenges",
            Self::Imds => "requests to IMDS",
            Self::Idle => "memory, idle",
            Self::Peak => "memory, peak",
            Self::Later => "memory, 30 s later",
        }
    }

    /// Behind a figure.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Time | Self::Middle | Self::Cpu => " ms",
            Self::OfFloor | Self::OfUnshared => "x",
            Self::Idle | Self::Peak | Self::Later => " MB",
            Self::Rate | Self::PerObject | Self::Entra | Self::Challenges | Self::Imds => "",
        }
    }

    /// How many times better a figure is than another one.
    pub fn ratio(self, ours: f64, other: f64) -> f64 {
        match self {
            Self::Rate => ours / other,
            _ => other / ours,
        }
    }
}

/// Numbers of requests and bytes, none of which has 2⁵³ of anything.
#[expect(clippy::cast_precision_loss, reason = "far below 2⁵³")]
fn count(number: u64) -> f64 {
    number as f64
}

/// What a median should be: better than a limit, or for requests and parts no more than it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Goal {
    /// Of which figure.
    pub metric: Metric,
    /// The limit, in the metric's unit.
    pub limit: f64,
    /// Where it holds with one protocol only.
    pub only: Option<Protocol>,
}

impl Goal {
    /// Whatever the protocol.
    pub const fn new(metric: Metric, limit: f64) -> Self {
        Self {
            metric,
            limit,
            only: None,
        }
    }

    /// With one protocol.
    pub const fn with(protocol: Protocol, metric: Metric, limit: f64) -> Self {
        Self {
            metric,
            limit,
            only: Some(protocol),
        }
    }

    /// Whether it is one where this protocol is spoken.
    pub fn holds_with(&self, protocol: Protocol) -> bool {
        self.only.is_none_or(|only| only == protocol)
    }

    /// Whether a median is good enough.
    pub fn met(&self, median: f64) -> bool {
        match self.metric {
            Metric::Rate => median > self.limit,
            Metric::Entra
            | Metric::Challenges
            | Metric::Imds
            | Metric::OfFloor
            | Metric::OfUnshared
            | Metric::PerObject => median <= self.limit,
            _ => median < self.limit,
        }
    }

    /// Such as `< 24 ms`.
    pub fn describe(&self) -> String {
        let (limit, unit) = (self.limit, self.metric.unit());
        match self.metric {
            Metric::Rate => format!("> {limit}"),
            Metric::Entra | Metric::Challenges | Metric::Imds => format!("{limit}"),
            Metric::OfFloor | Metric::OfUnshared | Metric::PerObject => format!("≤ {limit}{unit}"),
            _ => format!("< {limit}{unit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::requests::Requests;
    use super::*;

    #[test]
    fn parts_are_of_what_was_measured_beside() {
        let repeat = Repeat {
            least_requests: 10,
            requests: Requests {
                vault: 25,
                ..Requests::default()
            },
            floor: Some(Duration::from_millis(80)),
            ..Repeat::bare(1, Duration::from_millis(100))
        };
        assert_eq!(Metric::OfFloor.of(&repeat), Some(1.25));
        assert_eq!(Metric::PerObject.of(&repeat), Some(2.5));
        for metric in [Metric::OfUnshared, Metric::Middle, Metric::Later] {
            assert_eq!(metric.of(&repeat), None);
        }
    }

    #[test]
    fn goals_are_sharp() {
        let time = Goal::with(Protocol::Http2, Metric::Time, 24.0);
        assert!(time.met(23.9) && !time.met(24.0));
        assert!(time.holds_with(Protocol::Http2) && !time.holds_with(Protocol::Http1));
        assert_eq!(time.describe(), "< 24 ms");
        let rate = Goal::new(Metric::Rate, 1500.0);
        assert!(rate.met(1501.0) && !rate.met(1500.0));
        assert_eq!(rate.describe(), "> 1500");
        let challenges = Goal::new(Metric::Challenges, 1.0);
        assert!(challenges.met(1.0) && !challenges.met(2.0));
        assert_eq!(challenges.describe(), "1");
        let floor = Goal::new(Metric::OfFloor, 1.05);
        assert!(floor.met(1.05) && !floor.met(1.06));
        assert_eq!(floor.describe(), "≤ 1.05x");
        assert!((Metric::Time.ratio(2.0, 8.0) - Metric::Rate.ratio(8.0, 2.0)).abs() < 1e-9);
    }
}
