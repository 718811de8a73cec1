//! [`Work`], mounts whose cost is measured together.

use std::pin::pin;
use std::time::Duration;

use azure_emulator::Emulator;
use futures::future::{Either, select, try_join_all};
use tokio::time::{Instant, sleep_until};

use crate::azure::Azure;
use crate::driver::Driver;
use crate::failure::Failure;
use crate::pod::{self, Identity, Objects, Pod, Secrets};

/// By how much a row of syncs is faster than a cluster: a second is a minute.
const FASTER: u32 = 60;
/// The least time between two syncs of a pod in a cluster, and the most by which it is longer.
///
/// Source: the kubelet's `syncFrequency`, 60 s, which it lengthens at random by up to a half.
const SYNC: Duration = Duration::from_secs(60);
const LONGER: Duration = Duration::from_secs(30);
/// How many different times there are from the least to the most.
const STEPS: usize = 11;
/// For how long what a vault gave answers remounts in a row of syncs: `--cache-ttl=90s` in a cluster.
pub const TTL: Duration = Duration::from_secs(90);
/// `TTL` in a row of syncs.
pub const FAST_TTL: &str = "--cache-ttl=1500ms";
/// How many such times a row of syncs takes: half an hour in a cluster.
const INTERVALS: u32 = 20;

/// What is mounted, by whom, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// How many pods mount.
    pub pods: usize,
    pub identity: Identity,
    /// What each of them mounts.
    pub objects: Objects,
    /// How often each does so, one time after the other.
    pub times: usize,
    /// Whether the provider has just been started, or has done the same before.
    pub cold: bool,
    /// When they mount.
    pub course: Course,
}

/// When pods mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// All at once.
    AtOnce,
    /// As kubelets sync their volumes, for [`INTERVALS`].
    Syncs,
    /// At a vault that has just refused a request as one too many, once the pause for that is over.
    Throttled {
        /// How many other pods, which have asked before, wait for 100 objects each at that vault.
        behind: usize,
    },
}

/// Those who mount.
#[derive(Debug)]
pub struct Pods {
    /// Those who are measured.
    measured: Vec<Pod>,
    /// Those who are in their way.
    crowd: Vec<Pod>,
}

/// What came of some work.
#[derive(Debug)]
pub struct Done {
    /// Until the last mount had its files.
    pub time: Duration,
    /// How long each mount took, the shortest first.
    pub mounts: Vec<Duration>,
}

impl Done {
    fn new(time: Duration, mut mounts: Vec<Duration>) -> Self {
        mounts.sort_unstable();
        Self { time, mounts }
    }

    /// How long the mount in the middle took.
    pub fn middle(&self) -> Option<Duration> {
        self.mounts.get(self.mounts.len() / 2).copied()
    }
}

