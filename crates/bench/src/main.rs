//! Measures a provider from outside: its binary, its socket and its process, on this machine, with an
//! Azure emulated in this process. Nothing here is particular to one provider.

mod driver;
mod failure;
mod machine;
mod provider;
mod report;
mod startup;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measure a provider from outside.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    /// What to measure.
    #[command(subcommand)]
    command: Command,
}

/// What can be measured.
#[derive(Debug, Subcommand)]
enum Command {
    /// Time until the first answer, idle memory, and the binary's size
    ///
    /// Exits with 1 when a goal is missed.
    Startup(startup::Arguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let measuring = async {
        match Arguments::parse().command {
            Command::Startup(arguments) => startup::run(&arguments).await,
        }
    };
    tokio::select! {
        biased;
        // What is dropped with the measurement ends its provider and removes its folder.
        _ = tokio::signal::ctrl_c() => ExitCode::from(130),
        result = measuring => match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                eprintln!("bench: {failure}");
                ExitCode::FAILURE
            }
        },
    }
}
