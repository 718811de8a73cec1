//! Measures a provider from outside: its binary, its socket and its process, on this machine, with an
//! Azure emulated in this process. Nothing here is particular to one provider.

mod attack;
mod azure;
mod driver;
mod failure;
mod load;
mod machine;
mod network;
mod pod;
mod process;
mod provider;
mod report;
mod startup;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::{Failure, cannot};
use crate::network::Network;

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
    /// Time, CPU, memory and requests of mounts, beside another provider and beside bare requests
    ///
    /// Exits with 1 when a goal is missed.
    Load(Box<load::Arguments>),
    /// What one namespace can cost another: attacks, and a victim that mounts meanwhile
    ///
    /// Exits with 1 when an attack succeeds.
    Attack(attack::Arguments),
}

fn main() -> ExitCode {
    end(start(Arguments::parse().command))
}

/// Runs a command, after what has to be done before there are threads.
fn start(command: Command) -> Result<ExitCode, Failure> {
    let network = match &command {
        Command::Load(arguments) => arguments.enter_network()?,
        Command::Attack(arguments) => arguments.enter_network()?,
        Command::Startup(_) => Network::Proxy,
    };
    let runtime = Runtime::new().map_err(cannot("start threads"))?;
    runtime.block_on(async {
        let mut terminate =
            signal(SignalKind::terminate()).map_err(cannot("listen for signals"))?;
        let measuring = async {
            match command {
                Command::Startup(arguments) => startup::run(&arguments).await,
                Command::Load(arguments) => load::run(&arguments, network).await,
                Command::Attack(arguments) => attack::run(&arguments, network).await,
            }
        };
        // What is dropped with the measurement ends its provider and removes its folder.
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => Ok(ExitCode::from(130)),
            _ = terminate.recv() => Ok(ExitCode::from(143)),
            result = measuring => result.map(|()| ExitCode::SUCCESS),
        }
    })
}

fn end(result: Result<ExitCode, Failure>) -> ExitCode {
    result.unwrap_or_else(|failure| {
        eprintln!("bench: {failure}");
        ExitCode::FAILURE
    })
}
