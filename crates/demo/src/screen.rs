//! [`Screen`], what a person reads: a terminal session in numbered steps, with a tick for every claim
//! that held.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Style};

use crate::failure::{Failure, Result};

/// Columns of the longest line that is broken by the demo itself.
const WIDTH: usize = 100;
/// Before everything below a step's heading.
const INDENT: &str = "   ";

const PLAIN: Style = Style::new();
const BOLD: Style = Style::new().bold();
const GREEN: Style = AnsiColor::Green.on_default();
const RED: Style = AnsiColor::Red.on_default();

/// Prints, and counts what was claimed.
pub struct Screen {
    colours: bool,
    /// What is shown as `$DEMO`.
    folder: String,
    steps: usize,
    checks: usize,
    after_check: bool,
    /// Everything that was printed so far.
    pub transcript: String,
}

impl Screen {
    /// Standard output, with colours where somebody sees and wants them (<https://no-color.org>).
    pub fn new(folder: &Path) -> Self {
        let unset = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            colours: unset && std::io::stdout().is_terminal(),
            folder: folder.display().to_string(),
            steps: 0,
            checks: 0,
            after_check: false,
            transcript: String::new(),
        }
    }

    /// A line as it is.
    pub fn line(&mut self, text: &str) {
        self.print(PLAIN, text);
    }

    /// A paragraph before or after steps.
    pub fn note(&mut self, text: &str) {
        self.paragraph(PLAIN, "", text);
    }

    /// The heading of the next step.
    pub fn step(&mut self, title: &str) {
        self.steps += 1;
        self.line("");
        self.print(BOLD, &format!("{}. {title}", self.steps));
    }

    /// What a step is about.
    pub fn explain(&mut self, text: &str) {
        self.gap();
        self.paragraph(PLAIN, INDENT, text);
    }

    /// A command line, broken as a shell lets it be broken, and never between a flag and its value.
    pub fn command(&mut self, command: &str) {
        let flags = command.replace(" --", "\n--");
        let parts = flags.split(if flags.contains('\n') { '\n' } else { ' ' });
        let lines = wrap(parts, WIDTH - INDENT.len() - 6);
        self.long_command(&lines.join(&format!(" \\\n{INDENT}    ")));
    }

    /// A command line that is not broken however long it is, to be copied.
    pub fn long_command(&mut self, command: &str) {
        self.gap();
        self.print(BOLD, &format!("{INDENT}$ {command}"));
    }

    /// What a command prints, line by line.
    pub fn output(&mut self, text: &str) {
        for line in self.short(text).lines() {
            self.line(&format!("{INDENT}{line}"));
        }
    }

    /// What a command complains about: one long line, broken to be read.
    pub fn complaint(&mut self, text: &str) {
        self.paragraph(RED, INDENT, &self.short(text));
    }

    /// What the provider has logged, for whoever looks into a failure.
    pub fn log(&mut self, log: &str) {
        if !log.is_empty() {
            self.line("");
            self.print(BOLD, "The provider's log:");
            self.output(log);
        }
    }

    /// Claims that two things are the same.
    pub fn equal(&mut self, claim: &str, expected: &str, found: &str) -> Result {
        self.check(claim, expected == found, expected, found)
    }

    /// Claims that two things differ.
    pub fn differ(&mut self, claim: &str, before: &str, after: &str) -> Result {
        self.check(
            claim,
            before != after,
            &format!("another than {before}"),
            after,
        )
    }

    /// Claims that something holds.
    pub fn check(&mut self, claim: &str, holds: bool, expected: &str, found: &str) -> Result {
        if holds {
            self.tick(claim);
            return Ok(());
        }
        self.print(RED, &format!("{INDENT}✗ {claim}"));
        Err(Failure::Unmet {
            claim: claim.to_owned(),
            expected: self.short(expected),
            found: self.short(found),
        })
    }

    /// Something that has held, or the demo would not have come here.
    pub fn tick(&mut self, claim: &str) {
        self.checks += 1;
        self.print(GREEN, &format!("{INDENT}✓ {claim}"));
        self.after_check = true;
    }

    /// The end of a demo that showed everything.
    pub fn summary(&mut self, took: Duration) {
        self.line("");
        let text = format!(
            "All {} checks held, in {:.1} s: the class was mounted, its secret rotated, and two failures \
             explained and fixed.",
            self.checks,
            took.as_secs_f64()
        );
        self.paragraph(BOLD, "", &text);
    }

    fn short(&self, text: &str) -> String {
        text.replace(&self.folder, "$DEMO")
    }

    fn gap(&mut self) {
        if self.after_check {
            self.line("");
        }
    }

    fn paragraph(&mut self, style: Style, indent: &str, text: &str) {
        for line in wrap(text.split_whitespace(), WIDTH - indent.len()) {
            self.print(style, &format!("{indent}{line}"));
        }
    }

    fn print(&mut self, style: Style, text: &str) {
        self.after_check = false;
        self.transcript += text;
        self.transcript.push('\n');
        let style = if self.colours { style } else { PLAIN };
        let mut out = std::io::stdout().lock();
        // Nobody may be reading any more (`make demo | head`). The demo still ends and cleans up.
        _ = writeln!(out, "{style}{text}{style:#}");
        _ = out.flush();
    }
}

/// Puts words on lines of at most `width` characters. A longer word gets a line of its own.
fn wrap<'a>(words: impl Iterator<Item = &'a str>, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_whole_and_lines_short() {
        let words = "one two three unbreakable".split(' ');
        assert_eq!(wrap(words, 8), ["one two", "three", "unbreakable"]);
        assert!(wrap("".split_whitespace(), 8).is_empty());
    }
}
