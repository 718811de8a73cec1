//! The binary. See the library's documentation for how it is laid out.

use std::alloc::System;
use std::process::ExitCode;
use std::thread::available_parallelism;

use provider_azure_rs::commands;
use provider_azure_rs::settings::{Command, Settings};
use tokio::runtime::Builder;
use zeroizing_alloc::ZeroAlloc;

/// Overwrites what is freed. Secrets and tokens pass through libraries that leave copies of them behind.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

/// The most threads. Few of them do all the work of a node, and each has memory of its own: a node may have
/// a hundred cores.
const MAX_THREADS: usize = 4;

fn main() -> ExitCode {
    let settings = Settings::from_command_line(std::env::args_os());
    let mut runtime = match settings.command {
        // The kubelet runs it every few seconds, in the memory of the container.
        Some(Command::Ping(_)) => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let threads = available_parallelism().map_or(1, usize::from);
    let runtime = runtime
        .worker_threads(threads.min(MAX_THREADS))
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(commands::run(settings)),
        Err(error) => {
            eprintln!("error: no threads can be started: {error}");
            ExitCode::FAILURE
        }
    }
}
