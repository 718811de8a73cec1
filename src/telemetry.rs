//! Logs: one line per event on standard error, as text or JSON.

use tracing::Level;
use tracing_subscriber::EnvFilter;

/// Starts logging. Libraries are heard from `warn` up, and at every level where `trace` is asked for:
/// none of them logs a secret, which the tests check.
pub fn start(level: Level, json: bool) {
    let filter = if level == Level::TRACE {
        EnvFilter::new("trace")
    } else {
        EnvFilter::new(format!("warn,provider_azure_rs={level}"))
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if json {
        lines.json().flatten_event(true).init();
    } else {
        lines.with_ansi(false).with_target(false).init();
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
