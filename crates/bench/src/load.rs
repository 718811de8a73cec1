//! `bench load`: what mounts cost, beside another provider and beside bare requests.

mod arena;
mod arguments;
mod contestant;
mod document;
mod figure;
mod floor;
mod growth;
mod metric;
mod plot;
mod protocol;
mod repeat;
mod requests;
mod results;
mod rows;
mod scale;
mod spread;
mod table;
mod tables;
mod work;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use azure_emulator::{CaFiles, Settings};

pub use self::arguments::Arguments;

use self::arena::{Arena, Task};
use self::document::Document;
use self::growth::{Growth, Of, Point, SIZES};
use self::protocol::Protocol;
use self::results::Results;
use self::rows::{USUAL_LATENCY, rows};
use crate::failure::{Failure, cannot};
use crate::network::Network;

/// How often each point of a curve is measured: there are many, and the large ones take long.
const POINT_REPEATS: usize = 3;

/// Measures and prints. An error where a goal is missed.
pub async fn run(arguments: &Arguments, network: Network) -> Result<(), Failure> {
    let folder = tempfile::tempdir().map_err(cannot("make a temporary folder"))?;
    let settings = settings(arguments, network, folder.path());
    let contestants = arguments.contestants()?;
    let mut bench = Bench {
        arguments,
        results: Results::default(),
        started: Instant::now(),
    };
    for protocol in arguments.protocols() {
        let arena = Arena::open(protocol, settings.clone(), network, &contestants).await?;
        if bench.results.contestants.is_empty() {
            bench.results.contestants = arena.names(arguments.peer_name.as_deref()).await?;
            bench.tell(&bench.results.contestants.join(" beside "));
            bench.tell(network.describe());
        }
        bench.measure_rows(protocol, &arena).await?;
        // How a cost grows does not depend on the protocol.
        if protocol == arguments.protocols()[0] && !arguments.quick {
            bench.measure_growth(&arena).await?;
        }
        arena.close().await;
    }
    bench.conclude(network)
}

/// How emulators are started, all with one CA, so that a provider that runs already trusts each of them.
fn settings(arguments: &Arguments, network: Network, folder: &Path) -> Settings {
    let ca = CaFiles {
        certificate: folder.join("ca.pem"),
        key: folder.join("ca.key"),
    };
    let mut settings = network.settings();
    if let Some(socket) = &arguments.socket {
        let on = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        (settings.proxy_listen, settings.imds_listen) = (on(8480), on(8481));
        eprintln!(
            "The emulator answers for Azure's hosts through a proxy. If the provider does not run yet, start it with \
             these, and --endpoint=unix://{}:\n\
             HTTPS_PROXY=http://{}\nAZURE_POD_IDENTITY_AUTHORITY_HOST=http://{}\nSSL_CERT_FILE={}",
            std::path::absolute(socket).unwrap_or_default().display(),
            settings.proxy_listen,
            settings.imds_listen,
            ca.certificate.display()
        );
    }
    settings.ca = Some(ca);
    settings
}

/// A run under way.
struct Bench<'a> {
    arguments: &'a Arguments,
    results: Results,
    started: Instant,
}

impl Bench<'_> {
    async fn measure_rows(&mut self, protocol: Protocol, arena: &Arena<'_>) -> Result<(), Failure> {
        let arguments = self.arguments;
        for row in rows()
            .iter()
            .filter(|row| arguments.want(row.what) && row.is_with(protocol))
        {
            let task = row.task(arguments.latency, arguments.repeats());
            if !arena.allows(&task) {
                self.tell(&format!(
                    "{row}: left out, the bench would have to start the provider"
                ));
                continue;
            }
            self.tell(&format!("{row}, {protocol}"));
            let measured = arena.measure(&task).await?;
            let judged = arguments.latency == USUAL_LATENCY && !arguments.no_goals;
            self.results.add(row, protocol, judged, measured);
        }
        Ok(())
    }

    async fn measure_growth(&mut self, arena: &Arena<'_>) -> Result<(), Failure> {
        let arguments = self.arguments;
        for of in Of::ALL {
            let mut points = Vec::new();
            for size in SIZES {
                let work = of.work(size);
                let task = Task {
                    work: &work,
                    latency: Duration::ZERO,
                    repeats: POINT_REPEATS,
                    flags: &[],
                    unshared: false,
                    later: false,
                };
                if !arguments.want(of.title()) || !arena.allows(&task) {
                    break;
                }
                let what = format!("growth: {size} {}s", of.unit());
                self.tell(&what);
                let measured = arena.measure(&task).await?;
                self.results.note_failures(&what, &measured);
                points.push(Point::new(size, &measured));
            }
            if !points.is_empty() {
                self.results.growth.push(Growth { of, points });
            }
        }
        Ok(())
    }

    /// Says on standard error what is under way, since it takes minutes.
    fn tell(&self, what: &str) {
        eprintln!("[{:4} s] {what}", self.started.elapsed().as_secs());
    }

    /// Prints and writes the results, and judges them.
    fn conclude(self, network: Network) -> Result<(), Failure> {
        let arguments = self.arguments;
        if self.results.lines.is_empty() && self.results.growth.is_empty() {
            return Err(Failure::Nothing(
                "row and no curve is called so; without --only there is a list of them on standard error",
            ));
        }
        let document = Document {
            results: &self.results,
            network: network.describe(),
            repeats: arguments.repeats(),
        };
        println!("{document}\n{}", document.usage());
        if let Some(path) = &arguments.report {
            document.write(path)?;
        }
        if let Some(path) = &arguments.json {
            let action = || format!("write {}", path.display());
            let json = serde_json::to_string_pretty(&self.results)
                .map_err(|error| cannot(action())(error.into()))?;
            fs::write(path, json).map_err(cannot(action()))?;
        }
        let missed = self.results.missed();
        if missed.is_empty() || arguments.no_goals {
            Ok(())
        } else {
            Err(Failure::Missed(missed))
        }
    }
}
