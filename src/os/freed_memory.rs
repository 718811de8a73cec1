//! [`FreedMemory`], what bursts of mounts have left behind: it goes back to the system once they are over, since the limit of
//! the container counts it.

use std::fs;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

/// How long there has to be no end of a mount, so that a burst counts as over.
const QUIET: Duration = Duration::from_secs(1);
/// How long a burst is waited for at most; many nodes are never quiet.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// The growth that is worth it: it takes milliseconds.
const WORTH: u64 = 3 * 1024 * 1024;

/// What bursts of mounts have left behind.
#[derive(Debug, Default)]
pub struct FreedMemory {
    ended: Notify,
}

impl FreedMemory {
    /// A mount has ended.
    pub fn mount_ended(&self) {
        self.ended.notify_one();
    }

    /// Gives it back for as long as this is polled.
    pub async fn give_back(&self) {
        let mut floor = resident();
        loop {
            self.ended.notified().await;
            let latest = Instant::now() + MAX_WAIT;
            loop {
                tokio::select! {
                    () = self.ended.notified() => {}
                    () = sleep(QUIET) => break,
                    () = sleep_until(latest) => break,
                }
            }
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
    use super::*;

    #[test]
    fn the_system_says_what_is_in_ram() {
        assert!(resident() > 1024 * 1024);
    }
}
