//! The emulator's clock: the system's, plus an offset that tests move to see tokens expire.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use time::OffsetDateTime;

/// In seconds.
const CENTURY: i64 = 100 * 365 * 86_400;

/// One emulator's clock.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    offset: AtomicI64,
}

impl Clock {
    pub(crate) fn now(&self) -> OffsetDateTime {
        let now = OffsetDateTime::now_utc();
        now.checked_add(time::Duration::seconds(self.offset()))
            .unwrap_or(now)
    }

    /// Seconds since 1970.
    pub(crate) fn unix(&self) -> i64 {
        self.now().unix_timestamp()
    }

    /// A century at most at a time, which outlives everything here and overflows nothing.
    pub(crate) fn advance(&self, by: Duration) {
        let seconds = i64::try_from(by.as_secs()).map_or(CENTURY, |by| by.min(CENTURY));
        self.offset.fetch_add(seconds, Ordering::Relaxed);
    }

    /// Back to the system's time.
    pub(crate) fn reset(&self) {
        self.offset.store(0, Ordering::Relaxed);
    }

    fn offset(&self) -> i64 {
        self.offset.load(Ordering::Relaxed)
    }
}
