//! [`Arena`], where providers and bare requests do the same [`Work`] in turn.
//!
//! In turn, because a machine is not the same from one minute to the next: what is compared is measured side by
//! side.

use std::time::Duration;

use azure_emulator::Settings;
use tokio::time::sleep;

use super::contestant::{Contestant, Running};
use super::floor::Floor;
use super::protocol::Protocol;
use super::repeat::Repeat;
use super::work::{Course, Pods, Work};
use crate::azure::Azure;
use crate::failure::Failure;
use crate::network::Network;
use crate::process::Process;

/// An emulated Azure that speaks one protocol, and those who are measured against it.
#[derive(Debug)]
pub struct Arena<'a> {
    azure: Azure,
    network: Network,
    floor: Floor,
    contestants: &'a [Contestant],
}

/// How long nobody asks before a process' memory is looked at once more.
const LATER: Duration = Duration::from_secs(30);
/// The flag without which mounts share their reads.
const UNSHARED: &str = "--shared-reads=false";

/// Work, and how it is measured.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    pub work: &'a Work,
    /// How far away Azure is.
    pub latency: Duration,
    /// How often it is measured.
    pub repeats: usize,
    /// Flags for all that know them.
    pub flags: &'a [&'a str],
    /// Whether the first contestant does it without shared reads as well.
    pub unshared: bool,
    /// Whether memory is looked at once more, [`LATER`].
    pub later: bool,
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
    pub fn allows(&self, task: &Task<'_>) -> bool {
        let is_started = task.work.cold || !task.flags.is_empty();
        !is_started || self.contestants.iter().all(Contestant::can_be_cold)
    }

    /// Has everyone do it.
    pub async fn measure(&self, task: &Task<'_>) -> Result<Measured, Failure> {
        let work = task.work;
        let pods = work.pods(self.azure.emulator());
        let with = |contestant: &Contestant, flag: &&str| contestant.with(flag);
        let mut entries: Vec<Entry> = self
            .contestants
            .iter()
            .map(|contestant| {
                let mut contestant = contestant.clone();
                for flag in task.flags {
                    contestant = with(&contestant, flag).unwrap_or(contestant);
                }
                Entry::new(contestant)
            })
            .collect();
        let mut unshared = entries
            .first()
            .filter(|_| task.unshared)
            .and_then(|first| with(&first.contestant, &UNSHARED))
            .map(Entry::new);
        let mut floor = Vec::new();
        if work.is_bare() {
            // The first time opens what is open afterwards.
            self.azure.set_latency(task.latency);
            self.floor.run(work).await?;
        }
        for _ in 0..task.repeats {
            for entry in entries.iter_mut().chain(&mut unshared) {
                self.azure.set_latency(task.latency);
                entry.repeat(self, task, &pods).await;
            }
            if work.is_bare() {
                let time = self.floor.run(work).await?;
                floor.push(Repeat::bare(work.mounts(), time));
                let all = entries.iter_mut().filter_map(Entry::last);
                all.for_each(|repeat| repeat.floor = Some(time));
            }
            if let (Some(beside), Some(first)) = (&mut unshared, entries.first_mut()) {
                first.compare(beside);
            }
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
struct Entry {
    contestant: Contestant,
    running: Option<Running>,
    outcome: Result<Vec<Repeat>, Failure>,
}

impl Entry {
    fn new(contestant: Contestant) -> Self {
        Self {
            contestant,
            running: None,
            outcome: Ok(Vec::new()),
        }
    }

    /// The last repeat, unless it has failed.
    fn last(&mut self) -> Option<&mut Repeat> {
        self.outcome.as_mut().ok()?.last_mut()
    }

    /// Notes what the same work has just taken without shared reads. Where that has failed, this has.
    fn compare(&mut self, unshared: &mut Self) {
        if let Some(time) = unshared.last().map(|repeat| repeat.time) {
            self.last()
                .into_iter()
                .for_each(|repeat| repeat.unshared = Some(time));
        } else if self.outcome.is_ok() {
            self.outcome = std::mem::replace(&mut unshared.outcome, Ok(Vec::new()));
        }
    }

    /// Once more, unless it has failed before.
    async fn repeat(&mut self, arena: &Arena<'_>, task: &Task<'_>, pods: &Pods) {
        if self.outcome.is_err() {
            return;
        }
        match self.try_repeat(arena, task, pods).await {
            Ok(repeat) => self.outcome.iter_mut().for_each(|all| all.push(repeat)),
            Err(failure) => self.outcome = Err(failure),
        }
    }

    async fn try_repeat(
        &mut self,
        arena: &Arena<'_>,
        task: &Task<'_>,
        pods: &Pods,
    ) -> Result<Repeat, Failure> {
        let work = task.work;
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
            work.warm_up(driver, pods).await?;
        }

        azure.counters().reset();
        let before = process.map(Process::cpu).transpose()?;
        let done = work.run(&arena.azure, driver, pods).await?;
        let after = process.map(Process::cpu).transpose()?;
        let requests = azure.counters().snapshot().into();
        let peak = process.map(Process::peak_memory).transpose()?;
        let later = match process {
            Some(process) if task.later => {
                sleep(LATER).await;
                Some(process.resident_memory()?)
            }
            _ => None,
        };
        Ok(Repeat {
            mounts: u32::try_from(done.mounts.len()).unwrap_or(u32::MAX),
            time: done.time,
            middle: done.middle(),
            cpu: after
                .zip(before)
                .map(|(after, before)| after.saturating_sub(before))
                // The rest of the crowd's mounts is not known.
                .filter(|_| !matches!(work.course, Course::Throttled { .. })),
            requests,
            least_requests: work.least_requests(),
            idle,
            peak,
            later,
            floor: None,
            unshared: None,
        })
    }
}
