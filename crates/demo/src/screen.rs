//! [`Screen`], what a person reads: a terminal session in numbered steps, with a tick for every claim
//! that held.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

use crate::failure::Failure;
use crate::wrap::wrap;

/// Columns of the longest line that is broken by the demo itself.
const WIDTH: usize = 100;
/// Before everything below a step's heading.
const INDENT: &str = "   ";

/// Prints, and counts what was claimed.
#[derive(Debug)]
pub struct Screen {
    colours: bool,
    shortened: Option<(String, &'static str)>,
    steps: usize,
    checks: usize,
    after_check: bool,
    transcript: String,
}

/// How a line looks where there are colours.
#[derive(Clone, Copy)]
enum Style {
    Plain,
    Bold,
    Green,
    Red,
}

impl Style {
    /// The parameter of the escape sequence "Select Graphic Rendition" (ECMA-48).
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "0",
            Self::Bold => "1",
            Self::Green => "32",
            Self::Red => "31",
        }
    }
}

impl Screen {
    /// Standard output, with colours where somebody sees and wants them (<https://no-color.org>).
    pub fn new() -> Self {
        let unset = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            colours: unset && std::io::stdout().is_terminal(),
            shortened: None,
            steps: 0,
            checks: 0,
            after_check: false,
            transcript: String::new(),
        }
    }

    /// Shows this folder under a short name from now on.
    pub fn shorten(&mut self, folder: &Path, name: &'static str) {
        self.shortened = Some((folder.display().to_string(), name));
    }

    /// Everything that was printed so far.
    pub fn transcript(&self) -> &str {
        &self.transcript
    }

    /// A paragraph before, between or after steps.
    pub fn note(&mut self, text: &str) {
        for line in wrap(text.split_whitespace(), WIDTH) {
            self.line(Style::Plain, &line);
        }
    }

    /// A line as it is, without short names.
    pub fn verbatim(&mut self, line: &str) {
        self.write(Style::Plain, line);
    }

    /// The heading of the next step.
    pub fn step(&mut self, title: &str) {
        self.steps += 1;
        self.line(Style::Plain, "");
        self.line(Style::Bold, &format!("{}. {title}", self.steps));
    }

    /// What a step is about.
    pub fn explain(&mut self, text: &str) {
        if self.after_check {
            self.line(Style::Plain, "");
        }
        for line in wrap(text.split_whitespace(), WIDTH - INDENT.len()) {
            self.line(Style::Plain, &format!("{INDENT}{line}"));
        }
    }

    /// A command line, broken as a shell lets it be broken, and never between a flag and its value.
    pub fn command(&mut self, command: &str) {
        let command = self.short(command);
        let mut parts: Vec<String> = Vec::new();
        for word in command.split(' ') {
            match parts.last_mut() {
                Some(part) if part.starts_with("--") && !part.contains(' ') => {
                    part.push(' ');
                    part.push_str(word);
                }
                _ => parts.push(word.to_owned()),
            }
        }
        let lines = wrap(parts.iter().map(String::as_str), WIDTH - INDENT.len() - 6);
        self.long_command(&lines.join(&format!(" \\\n{INDENT}    ")));
    }

    /// A command line that is not broken however long it is, to be copied.
    pub fn long_command(&mut self, command: &str) {
        if self.after_check {
            self.line(Style::Plain, "");
        }
        self.line(Style::Bold, &format!("{INDENT}$ {command}"));
    }

    /// What a command prints, line by line.
    pub fn output(&mut self, text: &str) {
        for line in text.lines() {
            self.line(Style::Plain, &format!("{INDENT}{line}"));
        }
    }

    /// What a command complains about: one long line, broken to be read.
    pub fn complaint(&mut self, text: &str) {
        for line in wrap(self.short(text).split_whitespace(), WIDTH - INDENT.len()) {
            self.line(Style::Red, &format!("{INDENT}{line}"));
        }
    }

    /// What the provider has logged, for whoever looks into a failure.
    pub fn log(&mut self, log: &str) {
        if !log.is_empty() {
            self.line(Style::Plain, "");
            self.line(Style::Bold, "The provider's log:");
            self.output(log);
        }
    }

    /// Claims that two things are the same.
    pub fn check_equal<T: PartialEq + Display>(
        &mut self,
        claim: &str,
        expected: &T,
        found: &T,
    ) -> Result<(), Failure> {
        self.check(claim, expected == found, expected, found)
    }

    /// Claims that two things differ.
    pub fn check_differ<T: PartialEq + Display>(
        &mut self,
        claim: &str,
        before: &T,
        after: &T,
    ) -> Result<(), Failure> {
        let expected = format!("another than {before}");
        self.check(claim, before != after, &expected, after)
    }

    /// Claims that a text has all of these words in it.
    pub fn check_contains(
        &mut self,
        claim: &str,
        text: &str,
        words: &[&str],
    ) -> Result<(), Failure> {
        let missing = words.iter().find(|word| !text.contains(**word));
        let expected = missing
            .map(|word| format!("{word} in it"))
            .unwrap_or_default();
        self.check(claim, missing.is_none(), &expected, &text.trim())
    }

    /// Something that has held, or the demo would not have come here.
    pub fn tick(&mut self, claim: &str) {
        self.checks += 1;
        self.line(Style::Green, &format!("{INDENT}✓ {claim}"));
        self.after_check = true;
    }

    /// Claims that something holds.
    pub fn check(
        &mut self,
        claim: &str,
        holds: bool,
        expected: &dyn Display,
        found: &dyn Display,
    ) -> Result<(), Failure> {
        if holds {
            self.tick(claim);
            return Ok(());
        }
        self.line(Style::Red, &format!("{INDENT}✗ {claim}"));
        Err(Failure::Unmet {
            claim: claim.to_owned(),
            expected: self.short(&expected.to_string()),
            found: self.short(&found.to_string()),
        })
    }

    /// Why the demo ends with a status that is not 0.
    pub fn failure(&mut self, failure: &Failure) {
        self.line(Style::Plain, "");
        // Where output is piped away, a person still sees why nothing came of it.
        let text = self.short(&failure.to_string());
        _ = writeln!(std::io::stderr(), "demo: {text}");
    }

    /// The end of a demo that showed everything.
    pub fn summary(&mut self, took: Duration) {
        self.line(Style::Plain, "");
        let text = format!(
            "All {} checks held, in {:.1} s: the class was mounted, its secret rotated, and two failures \
             explained and fixed.",
            self.checks,
            took.as_secs_f64()
        );
        for line in wrap(text.split_whitespace(), WIDTH) {
            self.line(Style::Bold, &line);
        }
    }

    fn short(&self, text: &str) -> String {
        match &self.shortened {
            Some((folder, name)) => text.replace(folder, name),
            None => text.to_owned(),
        }
    }

    fn line(&mut self, style: Style, text: &str) {
        let text = self.short(text);
        self.write(style, &text);
    }

    fn write(&mut self, style: Style, text: &str) {
        self.after_check = false;
        self.transcript.push_str(text);
        self.transcript.push('\n');
        let mut out = std::io::stdout().lock();
        // Nobody may be reading any more (`make demo | head`). The demo still ends and cleans up.
        _ = if self.colours && !matches!(style, Style::Plain) {
            writeln!(out, "\x1b[{}m{text}\x1b[0m", style.code())
        } else {
            writeln!(out, "{text}")
        };
        _ = out.flush();
    }
}
