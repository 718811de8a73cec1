//! [`Phases`], where the time of one mount goes.
//!
//! [`crate::server::service`] has one for each mount; [`crate::mount`], [`crate::azure::vault`] and [`crate::azure::limiter`] take the
//! time, and what comes of it is in the log and in the metrics. Phases hardly overlap: together they are nearly
//! all of the mount's own time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// What one mount does, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountPhase {
    /// The vault's challenge and a connection to it, as far as they take longer than the token.
    Connect,
    /// The token, with every wait for it.
    Token,
    /// Requests to the vault held back: by the turns of other mounts, by a pause or by a pace.
    Limiter,
    /// The vault, from the first request to the last answer, without what is counted as the limiter's or as
    /// rendering.
    Vault,
    /// Objects becoming files.
    Render,
}

impl MountPhase {
    /// All of them, in their order.
    pub const ALL: [Self; 5] = [
        Self::Connect,
        Self::Token,
        Self::Limiter,
        Self::Vault,
        Self::Render,
    ];

    /// What the metrics call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Token => "token",
            Self::Limiter => "limiter",
            Self::Vault => "vault",
            Self::Render => "render",
        }
    }
}

/// Where the time of one mount goes.
#[derive(Debug, Default)]
pub struct Phases {
    /// Until a long class is read and planned; in the log only.
    pub class: Stopwatch,
    /// Until there are a token and a connection.
    pub sign_in: Stopwatch,
    /// Until there is a token.
    pub token: Stopwatch,
    /// Until every object is there.
    pub objects: Stopwatch,
    /// While objects become files.
    pub render: Stopwatch,
    /// While its requests are held back, of which one waits at a time.
    pub held_back: Arc<Stopwatch>,
    /// Where its objects came from.
    pub reads: ReadCounts,
}

/// Where the objects of one mount came from.
#[derive(Debug, Default)]
pub struct ReadCounts([AtomicU64; ReadSource::ALL.len()]);

/// Where an object came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadSource {
    /// A request of the mount's own.
    Own,
    /// A request of another mount, sent after this one had asked.
    Shared,
    /// What was kept for remounts.
    Memory,
}

impl ReadSource {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Own, Self::Shared, Self::Memory];

    /// What the metrics call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Shared => "shared",
            Self::Memory => "memory",
        }
    }
}

impl ReadCounts {
    /// One more came from there.
    pub fn count(&self, source: ReadSource) {
        self.0[source as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many came from there.
    pub fn of(&self, source: ReadSource) -> u64 {
        self.0[source as usize].load(Ordering::Relaxed)
    }
}

impl Phases {
    /// How long a phase took; nothing where the mount did not get so far.
    pub fn taken(&self, phase: MountPhase) -> Option<Duration> {
        let taken = |stopwatch: &Stopwatch| stopwatch.read().unwrap_or_default();
        match phase {
            MountPhase::Connect => {
                let whole = self.sign_in.read()?;
                Some(whole.saturating_sub(taken(&self.token)))
            }
            MountPhase::Token => self.token.read(),
            MountPhase::Limiter => self.held_back.read(),
            MountPhase::Vault => {
                let whole = self.objects.read()?;
                let others = taken(&self.held_back) + taken(&self.render);
                Some(whole.saturating_sub(others))
            }
            MountPhase::Render => self.render.read(),
        }
    }
}

/// A time that adds up. What is measured by one never overlaps with itself.
#[derive(Debug, Default)]
pub struct Stopwatch {
    /// Zero until it has run.
    nanoseconds: AtomicU64,
}

/// Runs for as long as this lives, however that ends.
#[derive(Debug)]
#[must_use]
pub struct Running<'a> {
    stopwatch: &'a Stopwatch,
    since: Instant,
}

impl Stopwatch {
    /// Runs from now on.
    pub fn run(&self) -> Running<'_> {
        Running {
            stopwatch: self,
            since: Instant::now(),
        }
    }

    /// The sum; nothing where it has never run.
    pub fn read(&self) -> Option<Duration> {
        let nanoseconds = self.nanoseconds.load(Ordering::Relaxed);
        (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let nanoseconds = u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let nanoseconds = nanoseconds.max(1);
        self.stopwatch
            .nanoseconds
            .fetch_add(nanoseconds, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn phases_add_up_to_the_mount() {
        let phases = Phases::default();
        assert!(
            MountPhase::ALL
                .into_iter()
                .all(|phase| phases.taken(phase).is_none())
        );
        let second = Duration::from_secs(1);
        {
            let _sign_in = phases.sign_in.run();
            tokio::time::sleep(second).await;
            {
                let _token = phases.token.run();
                tokio::time::sleep(2 * second).await;
            }
        }
        {
            let _objects = phases.objects.run();
            tokio::time::sleep(3 * second).await;
            for _ in 0..2 {
                let _render = phases.render.run();
                tokio::time::sleep(second).await;
            }
            let _waiting = phases.held_back.run();
            tokio::time::sleep(5 * second).await;
        }
        let took = MountPhase::ALL.map(|phase| phases.taken(phase).unwrap().as_secs());
        assert_eq!(took, [1, 2, 5, 3, 2]);
    }
}
