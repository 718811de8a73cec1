//! [`Growth`], how the cost of a mount grows with its objects, and that of a node's start with its pods.

use serde::Serialize;

use super::arena::Measured;
use super::metric::Metric;
use super::repeat::Repeat;
use super::spread::Spread;
use super::work::Work;
use crate::pod::Identity;

/// The sizes that are measured.
pub const SIZES: [usize; 5] = [1, 10, 100, 300, 1000];
/// The size from which on a start's or a mount's own cost no longer hides what one more costs.
const BASE: usize = 100;
/// How much more each of the largest size may cost than each of [`BASE`]. Linear is 1; the rest is for the noise
/// of short measurements. Quadratic growth would be 10.
pub const TOLERANCE: f64 = 1.5;

/// What is made more of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Of {
    /// Objects of one pod, which has mounted before.
    Objects,
    /// Pods with one object each, at a node's start.
    Pods,
}

impl Of {
    pub const ALL: [Self; 2] = [Self::Objects, Self::Pods];

    /// The work of this size.
    pub fn work(self, size: usize) -> Work {
        match self {
            Self::Objects => Work::warm(size),
            Self::Pods => Work::cold(size, 1, Identity::Workload),
        }
    }

    /// One of them.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Objects => "object",
            Self::Pods => "pod",
        }
    }

    /// As a heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Objects => "1 pod, warm, by the number of its objects",
            Self::Pods => "1 object each, cold, by the number of pods",
        }
    }
}

/// What a size costs.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    /// How many.
    pub size: usize,
    /// What all of them together cost each contestant, in the contestants' order.
    pub contestants: Vec<Cost>,
    /// The bare requests' time in milliseconds.
    pub floor: Option<Spread>,
}

/// What a size costs one contestant; nothing where it has failed.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Cost {
    /// Time in milliseconds.
    pub time: Option<Spread>,
    /// CPU time in milliseconds.
    pub cpu: Option<Spread>,
}

impl Point {
    /// From measurements of this size.
    pub fn new(size: usize, measured: &Measured) -> Self {
        let time =
            |repeats: &[Repeat]| Spread::of(repeats.iter().filter_map(|one| Metric::Time.of(one)));
        let cpu = |one: &Repeat| Some(Metric::Cpu.of(one)? * f64::from(one.mounts));
        let contestants = measured.contestants.iter().map(|outcome| {
            let repeats = outcome.as_deref().unwrap_or_default();
            Cost {
                time: time(repeats),
                cpu: Spread::of(repeats.iter().filter_map(cpu)),
            }
        });
        Self {
            size,
            contestants: contestants.collect(),
            floor: time(&measured.floor),
        }
    }
}

/// A curve.
#[derive(Clone, Debug, Serialize)]
pub struct Growth {
    pub of: Of,
    /// By size, the smallest first.
    pub points: Vec<Point>,
}

impl Growth {
    /// By what factor each of the largest size costs more than each of [`BASE`]: the larger one of time and CPU.
    /// Nothing where a size is missing. The least of all repeats counts: nothing but the work itself makes it what
    /// it is, while the machine's other work makes the others longer.
    pub fn factor(&self, contestant: usize) -> Option<f64> {
        let each = |point: &Point, cost: fn(&Cost) -> Option<Spread>| {
            let cost = cost(point.contestants.get(contestant)?)?;
            Some(cost.least / f64::from(u32::try_from(point.size).ok()?))
        };
        let base = self.points.iter().find(|point| point.size >= BASE)?;
        let last = self.points.last()?;
        let factor = |cost| Some(each(last, cost)? / each(base, cost)?);
        let time = factor(|cost| cost.time)?;
        Some(factor(|cost| cost.cpu).map_or(time, |cpu| cpu.max(time)))
    }

    /// Whether that is nothing worse than linear.
    pub fn is_linear(&self, contestant: usize) -> bool {
        self.factor(contestant)
            .is_some_and(|factor| factor <= TOLERANCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growth(cost: impl Fn(f64) -> f64) -> Growth {
        let points = [10_u16, 100, 1000].map(|size| Point {
            size: size.into(),
            contestants: vec![Cost {
                time: Spread::of([cost(size.into())]),
                cpu: None,
            }],
            floor: None,
        });
        Growth {
            of: Of::Pods,
            points: points.into(),
        }
    }

    #[test]
    fn a_line_is_linear_and_a_square_is_not() {
        let line = growth(|size| 20.0 + 0.3 * size);
        assert!(line.is_linear(0));
        assert!(!line.is_linear(1), "nobody has measured it");
        assert!(!growth(|size| size * size / 100.0).is_linear(0));
    }
}
