//! A trial: one [`Attack`] on a provider of its own, from the victim's time alone to the provider's end.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::attempt::{Attack, Course};
use super::liveness::{Liveness, Probes};
use super::scene::{DRAIN, Props, Scene};
use super::victim::{ALONE, Mounting, Mounts, PATIENCE};
use crate::failure::{Failure, cannot};
use crate::network::Network;
use crate::report::{megabytes, milliseconds};

/// The most memory some time after an attack.
const MEMORY: u64 = 24_000_000;
/// When that is.
const MEMORY_TIME: Duration = Duration::from_secs(30);
/// The most memory at any time: the chart's limit, at which the container is killed.
const LIMIT: u64 = 128 * 1024 * 1024;
/// What a provider may take to end on top of what its mounts get. The kubelet gives it ten seconds more by default.
const GRACE: Duration = Duration::from_secs(3);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// How long an attack that is to come first may take.
const ATTACK_TIME: Duration = Duration::from_secs(60);
/// How many mounts are measured once the attack is over.
const AFTERWARDS: usize = 3;
/// How long an attack goes on before the provider is asked to end.
const UNDER_WAY: Duration = Duration::from_millis(700);
/// A time that exceeds its bound by no more than this factor may be the machine's noise.
const NEAR: u32 = 4;

/// What came of an attack.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The victim's usual time.
    pub alone: Duration,
    /// What its time must be below.
    pub bound: Duration,
    /// Its mounts during the attack and just after.
    pub mounts: Mounts,
    /// The kubelet's probes.
    pub probes: Probes,
    /// How long the provider took to end; nothing where it did not.
    pub end: Option<Duration>,
    /// The most memory that it has had.
    pub peak: u64,
    /// Its memory after the attack, as soon as it is low enough, and what is low enough.
    pub memory: u64,
    /// The bound of that.
    pub memory_bound: u64,
    /// What else does not hold.
    pub broken: Option<String>,
}

impl Outcome {
    /// Whether the victim's time is what it must be.
    pub fn is_in_time(&self) -> bool {
        self.mounts.worst() < self.bound
    }

    /// Whether more trials may say otherwise: nothing is wrong but a time, and not by much.
    fn is_doubtful(&self) -> bool {
        !self.is_in_time() && self.mounts.worst() < self.bound * NEAR && self.failures().len() == 1
    }

    /// In which ways the attack has succeeded.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        if !self.is_in_time() {
            failures.push(format!(
                "the victim's mount took {}, the bound is {}",
                milliseconds(self.mounts.worst()),
                milliseconds(self.bound)
            ));
        }
        if let Some(failure) = &self.mounts.failure {
            failures.push(format!("the victim's mount failed: {failure}"));
        }
        if let Some(reason) = &self.probes.reason {
            let Probes { asked, failed, .. } = self.probes;
            failures.push(format!("{failed} of {asked} probes failed: {reason}"));
        }
        if self.end.is_none() {
            failures.push("SIGTERM did not end the provider in its grace".to_owned());
        }
        if self.peak > LIMIT {
            let peak = megabytes(self.peak);
            failures.push(format!("{peak} of memory: the container would be killed"));
        }
        if self.memory >= self.memory_bound {
            failures.push(format!(
                "{} of memory {} s after the end",
                megabytes(self.memory),
                MEMORY_TIME.as_secs()
            ));
        }
        failures.extend(self.broken.clone());
        failures
    }
}

/// Tries an attack; where nothing but a time is a little too long, twice more, of which the median counts.
pub async fn judge(
    attack: &dyn Attack,
    binary: &Path,
    network: Network,
    tell: &impl Fn(&str),
) -> Result<Outcome, Failure> {
    let first = try_once(attack, binary, network).await?;
    if !first.is_doubtful() {
        return Ok(first);
    }
    tell("    once more, and once more: it may have been the machine");
    let mut outcomes = vec![first];
    for _ in 0..2 {
        outcomes.push(try_once(attack, binary, network).await?);
    }
    // One that fails otherwise is the worst there is.
    outcomes.sort_by_key(|outcome| {
        let is_worse = outcome.failures().len() > usize::from(!outcome.is_in_time());
        (is_worse, outcome.mounts.worst())
    });
    if let Some(worst) = outcomes.pop_if(|worst| worst.failures().len() > 1) {
        return Ok(worst);
    }
    Ok(outcomes.swap_remove(1))
}

