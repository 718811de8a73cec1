//! [`Arena`], where providers and bare requests do the same [`Work`] in turn.
//!
//! In turn, because a machine is not the same from one minute to the next: what is compared is measured side by
//! side.

use std::time::Duration;

use azure_emulator::Settings;

use super::contestant::{Contestant, Running};
use super::floor::Floor;
use super::protocol::Protocol;
use super::repeat::Repeat;
use super::work::Work;
use crate::azure::Azure;
use crate::failure::Failure;
use crate::network::Network;
use crate::pod::Pod;
use crate::process::Process;

/// An emulated Azure that speaks one protocol, and those who are measured against it.
#[derive(Debug)]
pub struct Arena<'a> {
    azure: Azure,
    network: Network,
    floor: Floor,
    contestants: &'a [Contestant],
}

/// What one piece of work has cost.
#[derive(Debug)]
pub struct Measured {
    /// Each contestant's repeats, in the contestants' order; or why it has failed.
    pub contestants: Vec<Result<Vec<Repeat>, Failure>>,
    /// The bare requests' repeats.
    pub floor: Vec<Repeat>,
}

impl<'a> Arena<'a> {
    /// Starts the emulator.
    pub async fn open(
        protocol: Protocol,
        settings: Settings,
        network: Network,
        contestants: &'a [Contestant],
    ) -> Result<Self, Failure> {
        let azure = Azure::start(Settings {
            http2: protocol == Protocol::Http2,
            ..settings
        })
        .await?;
        Ok(Self {
            floor: Floor::connect(azure.emulator(), protocol).await?,
            azure,
            network,
            contestants,
        })
    }

    /// What the contestants call themselves, unless the second is to be called otherwise.
    pub async fn names(&self, second: Option<&str>) -> Result<Vec<String>, Failure> {
        let mut names: Vec<String> = Vec::new();
        for contestant in self.contestants {
            let running = contestant.start(self.azure.emulator(), self.network);
            let own = running.await?.name;
            names.push(match second {
                Some(name) if names.len() == 1 => name.to_owned(),
                // Two builds of one provider.
                _ if names.contains(&own) => own + " (peer)",
                _ => own,
            });
        }
        Ok(names)
    }

    /// Whether everyone can do it.
    pub fn allows(&self, work: &Work) -> bool {
        !work.cold || self.contestants.iter().all(Contestant::can_be_cold)
    }

    /// Has everyone do the work, with Azure this far away, so many times.
    pub async fn measure(
        &self,
        work: &Work,
        latency: Duration,
        repeats: usize,
    ) -> Result<Measured, Failure> {
        self.azure.set_latency(latency);
        let pods = work.pods(self.azure.emulator());
        let mut entries: Vec<Entry<'_>> = self.contestants.iter().map(Entry::new).collect();
        let mut floor = Vec::new();
        // The first time opens what is open afterwards.
        self.floor.run(work).await?;
        for _ in 0..repeats {
            for entry in &mut entries {
                entry.repeat(self, work, &pods).await;
            }
            floor.push(Repeat::bare(work.mounts(), self.floor.run(work).await?));
        }
        Ok(Measured {
            contestants: entries.into_iter().map(|entry| entry.outcome).collect(),
            floor,
        })
    }

    /// Ends the emulator.
    pub async fn close(self) {
        drop(self.floor);
        self.azure.stop().await;
    }
}

/// A contestant at one piece of work.
#[derive(Debug)]
struct Entry<'a> {
    contestant: &'a Contestant,
    running: Option<Running>,
    outcome: Result<Vec<Repeat>, Failure>,
}

impl<'a> Entry<'a> {
    fn new(contestant: &'a Contestant) -> Self {
        Self {
            contestant,
            running: None,
            outcome: Ok(Vec::new()),
        }
    }

    /// Once more, unless it has failed before.
    async fn repeat(&mut self, arena: &Arena<'_>, work: &Work, pods: &[Pod]) {
        if self.outcome.is_err() {
            return;
        }
        match self.try_repeat(arena, work, pods).await {
            Ok(repeat) => self.outcome.iter_mut().for_each(|all| all.push(repeat)),
            Err(failure) => self.outcome = Err(failure),
        }
    }

    async fn try_repeat(
        &mut self,
        arena: &Arena<'_>,
        work: &Work,
        pods: &[Pod],
    ) -> Result<Repeat, Failure> {
        let azure = arena.azure.emulator();
        if work.cold {
            self.running = None;
        }
        let (running, fresh) = match self.running.take() {
            Some(running) => (running, false),
            None => (self.contestant.start(azure, arena.network).await?, true),
        };
        let running = self.running.insert(running);
        let Running {
            driver, process, ..
        } = running;
        let idle = match process {
            Some(process) if fresh => Some(process.resident_memory()?),
            _ => None,
        };
        if fresh && !work.cold {
            work.run(driver, pods).await?;
        }

        azure.counters().reset();
        let before = process.map(Process::cpu).transpose()?;
        let time = work.run(driver, pods).await?;
        let after = process.map(Process::cpu).transpose()?;
        Ok(Repeat {
            mounts: work.mounts(),
            time,
            cpu: after
                .zip(before)
                .map(|(after, before)| after.saturating_sub(before)),
            requests: azure.counters().snapshot().into(),
            idle,
            peak: process.map(Process::peak_memory).transpose()?,
        })
    }
}