impl Work {
    /// One pod that has mounted before.
    pub const fn warm(count: usize) -> Self {
        Self {
            pods: 1,
            identity: Identity::Workload,
            objects: Objects {
                count,
                secrets: Secrets::Usual,
            },
            times: 1,
            cold: false,
            course: Course::AtOnce,
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

    /// Pods of one application, each of which is synced again and again.
    pub const fn syncs(pods: usize, count: usize) -> Self {
        Self {
            cold: false,
            course: Course::Syncs,
            ..Self::cold(pods, count, Identity::Shared)
        }
    }

    /// A pod with one object that mounts again and again where requests have a pace.
    pub const fn throttled(behind: usize) -> Self {
        Self {
            times: 15,
            course: Course::Throttled { behind },
            ..Self::cold(1, 1, Identity::Workload)
        }
    }

    /// What is done before it, where the provider is to have done the same before.
    fn before(&self) -> Self {
        let times = match self.course {
            // A volume is known to be filled from its second answer on.
            Course::Syncs => 2,
            Course::AtOnce | Course::Throttled { .. } => self.times,
        };
        Self {
            times,
            course: Course::AtOnce,
            ..*self
        }
    }

    /// Whether bare requests can do it too.
    pub fn is_bare(&self) -> bool {
        self.course == Course::AtOnce
    }

    /// How many mounts that makes, if all mount at once.
    pub fn mounts(&self) -> u32 {
        u32::try_from(self.pods * self.times).unwrap_or(u32::MAX)
    }

    /// How many requests to the vault there would be if each object were asked for once, in each interval.
    pub fn least_requests(&self) -> u32 {
        let objects = u32::try_from(self.objects.count).unwrap_or(u32::MAX);
        match self.course {
            Course::Syncs => INTERVALS * objects,
            Course::AtOnce | Course::Throttled { .. } => objects,
        }
    }

    /// Those who mount.
    pub fn pods(&self, azure: &Emulator) -> Pods {
        let measured = (0..self.pods)
            .map(|number| Pod::new(azure, number, self.identity, self.objects))
            .collect();
        let behind = match self.course {
            Course::Throttled { behind } => behind,
            Course::AtOnce | Course::Syncs => 0,
        };
        let objects = Objects {
            count: 100,
            ..self.objects
        };
        let crowd = (self.pods..self.pods + behind)
            .map(|number| Pod::new(azure, number, Identity::Workload, objects))
            .collect();
        Pods { measured, crowd }
    }

    /// Has the provider do what it is to have done before.
    pub async fn warm_up(&self, driver: &Driver, pods: &Pods) -> Result<(), Failure> {
        self.before().at_once(driver, &pods.measured).await?;
        Ok(())
    }

    /// Has all pods mount.
    pub async fn run(&self, azure: &Azure, driver: &Driver, pods: &Pods) -> Result<Done, Failure> {
        match self.course {
            Course::AtOnce => self.at_once(driver, &pods.measured).await,
            Course::Syncs => syncs(driver, &pods.measured).await,
            Course::Throttled { .. } => self.throttled_by(azure, driver, pods).await,
        }
    }

    async fn at_once(&self, driver: &Driver, pods: &[Pod]) -> Result<Done, Failure> {
        let started = Instant::now();
        let mounts = try_join_all(pods.iter().enumerate().map(|(number, pod)| {
            let mut driver = driver.clone();
            let path = pod::target_path(number);
            async move {
                let mut mounts = Vec::with_capacity(self.times);
                for _ in 0..self.times {
                    let started = Instant::now();
                    driver.mount_at(pod, &path).await?;
                    mounts.push(started.elapsed());
                }
                Ok::<_, Failure>(mounts)
            }
        }))
        .await?;
        Ok(Done::new(started.elapsed(), mounts.concat()))
    }

    /// The pods that are measured, while those of the crowd mount.
    async fn throttled_by(
        &self,
        azure: &Azure,
        driver: &Driver,
        pods: &Pods,
    ) -> Result<Done, Failure> {
        let once = Self { times: 1, ..*self };
        azure.throttle_once();
        let crowd = pin!(async {
            try_join_all(pods.crowd.iter().map(|pod| {
                let mut driver = driver.clone();
                async move { driver.mount(pod).await }
            }))
            .await
        });
        let measured = pin!(async {
            // It waits for the end of the pause, and earns the token.
            once.at_once(driver, &pods.measured).await?;
            self.at_once(driver, &pods.measured).await
        });
        // What the crowd still waits for ends with it.
        match select(crowd, measured).await {
            Either::Left((crowd, measured)) => {
                crowd?;
                measured.await
            }
            Either::Right((measured, _)) => measured,
        }
    }
}

/// Each pod at times of its own, which are the same in each run.
async fn syncs(driver: &Driver, pods: &[Pod]) -> Result<Done, Failure> {
    let (least, longer) = (SYNC / FASTER, LONGER / FASTER);
    let steps = u32::try_from(STEPS - 1).unwrap_or(u32::MAX);
    // Numbers that have no common divisor with the steps: neighbours are apart, and drift.
    let pause = move |pod: usize, times: usize| {
        let step = u32::try_from((7 * pod + 4 * times) % STEPS).unwrap_or(0);
        least + longer * step / steps
    };
    let started = Instant::now();
    let end = started + INTERVALS * TTL / FASTER;
    let all = u32::try_from(pods.len()).unwrap_or(u32::MAX);
    let mounts = try_join_all(
        pods.iter()
            .zip(0..)
            .enumerate()
            .map(|(number, (pod, nth))| {
                let mut driver = driver.clone();
                let path = pod::target_path(number);
                async move {
                    let mut mounts = Vec::new();
                    let mut next = started + least * nth / all;
                    while next < end {
                        sleep_until(next).await;
                        let started = Instant::now();
                        driver.mount_at(pod, &path).await?;
                        mounts.push(started.elapsed());
                        next += pause(number, mounts.len());
                    }
                    Ok::<_, Failure>(mounts)
                }
            }),
    )
    .await?;
    Ok(Done::new(started.elapsed(), mounts.concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_mounts_is_none_of_their_ends() {
        let seconds = Duration::from_secs;
        let done = Done::new(seconds(9), vec![seconds(9), seconds(1), seconds(2)]);
        assert_eq!(done.middle(), Some(seconds(2)));
        assert_eq!(Done::new(seconds(0), Vec::new()).middle(), None);
    }

    #[test]
    fn the_flag_of_syncs_says_their_interval() {
        let fast = FAST_TTL
            .strip_prefix("--cache-ttl=")
            .map(humantime::parse_duration);
        assert_eq!(fast, Some(Ok(TTL / FASTER)));
    }
}
