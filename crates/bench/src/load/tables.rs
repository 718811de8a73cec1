//! The tables that are made of [`Results`].

use super::figure::{median, milliseconds, spread, times};
use super::growth::Growth;
use super::metric::Metric;
use super::repeat::Repeat;
use super::requests::Requests;
use super::results::{Results, Usage};
use super::spread::Spread;
use super::table::Table;

/// Every figure that has a goal or a floor, for each contestant.
pub fn of_figures(results: &Results) -> Table {
    let mut heading = vec!["work".to_owned(), "goal".to_owned()];
    for (number, name) in results.contestants.iter().enumerate() {
        heading.push(name.clone());
        heading.extend(match number {
            0 => vec![String::new(), "floor".to_owned(), "of floor".to_owned()],
            _ => vec!["ratio".to_owned()],
        });
    }
    let mut table = Table::new(heading);
    for line in &results.lines {
        let metric = line.metric;
        let what = if line.leads {
            format!("{}, {}", line.what, line.protocol)
        } else {
            format!("… {}", metric.name())
        };
        let goal = line.goal.map(|goal| goal.describe()).unwrap_or_default();
        let mut row = vec![what, goal];
        let ratio = |one: Option<Spread>, other: Option<Spread>| {
            let ratio = one.zip(other);
            ratio.map_or(String::new(), |(one, other)| {
                times(metric.ratio(one.median, other.median))
            })
        };
        let ours = line.contestants.first().copied().flatten();
        for (number, measured) in line.contestants.iter().enumerate() {
            if number > 0 && metric.is_of_first() {
                row.extend([String::new(), String::new()]);
                continue;
            }
            row.push(spread(*measured, metric));
            row.extend(match number {
                0 => vec![
                    line.met().map_or("", verdict).to_owned(),
                    median(line.floor, metric),
                    ratio(line.floor, ours),
                ],
                _ => vec![ratio(ours, *measured)],
            });
        }
        table.push(row);
    }
    table
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "missed" }
}

/// What each contestant asked for and used in each row.
pub fn of_usage(results: &Results) -> Table {
    let mut table = Table::new([
        "work",
        "provider",
        "CPU per mount",
        "peak memory",
        "vault",
        "challenges",
        "Entra ID",
        "IMDS",
        "connections",
        "at once: vault",
        "IMDS",
    ]);
    for usage in &results.usage {
        let of = |metric: Metric| {
            let figures = usage.repeats.iter().filter_map(|one| metric.of(one));
            median(Spread::of(figures), metric)
        };
        table.push(vec![
            format!("{}, {}", usage.what, usage.protocol),
            results.contestants[usage.contestant].clone(),
            of(Metric::Cpu),
            of(Metric::Peak),
            count(usage, |requests| requests.vault),
            count(usage, |requests| requests.challenges),
            count(usage, |requests| requests.entra),
            count(usage, |requests| requests.imds),
            count(usage, |requests| requests.connections),
            count(usage, |requests| requests.vault_at_once),
            count(usage, |requests| requests.imds_at_once),
        ]);
    }
    table
}

/// The median of a number of requests.
fn count(usage: &Usage, of: fn(&Requests) -> u64) -> String {
    let of = |one: &Repeat| of(&one.requests);
    let mut counts: Vec<u64> = usage.repeats.iter().map(of).collect();
    counts.sort_unstable();
    let middle = counts.get(counts.len() / 2);
    middle.map_or(String::new(), u64::to_string)
}

pub fn of_growth(growth: &Growth, contestants: &[String]) -> Table {
    let unit = growth.of.unit();
    let mut heading = vec![format!("{unit}s")];
    for name in contestants {
        heading.extend([
            name.clone(),
            format!("per {unit}"),
            format!("CPU per {unit}"),
        ]);
    }
    heading.push("floor".to_owned());
    let mut table = Table::new(heading);
    for point in &growth.points {
        let size = f64::from(u32::try_from(point.size).unwrap_or(u32::MAX));
        let each = |cost: Option<Spread>| {
            cost.map_or(String::new(), |cost| milliseconds(cost.median / size))
        };
        let mut row = vec![point.size.to_string()];
        for cost in &point.contestants {
            row.extend([
                spread(cost.time, Metric::Time),
                each(cost.time),
                each(cost.cpu),
            ]);
        }
        row.push(median(point.floor, Metric::Time));
        table.push(row);
    }
    table
}
