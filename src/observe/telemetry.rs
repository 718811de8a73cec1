//! Logs: one line per event on standard error, as text or JSON. Spans go to [`crate::observe::traces`].

use std::fmt::{self, Write as _};

use tracing::Level;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::observe::traces::{self, Exporter};

/// The target of the line that a failed mount writes. Whoever shows the failure by itself turns it off.
pub const FAILED_MOUNTS: &str = "provider_azure_rs::failed_mounts";

/// What is logged at a level. Libraries are heard from `warn` up, and at every level where `trace` is
/// asked for: none of them logs a secret, which the tests check.
pub fn targets(level: Level) -> Targets {
    if level == Level::TRACE {
        Targets::new().with_default(level)
    } else {
        Targets::new()
            .with_default(level.min(Level::WARN))
            .with_target("provider_azure_rs", level)
    }
}

/// Starts logging what these targets let through, and exporting spans.
pub fn start(targets: Targets, json: bool, spans: &Exporter) {
    let targets = targets.with_target(traces::TARGET, LevelFilter::OFF);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry();
    #[cfg(feature = "otlp")]
    let registry = registry.with(spans.layer());
    #[cfg(not(feature = "otlp"))]
    let Exporter = spans;
    if json {
        registry
            .with(lines.json().flatten_event(true).with_filter(targets))
            .init();
    } else {
        registry
            .with(
                lines
                    .fmt_fields(Fields)
                    .with_ansi(false)
                    .with_target(false)
                    .with_filter(targets),
            )
            .init();
    }
    report_panics();
}

/// A panic is logged by its place. Its message stays out: it may be made of the bytes it stumbled over.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::error!(place, "a bug made the program panic");
    }));
}

/// The text of an event: its message, and behind a bar its fields. A message may end in a command, which none of them
/// is part of.
struct Fields;

impl<'writer> FormatFields<'writer> for Fields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut line = Line {
            writer,
            before: "",
            result: Ok(()),
        };
        fields.record(&mut line);
        line.result
    }
}

/// One event as it is written.
struct Line<'writer> {
    writer: Writer<'writer>,
    /// What stands between what is written and the next field.
    before: &'static str,
    result: fmt::Result,
}

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.result.is_err() {
            return;
        }
        let before = self.before;
        let (after, written) = if field.name() == "message" {
            let mut escaped = Escaped(&mut self.writer);
            (" | ", write!(escaped, "{before}{value:?}"))
        } else {
            let name = field.name();
            (" ", write!(self.writer, "{before}{name}={value:?}"))
        };
        self.before = after;
        self.result = written;
    }
}

/// A text without what a terminal would act on.
struct Escaped<'a, 'writer>(&'a mut Writer<'writer>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if character.is_control() {
                write!(self.0, "{}", character.escape_debug())?;
            } else {
                self.0.write_char(character)?;
            }
        }
        Ok(())
    }
}
