//! `bench startup`: what a provider costs before it is asked for anything.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use azure_emulator::Settings;

use crate::azure::Azure;
use crate::failure::{Failure, cannot};
use crate::machine;
use crate::network::Network;
use crate::pod::{Identity, Objects, Pod, Secrets};
use crate::provider::{Provider, Started};
use crate::report::{Report, milliseconds};

const START_GOAL: Duration = Duration::from_millis(10);
const MEMORY_GOAL: u64 = 10_000_000;
const SIZE_GOAL: u64 = 8_000_000;

/// How long a provider is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(1);

/// What to measure, and how often.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The provider's binary, as it is shipped: a release build without symbols
    #[arg(value_name = "PROVIDER-BINARY")]
    binary: PathBuf,
    /// How many starts are measured, after one that is not
    #[arg(long, default_value_t = 21, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

/// Measures and prints. An error where a goal is missed.
pub async fn run(arguments: &Arguments) -> Result<(), Failure> {
    // A bare name would be looked up in PATH when it is run.
    let binary = &std::path::absolute(&arguments.binary).map_err(cannot("find the folder"))?;
    let image = fs::read(binary).map_err(cannot(format!("read {}", binary.display())))?;
    let azure = Azure::start(Settings::default()).await?;
    let azure = azure.emulator();
    let objects = Objects {
        count: 1,
        secrets: Secrets::Usual,
    };
    let pod = Pod::new(azure, 0, Identity::Managed, objects);
    let start = async || Provider::start(binary, &[], azure, Network::Proxy).await;

    // The first start reads the binary from the disk, the others find it in memory. It is also the one
    // whose memory is read.
    let Started {
        version,
        mut driver,
        provider,
        ..
    } = start().await?;
    tokio::time::sleep(IDLE).await;
    let fresh = provider.process().resident_memory()?;
    driver.mount(&pod).await?;
    tokio::time::sleep(IDLE).await;
    let used = provider.process().resident_memory()?;
    drop(provider);

    let mut times = Vec::new();
    for _ in 0..arguments.runs {
        times.push(start().await?.took);
    }
    times.sort();
    let (least, median, most) = (times[0], times[times.len() / 2], times[times.len() - 1]);

    let mut report = Report::default();
    let more = format!(
        " (median of {}; {} to {})",
        times.len(),
        milliseconds(least),
        milliseconds(most)
    );
    report.time("start to first answer", START_GOAL, median, &more);
    report.size("idle memory, fresh (VmRSS)", MEMORY_GOAL, fresh);
    report.size("idle memory, after a mount (VmRSS)", MEMORY_GOAL, used);
    let what = if has_symbols(&image) {
        "binary (not stripped)"
    } else {
        "binary (stripped)"
    };
    report.size(what, SIZE_GOAL, image.len() as u64);
    print!("{report}");
    println!(
        "\n{version} on {}; `bench startup {} --runs {}`",
        machine::describe(),
        arguments.binary.display(),
        arguments.runs
    );
    report.verdict()
}

/// Whether an ELF file has the section of symbols that strip(1) removes.
fn has_symbols(image: &[u8]) -> bool {
    let name = b"\0.symtab\0";
    image.windows(name.len()).any(|window| window == name)
}
