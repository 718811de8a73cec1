//! [`Seats`], the connections that may be open at once, and which of them makes room for a new one.
//!
//! The driver has one connection and a probe another; sixty-four are more than a node has use for. When all
//! are taken, the connection that nobody misses is closed: one without a call under way, first one that
//! never made any, of those the one that has been silent for longest. So whoever opens connections and
//! leaves them takes seats from itself.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::observe::warnings::Warnings;

/// The most connections at once.
const MAX_SEATS: usize = 64;
/// The most connections at once of this program's own `ping`, which the kubelet runs: however busy all others are, it is
/// answered.
const MAX_PINGS: usize = 8;
/// How long it takes until somebody is asked to leave again, while everybody is busy.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The seats of one socket.
#[derive(Debug)]
pub(super) struct Seats {
    free: Arc<Semaphore>,
    taken: Mutex<Vec<Weak<Seat>>>,
    warnings: Warnings,
}

/// One connection, as others see it.
#[derive(Debug)]
pub struct Seat {
    /// When the caller last sent something.
    heard: Mutex<Instant>,
    calls: AtomicUsize,
    has_called: AtomicBool,
    /// Cancelled when the connection is to be closed.
    pub(super) hang_up: CancellationToken,
}

/// A call under way, for as long as this lives.
#[derive(Debug)]
#[must_use]
pub struct Call(Arc<Seat>);

impl Seats {
    /// At most a quarter of the files that the process may open, so that those that mounts need are left.
    pub(super) fn new(open_files: usize) -> Self {
        Self::of(MAX_SEATS.min(open_files / 4))
    }

    /// Those that only this program's own `ping` gets.
    pub(super) fn of_pings(open_files: usize) -> Self {
        Self::of(MAX_PINGS.min(open_files / 16))
    }

    fn of(count: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(count.max(1))),
            taken: Mutex::default(),
            warnings: Warnings::default(),
        }
    }

    /// A seat for a new connection, if one is free.
    pub(super) fn try_take(&self) -> Option<(Arc<Seat>, Option<OwnedSemaphorePermit>)> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        Some(self.seat(Some(permit)))
    }

    /// A seat for a new connection; the permit is its own until it ends. Waits for as long as every
    /// connection has calls under way.
    pub(super) async fn take(&self) -> (Arc<Seat>, Option<OwnedSemaphorePermit>) {
        let permit = loop {
            let free = Arc::clone(&self.free);
            if self.free.available_permits() == 0 {
                self.make_room();
            }
            if let Ok(permit) = tokio::time::timeout(LOOK_AGAIN, free.acquire_owned()).await {
                break permit;
            }
        };
        // The semaphore is never closed.
        self.seat(permit.ok())
    }

    fn seat(
        &self,
        permit: Option<OwnedSemaphorePermit>,
    ) -> (Arc<Seat>, Option<OwnedSemaphorePermit>) {
        let seat = Arc::new(Seat::new());
        self.taken().push(Arc::downgrade(&seat));
        (seat, permit)
    }

    /// Closes the connection that nobody misses, if there is one.
    fn make_room(&self) {
        self.close_one("all connections are taken", |_| true);
    }

    /// Closes a connection on which there never was a call, if there is one. Others are not worth a file: who
    /// has called calls again.
    pub(super) fn free_a_file(&self) {
        self.close_one("no more files can be opened", |seat| {
            !seat.has_called.load(Ordering::Relaxed)
        });
    }

    fn close_one(&self, why: &'static str, suits: impl Fn(&Seat) -> bool) {
        let mut taken = self.taken();
        taken.retain(|seat| seat.strong_count() > 0);
        let quietest = taken
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|seat| seat.is_idle() && !seat.hang_up.is_cancelled() && suits(seat))
            .min_by_key(|seat| (seat.has_called.load(Ordering::Relaxed), *seat.heard()));
        if let Some(seat) = quietest {
            let silent = seat.heard().elapsed().as_secs();
            self.warnings.warn(move |left_out| {
                tracing::warn!(
                    why,
                    silent_seconds = silent,
                    left_out,
                    "closed an idle connection"
                );
            });
            seat.hang_up.cancel();
        }
    }

    fn taken(&self) -> MutexGuard<'_, Vec<Weak<Seat>>> {
        self.taken.lock()
    }
}

impl Seat {
    fn new() -> Self {
        Self {
            heard: Mutex::new(Instant::now()),
            calls: AtomicUsize::new(0),
            has_called: AtomicBool::new(false),
            hang_up: CancellationToken::new(),
        }
    }

    /// A call has begun.
    pub fn begin_call(self: &Arc<Self>) -> Call {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.has_called.store(true, Ordering::Relaxed);
        Call(Arc::clone(self))
    }

    /// Closes the connection.
    pub fn close(&self) {
        self.hang_up.cancel();
    }

    /// The caller has sent something.
    pub(super) fn hear(&self) {
        *self.heard() = Instant::now();
    }

    fn is_idle(&self) -> bool {
        self.calls.load(Ordering::Relaxed) == 0
    }

    fn heard(&self) -> MutexGuard<'_, Instant> {
        self.heard.lock()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn the_one_that_nobody_misses_makes_room() {
        let seats = Seats::new(4 * 4);
        let (busy, _busy) = seats.take().await;
        let _call = busy.begin_call();
        let (used, _used) = seats.take().await;
        drop(used.begin_call());
        let (silent, _silent) = seats.take().await;
        tokio::time::advance(SECOND).await;
        let (newer, _newer) = seats.take().await;
        let closed = || [&busy, &used, &silent, &newer].map(|seat| seat.hang_up.is_cancelled());
        for expected in [
            [false, false, true, false],
            [false, false, true, true],
            [false, true, true, true],
            [false, true, true, true],
        ] {
            seats.make_room();
            assert_eq!(closed(), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_called_gives_no_file_away() {
        let seats = Seats::new(4 * 2);
        let (used, _used) = seats.take().await;
        drop(used.begin_call());
        let (silent, _silent) = seats.take().await;
        for _ in 0..2 {
            seats.free_a_file();
            assert!(silent.hang_up.is_cancelled() && !used.hang_up.is_cancelled());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_everybody_busy_waits_until_one_is_not() {
        let seats = Seats::new(1);
        let (busy, permit) = seats.take().await;
        let call = busy.begin_call();
        assert!(tokio::time::timeout(SECOND, seats.take()).await.is_err());
        drop(call);
        let leaves = async {
            busy.hang_up.cancelled().await;
            drop(permit);
        };
        let next = tokio::time::timeout(SECOND, seats.take());
        assert!(tokio::join!(leaves, next).1.is_ok());
    }
}
