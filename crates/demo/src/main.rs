//! `make demo`: a class from production is mounted from an emulated Azure, its secret is rotated,
//! and two failures show what a user reads when they happen.
//!
//! The emulator runs inside this process, the provider is the built binary. Everything that is
//! written is in one private folder. However the demo ends, the provider has ended and the folder
//! is gone before it does.

mod azure;
mod failure;
mod node;
mod screen;
mod story;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::azure::Azure;
use crate::failure::{Failure, Result, cannot};
use crate::node::Node;
use crate::screen::Screen;

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
    run(Arguments::parse()).await.unwrap_or_else(|failure| {
        complain(&failure);
        ExitCode::FAILURE
    })
}

async fn run(arguments: Arguments) -> Result<ExitCode> {
    let started = Instant::now();
    let binary = node::binary(arguments.provider)?;
    // Before there is anything to clean up, so that no signal finds something that it leaves behind.
    let interruption = interruption().map_err(cannot("listen for signals"))?;
    let mut node = Node::new(binary, Azure::start().await?)?;
    let mut screen = Screen::new(node.folder());
    let told = tokio::select! {
        told = story::tell(&mut node, &mut screen) => told.map(|()| None),
        status = interruption => Ok(Some(status)),
    };
    match told {
        Ok(None) => {
            story::leave_nothing(node, &mut screen).await?;
            screen.summary(started.elapsed());
            Ok(ExitCode::SUCCESS)
        }
        Ok(Some(status)) => {
            screen.line("");
            screen.note("Interrupted: ending the provider and removing $DEMO ...");
            node.close().await?;
            Ok(ExitCode::from(status))
        }
        Err(failure) => {
            if matches!(failure, Failure::Provider(_)) {
                screen.log(&node.log());
            }
            if let Err(also) = node.close().await {
                complain(&also);
            }
            Err(failure)
        }
    }
}

/// Listens from now on for the signals that end the demo, none of which ends the process by itself any
/// more: a second Ctrl-C does not cut the cleaning short. The first one's exit status is as in a shell.
fn interruption() -> io::Result<impl Future<Output = u8>> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = hangup.recv() => 129,
            _ = interrupt.recv() => 130,
            _ = terminate.recv() => 143,
        }
    })
}

/// On standard error: where output is piped away, a person still sees why nothing came of it.
fn complain(failure: &Failure) {
    _ = writeln!(io::stdout());
    _ = writeln!(io::stderr(), "demo: {failure}");
}
