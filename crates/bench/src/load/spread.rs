//! [`Spread`], what several measurements of the same thing gave.

use serde::Serialize;

/// The median of several figures, and the least and the most of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub least: f64,
    /// The one in the middle; of an even number the larger of the two.
    pub median: f64,
    pub most: f64,
}

impl Spread {
    /// Of these figures; nothing of no figures.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        Some(Self {
            least: *figures.first()?,
            median: figures[figures.len() / 2],
            most: *figures.last()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_ends() {
        let spread = |least, median, most| {
            Some(Spread {
                least,
                median,
                most,
            })
        };
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), spread(1.0, 2.0, 3.0));
        assert_eq!(Spread::of([2.0, 1.0]), spread(1.0, 2.0, 2.0));
        assert_eq!(Spread::of([]), None);
    }
}
