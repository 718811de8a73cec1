//! Logs: one line per event on standard error, as text or JSON.

use tracing::Level;
use tracing_subscriber::EnvFilter;

/// The target of the line that a failed mount writes. Whoever shows the failure by itself turns it off.
pub const FAILED_MOUNTS: &str = "provider_azure_rs::failed_mounts";

/// What is logged at a level. Libraries are heard from `warn` up, and at every level where `trace` is
/// asked for: none of them logs a secret, which the tests check.
pub fn directives(level: Level) -> String {
    if level == Level::TRACE {
        "trace".to_owned()
    } else {
        format!("warn,provider_azure_rs={level}")
    }
}

/// Starts logging what the directives of [`EnvFilter`] let through.
pub fn start(directives: &str, json: bool) {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(directives))
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
