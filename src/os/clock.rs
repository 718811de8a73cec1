//! [`Clock`], the time of day, handed to whatever compares it with the end of a token or of a proof.

use time::OffsetDateTime;
use tokio::time::Instant;

/// The time of day.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// When it was what time, for a clock that goes as tokio's does. Any other one is the machine's.
    start: Option<(Instant, OffsetDateTime)>,
}

impl Clock {
    /// One that stands still where a test has stopped tokio's.
    #[cfg(test)]
    pub fn of_tokio() -> Self {
        Self {
            start: Some((Instant::now(), OffsetDateTime::now_utc())),
        }
    }

    /// The time now.
    pub fn now(self) -> OffsetDateTime {
        match self.start {
            Some((start, then)) => then + start.elapsed(),
            None => OffsetDateTime::now_utc(),
        }
    }
}
