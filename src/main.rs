//! The binary. See the library's documentation for how it is laid out.

use std::alloc::System;
use std::process::ExitCode;
use std::thread::available_parallelism;

use provider_azure_rs::commands;
use provider_azure_rs::settings::Settings;
use zeroizing_alloc::ZeroAlloc;

/// Overwrites what is freed. Secrets and tokens pass through libraries that leave copies of them behind.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

/// The most threads. Few of them do all the work of a node, and each has memory of its own: a node may have
/// a hundred cores.
const MAX_THREADS: usize = 4;

fn main() -> ExitCode {
    let threads = available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.min(MAX_THREADS))
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(commands::run(Settings::from_command_line(
            std::env::args_os(),
        ))),
        Err(error) => {
            eprintln!("error: no threads can be started: {error}");
            ExitCode::FAILURE
        }
    }
}
