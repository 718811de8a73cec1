//! [`Document`], what a run of the bench has to say: on the terminal, or as a page with a picture beside it.

use std::fmt;
use std::fs;
use std::path::Path;

use time::OffsetDateTime;

use super::growth::{Growth, TOLERANCE};
use super::plot::Plot;
use super::results::Results;
use super::tables;
use crate::failure::{Failure, cannot};
use crate::machine;

/// What a page begins with.
const INTRODUCTION: &str = include_str!("introduction.md");

/// The tables, and what they are from. Displayed in Markdown, without [`usage`](Self::usage).
#[derive(Debug)]
pub struct Document<'a> {
    /// What was measured.
    pub results: &'a Results,
    /// How the providers reached the emulator.
    pub network: &'static str,
    /// How often each row was measured.
    pub repeats: usize,
}

impl Document<'_> {
    /// Writes the page, and the picture beside it under the same name.
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        let write = |path: &Path, text: String| {
            fs::write(path, text).map_err(cannot(format!("write {}", path.display())))
        };
        let today = OffsetDateTime::now_utc().date();
        let page = format!("{INTRODUCTION}\n## Figures of {today}\n\n{self}");
        if self.results.growth.is_empty() {
            return write(path, page);
        }
        let picture = path.with_extension("svg");
        write(&picture, Plot::of(self.results).to_string())?;
        let name = picture.file_name().unwrap_or_default().display();
        let page = format!("{page}\n![Time by number of objects and of pods]({name})\n");
        write(path, page)
    }

    /// Requests and resources of every row: for the terminal, and too much for the page.
    pub fn usage(&self) -> String {
        let table = tables::of_usage(self.results);
        format!("Requests and resources, medians of all repeats:\n\n{table}")
    }

    fn growth(&self, f: &mut fmt::Formatter<'_>, growth: &Growth) -> fmt::Result {
        let contestants = &self.results.contestants;
        let title = growth.of.title();
        let table = tables::of_growth(growth, contestants);
        writeln!(f, "\nGrowth, without latency: {title}.\n\n{table}")?;
        for (number, name) in contestants.iter().enumerate() {
            let Some(factor) = growth.factor(number) else {
                continue;
            };
            let verdict = if growth.is_linear(number) {
                "nothing worse than linear"
            } else {
                "worse than linear"
            };
            let unit = growth.of.unit();
            writeln!(
                f,
                "- {name}: {verdict}. Each {unit} of the most costs {factor:.2} times as much as each of 100 \
                 (up to {TOLERANCE} counts as linear)."
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Document<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let results = self.results;
        write!(f, "{}", tables::of_figures(results))?;
        for growth in &results.growth {
            self.growth(f, growth)?;
        }
        for failed in &results.failed {
            let name = &results.contestants[failed.contestant];
            writeln!(f, "\n{name} has failed: {}", failed.why)?;
        }
        writeln!(
            f,
            "\nMeasured on {}, with {} repeats of each row; {}.",
            machine::describe(),
            self.repeats,
            self.network
        )
    }
}
