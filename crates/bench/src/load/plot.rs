//! [`Plot`], the curves of [`Growth`] as SVG, readable on light and on dark pages.

use std::fmt;

use super::growth::Growth;
use super::results::Results;
use super::scale::Scale;

/// A panel's width and height, and the room in it for words.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 48.0;
const RIGHT: f64 = 20.0;

/// Dashes tell the curves apart where colours do not. The last is the floor's.
const DASHES: [&str; 3] = ["none", "7 3", "2 3"];

/// The file is shown by itself, without the page's own style, so it has colours for either kind of page.
const STYLE: &str = "\
text { font: 12px system-ui, sans-serif; fill: #333; stroke: none }
.title { font-weight: 600 } .grid { stroke: #ddd } .curve { fill: none; stroke-width: 2 }
.s0 { stroke: #0b62c4; fill: #0b62c4 } .s1 { stroke: #c2410c; fill: #c2410c } .s2 { stroke: #6b7280; fill: #6b7280 }
@media (prefers-color-scheme: dark) {
text { fill: #ddd } .grid { stroke: #444 }
.s0 { stroke: #6cb2ff; fill: #6cb2ff } .s1 { stroke: #ff9b66; fill: #ff9b66 } .s2 { stroke: #a3a9b4; fill: #a3a9b4 }
}";

/// A picture with a panel for each growth.
#[derive(Debug)]
pub struct Plot<'a> {
    growth: &'a [Growth],
    contestants: &'a [String],
}

/// A name, and milliseconds by size.
struct Curve {
    name: String,
    points: Vec<(f64, f64)>,
    /// Which colour and dashes it has.
    style: usize,
}

impl<'a> Plot<'a> {
    /// Of these results.
    pub fn of(results: &'a Results) -> Self {
        Self {
            growth: &results.growth,
            contestants: &results.contestants,
        }
    }

    /// A curve for each contestant and one for the floor.
    fn curves(&self, growth: &Growth) -> Vec<Curve> {
        let size = |size: usize| f64::from(u32::try_from(size).unwrap_or(u32::MAX));
        let points = || growth.points.iter();
        let floor = points().filter_map(|point| Some((size(point.size), point.floor?.median)));
        let mut curves = vec![Curve {
            name: "bare requests".to_owned(),
            points: floor.collect(),
            style: DASHES.len() - 1,
        }];
        for (number, name) in self.contestants.iter().enumerate() {
            let costs = points().filter_map(|point| {
                let cost = point.contestants.get(number)?;
                Some((size(point.size), cost.time?.median))
            });
            curves.push(Curve {
                name: name.clone(),
                points: costs.collect(),
                style: number.min(DASHES.len() - 2),
            });
        }
        curves
    }

    fn panel(&self, f: &mut fmt::Formatter<'_>, growth: &Growth) -> fmt::Result {
        let curves = self.curves(growth);
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let all = || curves.iter().flat_map(|curve| &curve.points);
        let x = Scale::over(all().map(|point| point.0), LEFT, right);
        let y = Scale::over(all().map(|point| point.1), bottom, TOP);
        let title = growth.of.title();
        writeln!(f, r#"<text class="title" x="{LEFT}" y="20">{title}</text>"#)?;
        for (decade, at) in y.decades() {
            writeln!(
                f,
                r#"<path class="grid" d="M{LEFT} {at:.1}H{right}"/><text x="{}" y="{:.1}" text-anchor="end">{decade} ms</text>"#,
                LEFT - 6.0,
                at + 4.0
            )?;
        }
        for (decade, at) in x.decades() {
            writeln!(
                f,
                r#"<path class="grid" d="M{at:.1} {TOP}V{bottom}"/><text x="{at:.1}" y="{}" text-anchor="middle">{decade}</text>"#,
                bottom + 18.0
            )?;
        }
        writeln!(
            f,
            r#"<text x="{}" y="{}" text-anchor="middle">{}s</text>"#,
            f64::midpoint(LEFT, right),
            HEIGHT - 10.0,
            growth.of.unit()
        )?;
        let mut legend = TOP + 14.0;
        for curve in curves.iter().rev() {
            curve.draw(f, x, y, legend)?;
            legend += 18.0;
        }
        Ok(())
    }
}

impl Curve {
    /// The line, its points, and its name at a height of its own.
    fn draw(&self, f: &mut fmt::Formatter<'_>, x: Scale, y: Scale, legend: f64) -> fmt::Result {
        let Self { name, style, .. } = self;
        let dashes = DASHES[*style];
        let line =
            format!(r#"class="curve s{style}" style="fill: none" stroke-dasharray="{dashes}""#);
        write!(f, r#"<polyline {line} points=""#)?;
        for (size, time) in &self.points {
            write!(f, "{:.1},{:.1} ", x.at(*size), y.at(*time))?;
        }
        writeln!(f, r#""/>"#)?;
        for (size, time) in &self.points {
            let (x, y) = (x.at(*size), y.at(*time));
            writeln!(
                f,
                r#"<circle class="s{style}" cx="{x:.1}" cy="{y:.1}" r="3"/>"#
            )?;
        }
        writeln!(
            f,
            r#"<path {line} d="M{} {legend}h28"/><text x="{}" y="{}">{name}</text>"#,
            LEFT + 10.0,
            LEFT + 44.0,
            legend + 4.0
        )
    }
}

impl fmt::Display for Plot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let panels = u8::try_from(self.growth.len()).unwrap_or(u8::MAX);
        writeln!(
            f,
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {HEIGHT}" role="img" aria-label="Time by number of objects and of pods">
<style>
{STYLE}
</style>"#,
            WIDTH * f64::from(panels)
        )?;
        let mut offset = 0.0;
        for growth in self.growth {
            writeln!(f, r#"<g transform="translate({offset})">"#)?;
            self.panel(f, growth)?;
            writeln!(f, "</g>")?;
            offset += WIDTH;
        }
        writeln!(f, "</svg>")
    }
}

#[cfg(test)]
mod tests {
    use super::super::growth::{Cost, Of, Point};
    use super::super::spread::Spread;
    use super::*;

    #[test]
    fn each_panel_has_a_curve_for_everyone() {
        let points = [1, 1000].map(|size| Point {
            size,
            contestants: vec![
                Cost {
                    time: Spread::of([20.0]),
                    cpu: None,
                },
                Cost::default(),
            ],
            floor: Spread::of([10.0]),
        });
        let growth = Of::ALL.map(|of| Growth {
            of,
            points: points.to_vec(),
        });
        let results = Results {
            contestants: vec!["ours".to_owned(), "theirs".to_owned()],
            growth: growth.into(),
            ..Results::default()
        };
        let svg = Plot::of(&results).to_string();
        // One of them has failed, so its curves have no points.
        for (part, times) in [
            ("<g ", 2),
            ("<polyline ", 6),
            ("<circle ", 8),
            (">theirs<", 2),
        ] {
            assert_eq!(svg.matches(part).count(), times, "{part}");
        }
    }
}
