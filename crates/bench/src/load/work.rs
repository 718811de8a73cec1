//! [`Work`], mounts whose cost is measured together.

use std::time::{Duration, Instant};

use azure_emulator::Emulator;
use futures::future::try_join_all;

use crate::driver::Driver;
use crate::failure::Failure;
use crate::pod::{Identity, Objects, Pod};

/// What is mounted, by whom, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// How many pods mount at once.
    pub pods: usize,
    /// As whom.
    pub identity: Identity,
    /// What each of them mounts.
    pub objects: Objects,
    /// How often each does so, one time after the other.
    pub times: usize,
    /// Whether the provider has just been started, or has done the same before.
    pub cold: bool,
}

impl Work {
    /// One pod that has mounted before.
    pub const fn warm(count: usize) -> Self {
        Self {
            pods: 1,
            identity: Identity::Workload,
            objects: Objects { count, versions: 1 },
            times: 1,
            cold: false,
        }
    }

    /// Pods of a node that has just started.
    pub const fn cold(pods: usize, count: usize, identity: Identity) -> Self {
        Self {
            pods,
            identity,
            cold: true,
            ..Self::warm(count)
        }
    }

    /// How many mounts that makes.
    pub fn mounts(&self) -> u32 {
        u32::try_from(self.pods * self.times).unwrap_or(u32::MAX)
    }

    /// Those who mount.
    pub fn pods(&self, azure: &Emulator) -> Vec<Pod> {
        (0..self.pods)
            .map(|number| Pod::new(azure, number, self.identity, self.objects))
            .collect()
    }

    /// Has all pods mount, and gives the time until the last of them has its files.
    pub async fn run(&self, driver: &Driver, pods: &[Pod]) -> Result<Duration, Failure> {
        let started = Instant::now();
        try_join_all(pods.iter().map(|pod| {
            let mut driver = driver.clone();
            async move {
                for _ in 0..self.times {
                    driver.mount(pod).await?;
                }
                Ok::<_, Failure>(())
            }
        }))
        .await?;
        Ok(started.elapsed())
    }
}
