//! Logs: one line per event on standard error, as text or JSON. Spans go to [`crate::observe::traces`].

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
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