async fn try_once(
    attack: &dyn Attack,
    binary: &Path,
    network: Network,
) -> Result<Outcome, Failure> {
    let folder = tempfile::tempdir().map_err(cannot("make a temporary folder"))?;
    let props = Props {
        prepare: &|azure| attack.prepare(azure),
        flags: attack.flags(folder.path())?,
        open_files: attack.open_files(),
        folder,
    };
    let scene = Scene::set(props, binary, network).await?;
    let victim = attack.victim();
    let mut mounting = Mounting::new(scene.driver.clone(), victim.pods(&scene.azure));
    // The first mount of a process is not what the others are like.
    let first = mounting.times(1).await;
    attack.setting(&scene.azure);
    let alone = mounting.times(ALONE).await;
    if let Some(failure) = first.failure.or(alone.failure.clone()) {
        let what = format!(
            "does not serve the victim of \"{}\": {failure}",
            attack.name()
        );
        let log = scene.provider.log();
        return Err(Failure::Provider { what, log });
    }

    let endpoint = scene.provider.endpoint();
    let liveness = Liveness::watch(binary.to_owned(), endpoint, scene.health);
    let (meanwhile, mut mounting) = suffer(attack, &scene, mounting).await;
    let mounts = if meanwhile.worst() < PATIENCE {
        meanwhile.then(mounting.times(AFTERWARDS).await)
    } else {
        meanwhile
    };
    let probes = liveness.end().await;
    let broken = attack.promise(&scene).await.err();
    let memory_bound = MEMORY + attack.kept();
    let memory = memory_after(&scene, memory_bound).await?;
    let peak = scene.provider.process().peak_memory()?;
    let end = end_under(attack, &scene).await?;
    Ok(Outcome {
        alone: alone.median(),
        bound: victim.bound(alone.median()),
        mounts,
        probes,
        end,
        peak,
        memory,
        memory_bound,
        broken,
    })
}

/// The attack, and the victim's mounts.
async fn suffer(attack: &dyn Attack, scene: &Scene, mounting: Mounting) -> (Mounts, Mounting) {
    let course = attack.course();
    if course == Course::Before {
        _ = timeout(ATTACK_TIME, attack.attack(scene)).await;
    }
    let is_over = Arc::new(AtomicBool::new(course != Course::Finite));
    let of_panic = mounting.clone();
    // In a task of its own: what an attacker's client does must not hold the victim's up.
    let mut suffering = pin!(tokio::spawn(mounting.meanwhile(is_over.clone())));
    let suffered = if course == Course::Before {
        suffering.await
    } else {
        tokio::select! {
            biased;
            suffered = &mut suffering => suffered,
            () = attack.attack(scene) => {
                is_over.store(true, Ordering::Relaxed);
                suffering.await
            }
        }
    };
    suffered.unwrap_or_else(|panic| {
        let failure = Some(panic.to_string());
        let times = Vec::new();
        (Mounts { times, failure }, of_panic)
    })
}

/// The memory as soon as it is below the bound, or when the time is over.
async fn memory_after(scene: &Scene, bound: u64) -> Result<u64, Failure> {
    let started = Instant::now();
    loop {
        let memory = scene.provider.process().resident_memory()?;
        if memory < bound || started.elapsed() > MEMORY_TIME {
            return Ok(memory);
        }
        sleep(LOOK).await;
    }
}

/// Attacks once more, and ends the provider meanwhile. Says how long that took.
async fn end_under(attack: &dyn Attack, scene: &Scene) -> Result<Option<Duration>, Failure> {
    let attacking = async {
        loop {
            attack.attack(scene).await;
            sleep(LOOK).await;
        }
    };
    let ending = async {
        sleep(UNDER_WAY).await;
        scene.provider.terminate()?;
        let asked = Instant::now();
        while asked.elapsed() <= DRAIN + GRACE {
            if scene.provider.process().has_ended() {
                return Ok(Some(asked.elapsed()));
            }
            sleep(LOOK).await;
        }
        Ok(None)
    };
    tokio::select! {
        biased;
        ended = ending => ended,
        () = attacking => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(milliseconds: u64) -> Outcome {
        Outcome {
            alone: Duration::from_millis(1),
            bound: Duration::from_millis(100),
            mounts: Mounts {
                times: vec![Duration::from_millis(milliseconds)],
                failure: None,
            },
            probes: Probes::default(),
            end: Some(Duration::ZERO),
            peak: MEMORY,
            memory: MEMORY - 1,
            memory_bound: MEMORY,
            broken: None,
        }
    }

    #[test]
    fn each_bound_counts() {
        assert_eq!(held(99).failures(), Vec::<String>::new());
        let failed = "x".to_owned();
        let late = held(100);
        let mut refused = held(1);
        refused.mounts.failure = Some(failed.clone());
        let mut dead = held(1);
        dead.probes.reason = Some(failed.clone());
        let stays = Outcome {
            end: None,
            ..held(1)
        };
        let killed = Outcome {
            peak: LIMIT + 1,
            ..held(1)
        };
        let full = Outcome {
            memory: MEMORY,
            ..held(1)
        };
        let broken = Outcome {
            broken: Some(failed),
            ..held(1)
        };
        for outcome in [late, refused, dead, stays, killed, full, broken] {
            assert_eq!(outcome.failures().len(), 1, "{outcome:?}");
        }
    }

    #[test]
    fn only_a_time_that_is_a_little_too_long_is_doubtful() {
        for (milliseconds, is_doubtful) in [(99, false), (100, true), (399, true), (400, false)] {
            assert_eq!(held(milliseconds).is_doubtful(), is_doubtful);
        }
        let full = Outcome {
            memory: MEMORY,
            ..held(100)
        };
        assert!(!full.is_doubtful());
    }
}
