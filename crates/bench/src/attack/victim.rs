//! [`Victim`], the pods of another namespace that mount one secret while an attack goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use azure_emulator::{Emulator, ManagedIdentity, Permissions};
use tokio::time::{sleep, timeout};

use super::class::{
    ATTACKERS, Class, FRESH, SECRET, VICTIM, VICTIMS, VICTIMS_CLASS, client_id, fresh_vault,
};
use crate::driver::Driver;
use crate::pod::{NODE, Pod};

/// Longer than this is as good as never: the attack has succeeded, and the next one waits.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How many mounts a victim makes alone, and at least during an attack.
pub const ALONE: usize = 7;
const MEANWHILE: usize = 15;
/// The least time of an attack before it counts as one, and the most.
const SHORTEST: Duration = Duration::from_secs(3);
const LONGEST: Duration = Duration::from_secs(25);
/// Between two mounts.
const PAUSE: Duration = Duration::from_millis(100);
/// The first number of the victims' client IDs.
const FIRST_ID: usize = 0xf000_0000;

/// The bounds of a mount, where that is more than twice its time alone.
const APART: Duration = Duration::from_millis(100);
const SHARING: Duration = Duration::from_millis(250);
const BESIDE: Duration = Duration::from_secs(2);

/// Who mounts, and what it has in common with the attacker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// Nothing: a pod that has mounted before, with an identity and a vault of its own.
    Apart,
    /// Nothing: each mount is of a new pod, with an identity and a vault that nobody has asked before.
    Newcomers,
    /// The vault is the victim's, and the attacker asks it too.
    Visited,
    /// The vault is the attacker's, which serves.
    Visitor,
    /// The identity is the node's, which the attacker uses too.
    OnNode,
    /// The driver's connection and the processors, at the moment at which hundreds of megabytes of the attacker go out or
    /// come in.
    Beside,
    /// IMDS: each mount is of a new pod, with an identity of the node that has no token yet.
    NewOnNode,
}

impl Victim {
    /// The most time that a mount may take, if it takes this long alone.
    pub fn bound(self, alone: Duration) -> Duration {
        let least = match self {
            Self::Apart | Self::Newcomers => APART,
            Self::Beside => BESIDE,
            Self::Visited | Self::Visitor | Self::OnNode | Self::NewOnNode => SHARING,
        };
        least.max(2 * alone)
    }

    /// The pods, in the order in which they mount. The last one goes on mounting.
    pub fn pods(self, azure: &Emulator) -> Vec<Pod> {
        let count = match self {
            Self::Newcomers | Self::NewOnNode => FRESH,
            _ => 1,
        };
        (0..count).map(|number| self.pod(azure, number)).collect()
    }

    fn pod(self, azure: &Emulator, number: usize) -> Pod {
        let id = match self {
            Self::OnNode => NODE.to_owned(),
            _ => client_id(FIRST_ID + number),
        };
        let vault = match self {
            Self::Visitor => ATTACKERS.to_owned(),
            Self::Newcomers => fresh_vault(number),
            _ => VICTIMS.to_owned(),
        };
        let class = Class::new(VICTIM)
            .with("secretProviderClass", VICTIMS_CLASS)
            .vault(&vault);
        let class = match self {
            Self::OnNode | Self::NewOnNode => {
                azure
                    .imds()
                    .assign(ManagedIdentity::user_assigned(&id, &id));
                class.managed(&id)
            }
            _ => class.workload(azure, &id),
        };
        let vault = azure.vault(&vault);
        vault.grant(&id, Permissions::read());
        vault.set_secret(SECRET, "the victim's value");
        class.pod()
    }
}

/// How a victim's mounts went.
#[derive(Clone, Debug, Default)]
pub struct Mounts {
    /// How long each of them took.
    pub times: Vec<Duration>,
    /// Why one has failed, the first.
    pub failure: Option<String>,
}

impl Mounts {
    /// The longest.
    pub fn worst(&self) -> Duration {
        self.times.iter().max().copied().unwrap_or_default()
    }

    /// As many are longer as are shorter.
    pub fn median(&self) -> Duration {
        let mut times = self.times.clone();
        times.sort();
        times.get(times.len() / 2).copied().unwrap_or_default()
    }

    /// These and then those.
    pub fn then(mut self, later: Self) -> Self {
        self.times.extend(later.times);
        self.failure = self.failure.or(later.failure);
        self
    }

    fn is_hopeless(&self) -> bool {
        self.worst() >= PATIENCE
    }
}

/// Pods that mount one after the other, on the driver's connection.
#[derive(Clone, Debug)]
pub struct Mounting {
    driver: Driver,
    pods: Vec<Pod>,
    next: usize,
}

impl Mounting {
    /// Has these pods mount.
    pub fn new(driver: Driver, pods: Vec<Pod>) -> Self {
        Self {
            driver,
            pods,
            next: 0,
        }
    }

    /// So many mounts.
    pub async fn times(&mut self, count: usize) -> Mounts {
        let mut mounts = Mounts::default();
        while mounts.times.len() < count && !mounts.is_hopeless() {
            self.once(&mut mounts).await;
        }
        mounts
    }

    /// Mounts for some seconds, and until the attack is over.
    pub async fn meanwhile(mut self, is_over: Arc<AtomicBool>) -> (Mounts, Self) {
        let started = Instant::now();
        let mut mounts = Mounts::default();
        loop {
            self.once(&mut mounts).await;
            let enough = mounts.times.len() >= MEANWHILE && started.elapsed() > SHORTEST;
            if enough && is_over.load(Ordering::Relaxed)
                || started.elapsed() > LONGEST
                || mounts.is_hopeless()
            {
                return (mounts, self);
            }
            sleep(PAUSE).await;
        }
    }

    async fn once(&mut self, mounts: &mut Mounts) {
        let pod = &self.pods[self.next.min(self.pods.len() - 1)];
        self.next += 1;
        let started = Instant::now();
        let result = timeout(PATIENCE, self.driver.mount(pod)).await;
        mounts.times.push(started.elapsed());
        let failure = match result {
            Ok(Ok(())) => return,
            Ok(Err(failure)) => failure.to_string(),
            Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
        };
        mounts.failure.get_or_insert(failure);
    }
}
