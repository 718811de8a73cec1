//! [`FreedMemory`], what bursts of mounts have left behind: it goes back to the system once they are over, since the limit of
//! the container counts it.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

/// How long there has to be no end of a mount, so that a burst counts as over.
const QUIET: Duration = Duration::from_secs(1);
/// How long a burst is waited for at most; many nodes are never quiet.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// The growth that is worth it: it takes milliseconds.
const WORTH: u64 = 3 * 1024 * 1024;

/// What bursts of mounts have left behind.
#[derive(Debug, Default)]
pub struct FreedMemory {
    /// How many mounts have ended.
    ended: AtomicU64,
    /// Whether a burst goes on, as far as [`Self::give_back`] knows.
    is_burst: AtomicBool,
    begins: Notify,
}

impl FreedMemory {
    /// A mount has ended. Only the first one of a burst wakes anybody.
    pub fn mount_ended(&self) {
        self.ended.fetch_add(1, Ordering::SeqCst);
        if !self.is_burst.swap(true, Ordering::SeqCst) {
            self.begins.notify_one();
        }
    }

    /// Waits for the end of a burst.
    async fn burst(&self) {
        self.begins.notified().await;
        let latest = Instant::now() + MAX_WAIT;
        let mut ended = self.ended.load(Ordering::SeqCst);
        loop {
            sleep(QUIET).await;
            let before = std::mem::replace(&mut ended, self.ended.load(Ordering::SeqCst));
            if ended == before || Instant::now() >= latest {
                break;
            }
        }
        self.is_burst.store(false, Ordering::SeqCst);
        if ended != self.ended.load(Ordering::SeqCst) {
            // It took itself for one of this burst.
            self.begins.notify_one();
        }
    }

    /// Gives it back for as long as this is polled.
    pub async fn give_back(&self) {
        let mut floor = resident();
        loop {
            self.burst().await;
            if resident() < floor.saturating_add(WORTH) {
                continue;
            }
            // The heap is locked meanwhile, so nobody who answers calls should do it.
            _ = tokio::task::spawn_blocking(heap::give_back).await;
            floor = resident();
        }
    }
}

/// The bytes of the process that are in RAM; none where the system does not say.
///
/// Source: `proc_pid_statm(5)`.
fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: Option<u64> = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or_default() * rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_over_a_second_after_its_last_mount() {
        for (mounts, least, most) in [
            (1, QUIET, 2 * QUIET),
            (10, 3 * QUIET, 5 * QUIET),
            // It is not waited for without end.
            (1000, MAX_WAIT, MAX_WAIT + QUIET),
        ] {
            let memory = FreedMemory::default();
            let start = Instant::now();
            let mounting = async {
                for _ in 0..mounts {
                    memory.mount_ended();
                    sleep(QUIET / 4).await;
                }
                pending::<()>().await;
            };
            tokio::select! {
                () = memory.burst() => {}
                () = mounting => {}
            }
            let took = start.elapsed();
            assert!((least..=most).contains(&took), "{mounts}: {took:?}");
        }
    }

    #[test]
    fn the_system_says_what_is_in_ram() {
        assert!(resident() > 1024 * 1024);
    }
}
