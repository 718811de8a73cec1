//! The commands, each a function from its settings to the end of the process.

mod doctor;
mod driver_call;
mod explain;
mod manifest;
mod mount;
mod ping;
pub(crate) mod serve;
mod validate;

use std::error::Error;
use std::process::ExitCode;

use tracing::level_filters::LevelFilter;

use crate::observe::telemetry::{self, FAILED_MOUNTS, targets};
use crate::observe::traces::Exporter;
use crate::os::core_dumps;
use crate::os::open_files;
use crate::settings::{Command, ServeSettings, Settings};
use crate::text::excerpt::causes;

/// The names under which this provider serves classes.
const PROVIDERS: [&str; 2] = ["azure-rs", "azure"];

/// What cannot be had is no reason not to serve.
fn set_limits() {
    if let Err(error) = core_dumps::forbid() {
        tracing::warn!(%error, "core dumps cannot be forbidden");
    }
    if let Err(error) = open_files::raise_limit() {
        tracing::warn!(%error, "the limit on open files cannot be raised");
    }
}

/// Serves, with the logs and spans that the settings want.
async fn serve_with(serve: ServeSettings, ignored: &[String]) -> Result<(), Box<dyn Error>> {
    // Sends what is left at the end.
    #[cfg(feature = "otlp")]
    let spans = match serve.traces.endpoint() {
        Some(collector) => Exporter::new(collector, serve.traces.otel_service_name.clone())?,
        None => Exporter::none(),
    };
    #[cfg(not(feature = "otlp"))]
    let spans = Exporter;
    telemetry::start(
        targets(serve.logs.log_level),
        serve.logs.log_format_json,
        &spans,
    );
    if !ignored.is_empty() {
        let flags = ignored.join(" ");
        tracing::warn!(flags, "these flags of the Go provider mean nothing here");
    }
    set_limits();
    serve::run(serve).await?;
    Ok(())
}

/// Runs the command that the settings name. A failure is said on standard error, in one line.
pub async fn run(settings: Settings) -> ExitCode {
    let result: Result<(), Box<dyn Error>> =
        match settings.command.unwrap_or(Command::Serve(settings.serve)) {
            Command::Serve(serve) => serve_with(serve, &settings.ignored).await,
            Command::Mount(mount) => {
                // The failure itself is said below, once.
                let targets = targets(mount.log_level).with_target(FAILED_MOUNTS, LevelFilter::OFF);
                telemetry::start(targets, false, &Exporter::none());
                set_limits();
                mount::run(mount).await.map_err(Into::into)
            }
            Command::Doctor(doctor) => {
                // What goes wrong is in the report.
                let targets =
                    targets(doctor.log_level).with_target(FAILED_MOUNTS, LevelFilter::OFF);
                telemetry::start(targets, false, &Exporter::none());
                set_limits();
                return doctor::run(&doctor).await;
            }
            Command::Validate(validate) => return validate::run(&validate),
            Command::Explain(explain) => explain::run(&explain).map_err(Into::into),
            Command::Ping(ping) => ping::run(&ping).await.map_err(Into::into),
        };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", causes(&*error));
            ExitCode::FAILURE
        }
    }
}
