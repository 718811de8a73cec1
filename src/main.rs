//! The binary. See the library's documentation for how it is laid out.

use std::process::ExitCode;

use provider_azure_rs::commands;
use provider_azure_rs::settings::Settings;

#[tokio::main]
async fn main() -> ExitCode {
    commands::run(Settings::from_command_line(std::env::args_os())).await
}
