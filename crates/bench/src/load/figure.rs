//! How figures are written in a cell: with three digits, and with their unit.

use super::metric::Metric;
use super::spread::Spread;

/// Such as `22.1 ms (21.8 to 23.0)`.
pub fn spread(spread: Option<Spread>, metric: Metric) -> String {
    let Some(Spread {
        least,
        median,
        most,
    }) = spread
    else {
        return "failed".to_owned();
    };
    let (least, most) = (number(least), number(most));
    let median = number(median) + metric.unit();
    if least == most {
        median
    } else {
        format!("{median} ({least} to {most})")
    }
}

/// The median alone; nothing of nothing.
pub fn median(spread: Option<Spread>, metric: Metric) -> String {
    spread.map_or(String::new(), |spread| {
        number(spread.median) + metric.unit()
    })
}

/// A part of a time, such as what one object costs.
pub fn milliseconds(time: f64) -> String {
    number(time) + " ms"
}

/// How many times; nothing where something is divided by zero.
pub fn times(ratio: f64) -> String {
    if ratio.is_finite() {
        number(ratio) + "x"
    } else {
        String::new()
    }
}

/// Three digits, or all of them before the point.
fn number(number: f64) -> String {
    let digits = match number {
        _ if number >= 100.0 || number.fract() == 0.0 => 0,
        _ if number >= 10.0 => 1,
        _ if number >= 1.0 => 2,
        _ => 3,
    };
    format!("{number:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        for (figure, text) in [
            (0.0, "0"),
            (0.12345, "0.123"),
            (1.5, "1.50"),
            (22.14, "22.1"),
            (4369.4, "4369"),
            (110.0, "110"),
        ] {
            assert_eq!(number(figure), text);
        }
    }

    #[test]
    fn a_spread_of_one_figure_is_that_figure() {
        let of = |figures: &[f64]| spread(Spread::of(figures.iter().copied()), Metric::Time);
        assert_eq!(of(&[21.84, 22.14, 23.25]), "22.1 ms (21.8 to 23.2)");
        assert_eq!(of(&[110.0, 110.0]), "110 ms");
        assert_eq!(of(&[]), "failed");
        assert_eq!(times(2.0 / 0.0), "");
    }
}
