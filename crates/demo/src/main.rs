//! `make demo`: a class from production is mounted from an emulated Azure, its secret is rotated,
//! and two failures show what a user reads when they happen.
//!
//! The emulator runs inside this process, the provider is the built binary. Everything that is
//! written is in one private folder. However the demo ends, the provider has ended and the folder
//! is gone before it does.

mod azure;
mod binary;
mod digest;
mod failure;
mod listing;
mod node;
mod screen;
mod set_policy;
mod signals;
mod story;
mod volume;
mod wrap;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use crate::failure::{Failure, cannot};
use crate::node::Node;
use crate::screen::Screen;
use crate::signals::Signals;

/// Mount the example's class from an emulated Azure, rotate its secret, and see two failures.
///
/// Exits with 0 only if everything that it shows really happened.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    /// The provider's binary; by default the one beside this program, as `make demo` builds it
    #[arg(long, value_name = "PATH")]
    provider: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let provider = Arguments::parse().provider;
    let mut screen = Screen::new();
    match run(provider, &mut screen).await {
        Ok(code) => code,
        Err(failure) => {
            screen.failure(&failure);
            ExitCode::FAILURE
        }
    }
}

async fn run(provider: Option<PathBuf>, screen: &mut Screen) -> Result<ExitCode, Failure> {
    let started = Instant::now();
    let binary = binary::find(provider)?;
    // Before there is anything to clean up, so that no signal finds something that it leaves behind.
    let mut signals = Signals::listen().map_err(cannot("listen for signals"))?;
    let mut node = Node::new(binary)?;
    screen.shorten(node.folder(), "$DEMO");

    let told = tokio::select! {
        told = story::tell(&mut node, screen) => told,
        signal = signals.next() => Err(Failure::Interrupted(signal)),
    };
    match told {
        Ok(()) => {
            story::leave_nothing(node, screen).await?;
            screen.summary(started.elapsed());
            Ok(ExitCode::SUCCESS)
        }
        Err(Failure::Interrupted(signal)) => {
            screen.verbatim("");
            screen.note("Interrupted: ending the provider and removing $DEMO ...");
            node.close().await?;
            Ok(ExitCode::from(signal.exit_status()))
        }
        Err(failure) => {
            if matches!(failure, Failure::Provider { .. }) {
                screen.log(&node.log());
            }
            if let Err(also) = node.close().await {
                screen.failure(&also);
            }
            Err(failure)
        }
    }
}
