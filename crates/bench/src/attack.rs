//! `bench attack`: what one namespace can cost another. Each attack is made on a provider of its own, while a pod of
//! another namespace mounts, probes ask whether the provider lives, and its memory is watched.

mod attempt;
mod class;
mod crowds;
mod lengths;
mod liveness;
mod memory;
mod places;
mod refusals;
mod scene;
mod table;
mod trial;
mod victim;
mod work;

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use self::attempt::Attack;
use self::table::Table;
use crate::failure::{Failure, cannot};
use crate::machine;
use crate::network::Network;

const AFTER_HELP: &str = "\
As root, or where users may make namespaces, everything runs in a network namespace in which the emulator has the
public cloud's own host names. Elsewhere the provider reaches it through a proxy, and attacks on the resolver are left
out.";

/// Which attacks, and on what.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The provider's binary, as it is shipped: a release build
    #[arg(value_name = "PROVIDER-BINARY", required_unless_present = "list")]
    binary: Option<PathBuf>,
    /// Only attacks whose name contains this; may be given several times
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// List the attacks, and make none
    #[arg(long)]
    list: bool,
    /// Write the table to a file too
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

impl Arguments {
    /// Enters a network of the bench's own, unless the attacks are only listed.
    pub fn enter_network(&self) -> Result<Network, Failure> {
        if self.list {
            Ok(Network::Proxy)
        } else {
            Network::enter(class::vaults())
        }
    }

    fn wants(&self, attack: &dyn Attack) -> bool {
        self.only.is_empty() || self.only.iter().any(|text| attack.name().contains(text))
    }
}

/// Every attack, in the order in which they are made.
fn attacks() -> Vec<Box<dyn Attack>> {
    [
        work::attacks(),
        lengths::attacks(),
        memory::attacks(),
        refusals::attacks(),
        crowds::attacks(),
        places::attacks(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Attacks and prints. An error where an attack succeeds.
pub async fn run(arguments: &Arguments, network: Network) -> Result<(), Failure> {
    let attacks: Vec<_> = attacks()
        .into_iter()
        .filter(|attack| arguments.wants(&**attack))
        .collect();
    if attacks.is_empty() {
        return Err(Failure::Nothing("attack is called so; --list names them"));
    }
    let Some(binary) = arguments.binary.as_ref().filter(|_| !arguments.list) else {
        for attack in attacks {
            println!("{}\n    {}", attack.name(), attack.what());
        }
        return Ok(());
    };
    // A bare name would be looked up in PATH when it is run.
    let binary = std::path::absolute(binary).map_err(cannot("find the folder"))?;
    let started = Instant::now();
    let tell = |what: &str| eprintln!("[{:4} s] {what}", started.elapsed().as_secs());
    tell(network.describe());

    let mut table = Table::default();
    for attack in attacks {
        if attack.needs_own_network() && network != Network::Own {
            tell(&format!(
                "{}: left out, it needs a network namespace",
                attack.name()
            ));
            continue;
        }
        tell(attack.name());
        let outcome = trial::judge(&*attack, &binary, network, &tell).await?;
        for failing in outcome.failures() {
            tell(&format!("    {failing}"));
        }
        table.add(attack.name(), outcome);
    }
    let page = format!("{table}\n{}\n", machine::describe());
    println!("{page}");
    if let Some(path) = &arguments.report {
        fs::write(path, page).map_err(cannot(format!("write {}", path.display())))?;
    }
    match table.succeeded() {
        succeeded if succeeded.is_empty() => Ok(()),
        succeeded => Err(Failure::Attacked(succeeded)),
    }
}
