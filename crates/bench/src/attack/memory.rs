//! Attacks on memory while mounts are under way: large values, large classes, long texts that mean nothing, long histories.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use azure_emulator::{Effect, Emulator, NewSecret, Target};
use futures::future::{BoxFuture, FutureExt as _, join_all};

use super::attempt::{Attack, Course};
use super::class::{ATTACKER, ATTACKERS, Class, SECRET, client_id};
use super::scene::Scene;
use super::victim::Victim;
use crate::report::megabytes;

/// All of them.
pub fn attacks() -> Vec<Box<dyn Attack>> {
    let rows = [
        Kind::Values,
        Kind::Pods,
        Kind::Entries,
        Kind::HangingEntries,
        Kind::Unknown,
        Kind::Histories,
        Kind::ContentTypes,
    ];
    rows.map(|kind| Box::new(Memory::new(kind)) as Box<dyn Attack>)
        .into()
}

/// What takes memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Values,
    Pods,
    Entries,
    HangingEntries,
    Unknown,
    Histories,
    ContentTypes,
}

/// Mounts that take much memory, all at once.
struct Memory {
    kind: Kind,
    failed: AtomicUsize,
}

impl Memory {
    /// The most memory at any time. The container may have 134 MB, and 70 are usual at most; when others have the processors,
    /// what is freed goes back later, and 100 were seen.
    const PEAK: u64 = 112_000_000;
    /// As large as Key Vault takes one.
    const VALUE: usize = 25_000;
    const VALUES: usize = 100;
    const ENTRIES: usize = 5_000;
    /// As long as etcd takes a class.
    const UNKNOWN: usize = 1_400_000;
    const HISTORIES: usize = 336;
    const CONTENT_TYPES: usize = 300;
    /// Longer than any vault of Azure has one.
    const CONTENT_TYPE: usize = 900_000;
    const VERSIONS: usize = 4_999;
    /// How long the vault thinks before it answers for the first time.
    const THOUGHT: Duration = Duration::from_secs(3);

    fn new(kind: Kind) -> Self {
        Self {
            kind,
            failed: AtomicUsize::new(0),
        }
    }

    fn value(number: usize) -> String {
        format!("value-{number}")
    }

    /// How many mounts, of which class.
    fn mounts(&self, class: Class) -> (usize, Class) {
        let values = |count| (0..count).map(Self::value);
        match self.kind {
            Kind::Values => (110, class.secrets(values(Self::VALUES))),
            Kind::Pods => (300, class.secrets(values(10))),
            Kind::Entries => (20, class.copies(SECRET, Self::ENTRIES, 1)),
            Kind::HangingEntries => (100, class.copies(SECRET, Self::ENTRIES, 1)),
            Kind::Unknown => (100, class.with("unknown", "x".repeat(Self::UNKNOWN))),
            Kind::Histories => (1, class.copies("old", Self::HISTORIES, Self::VERSIONS)),
            Kind::ContentTypes => (1, class.secrets(values(Self::CONTENT_TYPES))),
        }
    }

    /// Whether each mount gets its files.
    fn is_served(&self) -> bool {
        !matches!(self.kind, Kind::HangingEntries | Kind::Histories)
    }
}

impl Attack for Memory {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Values => "110 mounts of 100 large values",
            Kind::Pods => "300 mounts of 10 large values",
            Kind::Entries => "20 classes of 5,000 entries",
            Kind::HangingEntries => "100 classes of 5,000 entries, hanging vault",
            Kind::Unknown => "100 mounts with 1.4 MB of unknown parameters",
            Kind::Histories => "336 endless histories",
            Kind::ContentTypes => "300 long content types",
        }
    }

    fn what(&self) -> &'static str {
        match self.kind {
            Kind::Values => "110 mounts at once of 100 values of 25 KB each",
            Kind::Pods => "300 mounts at once of 10 values of 25 KB each",
            Kind::Entries => "20 mounts at once of a class of 5,000 entries",
            Kind::HangingEntries => {
                "100 mounts at once of a class of 5,000 entries while the vault hangs"
            }
            Kind::Unknown => {
                "100 mounts at once with an unknown parameter of 1.4 MB while the vault takes 3 s to answer"
            }
            Kind::Histories => "A mount of 336 entries with histories of 4,999 versions each",
            Kind::ContentTypes => {
                "A mount of 300 secrets whose content types have 900 KB each, which only a server that is no vault can give"
            }
        }
    }

    fn victim(&self) -> Victim {
        match self.kind {
            // Each answer has 900 KB, which come in by TLS and are read as JSON.
            Kind::Values | Kind::ContentTypes => Victim::Beside,
            _ => Victim::Apart,
        }
    }

    fn course(&self) -> Course {
        Course::Finite
    }

    fn flags(&self, _folder: &std::path::Path) -> Result<Vec<String>, crate::failure::Failure> {
        let hangs = self.kind == Kind::HangingEntries;
        let flags = hangs.then(|| "--mount-timeout=8s".to_owned());
        Ok(flags.into_iter().collect())
    }

    fn prepare(&self, azure: &Emulator) {
        let vault = azure.vault(ATTACKERS);
        match self.kind {
            Kind::Values | Kind::Pods => {
                for number in 0..Self::VALUES {
                    vault.set_secret(&Self::value(number), "v".repeat(Self::VALUE));
                }
            }
            Kind::Histories => {
                for number in 0..Self::VERSIONS {
                    vault.set_secret("old", number.to_string());
                }
            }
            Kind::ContentTypes => {
                for number in 0..Self::CONTENT_TYPES {
                    let secret = NewSecret::new("v").content_type("x".repeat(Self::CONTENT_TYPE));
                    vault.set_secret_with(&Self::value(number), secret);
                }
            }
            Kind::Entries | Kind::HangingEntries | Kind::Unknown => {}
        }
    }

    fn attack<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, ()> {
        let faults = scene.azure.faults();
        match self.kind {
            Kind::Unknown => {
                let thinking = Effect::delay(Self::THOUGHT);
                faults.next(2, Target::vault(ATTACKERS), thinking);
            }
            Kind::HangingEntries => _ = faults.always(Target::vault(ATTACKERS), Effect::Hang),
            _ => {}
        }
        let class = Class::new(ATTACKER).workload(&scene.azure, &client_id(1));
        let (mounts, class) = self.mounts(class);
        let pod = class.pod();
        async move {
            let mounting = (0..mounts).map(|_| {
                let (mut driver, pod) = (scene.driver.clone(), &pod);
                async move { driver.mount(pod).await.is_ok() }
            });
            let served = join_all(mounting).await;
            let failed = served.iter().filter(|is_served| !**is_served).count();
            self.failed.store(failed, Ordering::Relaxed);
        }
        .boxed()
    }

    fn promise<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<(), String>> {
        let failed = self.failed.load(Ordering::Relaxed);
        let peak = scene.provider.process().peak_memory().unwrap_or(u64::MAX);
        let held = if self.is_served() && failed > 0 {
            Err(format!("{failed} mounts failed"))
        } else if peak > Self::PEAK {
            Err(format!("{} of memory", megabytes(peak)))
        } else {
            Ok(())
        };
        std::future::ready(held).boxed()
    }
}
