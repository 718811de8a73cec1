//! [`Scale`], an axis of a plot.

/// An axis on which each decade is as long as the others, so that linear growth is a straight line whose slope is
/// the same for everyone.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// The exponents of ten at both ends.
    from: f64,
    to: f64,
    /// Where the ends are in the picture.
    start: f64,
    end: f64,
}

impl Scale {
    /// From the decade of the least of these numbers to that of the most.
    pub fn over(numbers: impl Iterator<Item = f64>, start: f64, end: f64) -> Self {
        let exponents = numbers.filter(|number| *number > 0.0).map(f64::log10);
        let (least, most) = exponents
            .fold(None, |ends: Option<(f64, f64)>, exponent| {
                let (least, most) = ends.unwrap_or((exponent, exponent));
                Some((least.min(exponent), most.max(exponent)))
            })
            .unwrap_or_default();
        let from = least.floor();
        Self {
            from,
            to: most.ceil().max(from + 1.0),
            start,
            end,
        }
    }

    /// Where a number is.
    pub fn at(self, number: f64) -> f64 {
        let part = (number.log10() - self.from) / (self.to - self.from);
        self.start + part * (self.end - self.start)
    }

    /// The powers of ten, and where they are.
    pub fn decades(self) -> impl Iterator<Item = (f64, f64)> {
        std::iter::successors(Some(self.from), |exponent| Some(exponent + 1.0))
            .take_while(move |exponent| *exponent <= self.to)
            .map(move |exponent| 10_f64.powf(exponent))
            .map(move |decade| (decade, self.at(decade)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decades_are_equally_far_apart() {
        let scale = Scale::over([2.0, 0.0, 900.0].into_iter(), 0.0, 300.0);
        let decades: Vec<_> = scale
            .decades()
            .map(|(decade, at)| (decade.round(), at.round()))
            .collect();
        assert_eq!(
            decades,
            [(1.0, 0.0), (10.0, 100.0), (100.0, 200.0), (1000.0, 300.0)]
        );
    }

    #[test]
    fn nothing_has_a_scale_too() {
        let scale = Scale::over(std::iter::empty(), 300.0, 0.0);
        assert!((scale.at(10.0) - 0.0).abs() < 1e-9);
    }
}
