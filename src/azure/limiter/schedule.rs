//! [`Schedule`], when requests may go: not within a pause, and no faster than a pace.

use std::time::Duration;

use tokio::time::Instant;

use super::{Limits, Overload, Pace};

/// The first wait where a server throttles and does not say for how long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest such wait. A vault counts requests over so long, so that another one may go by then.
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// The longest wait that a server gets by asking for it: a wrong answer must not shut a vault for a day.
pub(super) const MAX_RETRY_AFTER: Duration = Duration::from_secs(120);
/// The pace after the first 429, in requests per second: half of what is documented, since others ask too.
const FIRST_RATE: f64 = 200.0;
/// The pace of Key Vault's limit, in requests per second. Whoever is back at it needs none.
const FULL_RATE: f64 = 400.0;
/// What a second in which requests go well multiplies the pace by.
const RAISE: f64 = 1.5;
/// The time between two raises.
const RAISE_STEP: Duration = Duration::from_secs(1);
/// How long after the last 429, and the pause that came with it, there is no pace any more.
pub(super) const FORGET_PACE: Duration = Duration::from_secs(30);

/// When requests may go.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// Nothing goes before.
    pause_end: Option<Instant>,
    /// The end of the last pause that the server asked for by saying how long, as it said it.
    asked_end: Option<Instant>,
    /// Whether the server asked for the pause since it is out of order.
    is_outage: bool,
    /// What the last 429 taught.
    throttled: Option<Throttled>,
    /// When the next request would go if every one had kept its interval.
    next: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Throttled {
    at: Instant,
    in_a_row: u32,
    /// Requests per second from now on.
    rate: f64,
    /// When the rate was last changed.
    changed: Instant,
}

/// What a 429 teaches.
enum Lesson {
    /// Its request was under way when the one before came, which taught the same.
    Known,
    /// So many in a row.
    New { in_a_row: u32 },
}

impl Schedule {
    /// The moment at which the next request may go, and the interval that it takes of the pace, if there is one.
    pub(super) fn reserve(
        &mut self,
        limits: &Limits,
        deadline: Instant,
    ) -> Result<(Instant, Option<Duration>), Overload> {
        let now = Instant::now();
        let after_pause = self.pause_end(now).unwrap_or(now);
        let Some(pace) = limits.pace.or_else(|| self.learned_pace(now)) else {
            let start = self.within(deadline, now, after_pause, limits)?;
            return Ok((start, None));
        };
        let next = self.next.unwrap_or(now).max(after_pause);
        // The burst is what may go before its interval has come.
        let ahead = pace.interval * (pace.burst - 1);
        let start = next.checked_sub(ahead).unwrap_or(now).max(after_pause);
        let start = self.within(deadline, now, start, limits)?;
        self.next = Some(next.max(start) + pace.interval);
        Ok((start, Some(pace.interval)))
    }

    /// Whether there is a pace, where a request that comes behind so many others may go before the deadline.
    pub(super) fn admit(
        &mut self,
        limits: &Limits,
        ahead: usize,
        deadline: Instant,
    ) -> Result<bool, Overload> {
        let now = Instant::now();
        let after_pause = self.pause_end(now).unwrap_or(now);
        let pace = limits.pace.or_else(|| self.learned_pace(now));
        let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
        let interval = pace.map_or(Duration::ZERO, |pace| pace.interval);
        let start = after_pause + interval.saturating_mul(ahead);
        self.within(deadline, now, start, limits)?;
        Ok(pace.is_some())
    }

    /// An interval that was taken, and not used.
    pub(super) fn give_back(&mut self, interval: Duration) {
        self.next = self.next.and_then(|next| next.checked_sub(interval));
    }

    /// The end of the pause, where there is one.
    pub(super) fn pause_end(&self, now: Instant) -> Option<Instant> {
        self.pause_end.filter(|end| *end > now)
    }

    /// The end of the pause that the server asked for in so many seconds, where it is not over.
    pub(super) fn asked_end(&self, now: Instant) -> Option<Instant> {
        self.asked_end.filter(|end| *end > now)
    }

    /// Whether it holds no request back.
    pub(super) fn is_idle(&mut self, now: Instant) -> bool {
        self.pause_end(now).is_none() && self.learned_pace(now).is_none()
    }

    /// Whether there was a 429 within the last `window`.
    pub(super) fn was_throttled(&self, now: Instant, window: Duration) -> bool {
        self.throttled
            .is_some_and(|throttled| now - throttled.at <= window)
    }

    /// When it last learned something, to tell which one to forget.
    pub(super) fn last_lesson(&self) -> Option<Instant> {
        let throttled = self.throttled.map(|throttled| throttled.at);
        throttled.max(self.pause_end)
    }

    fn within(
        &self,
        deadline: Instant,
        now: Instant,
        start: Instant,
        limits: &Limits,
    ) -> Result<Instant, Overload> {
        if start < deadline || start <= now {
            return Ok(start);
        }
        Err(Overload {
            limit: limits.limit,
            wait: start - now,
            is_outage: self.is_outage && self.pause_end(now).is_some(),
        })
    }

    fn learned_pace(&mut self, now: Instant) -> Option<Pace> {
        let throttled = self.throttled?;
        let since = self
            .pause_end
            .map_or(throttled.at, |end| end.max(throttled.at));
        if throttled.rate >= FULL_RATE || now.saturating_duration_since(since) > FORGET_PACE {
            self.throttled = None;
            // Nor do those who waited hold up who comes next.
            self.next = None;
            return None;
        }
        Some(Pace {
            burst: 1,
            interval: Duration::from_secs_f64(1.0 / throttled.rate),
        })
    }

    /// A request that went at `sent` went well.
    pub(super) fn raise(&mut self, sent: Instant) {
        let now = Instant::now();
        let Some(throttled) = &mut self.throttled else {
            return;
        };
        // Those that were under way when the vault throttled say nothing about now.
        if sent < throttled.at {
            return;
        }
        throttled.in_a_row = 0;
        let since = self.pause_end.max(Some(throttled.changed));
        if since.is_some_and(|since| now.saturating_duration_since(since) >= RAISE_STEP) {
            throttled.rate *= RAISE;
            throttled.changed = now;
        }
    }

    /// A request that went at `sent` was throttled.
    pub(super) fn pause(&mut self, sent: Instant, retry_after: Option<Duration>, min_rate: f64) {
        let pause = match (retry_after, self.learn(sent, min_rate)) {
            (Some(asked), _) => return self.pause_as_asked(asked, false),
            (None, Lesson::Known) => return,
            (None, Lesson::New { in_a_row }) => {
                (FIRST_PAUSE * 2u32.saturating_pow(in_a_row - 1)).min(MAX_PAUSE)
            }
        };
        self.pause_until(Instant::now() + jittered(pause));
        self.is_outage = false;
    }

    /// The same without a pause: requests only go slower.
    pub(super) fn slow(&mut self, sent: Instant, min_rate: f64) {
        self.learn(sent, min_rate);
    }

    /// The server asks for so long a pause, and may be out of order.
    pub(super) fn pause_as_asked(&mut self, asked: Duration, is_outage: bool) {
        let asked = asked.min(MAX_RETRY_AFTER);
        let now = Instant::now();
        self.asked_end = self.asked_end.max(Some(now + asked));
        self.pause_until(now + jittered(asked));
        self.is_outage = is_outage;
    }

    /// Nothing goes before `end`, as several have been told.
    pub(super) fn pause_with(&mut self, end: Instant, is_outage: bool) {
        let left = end.saturating_duration_since(Instant::now());
        self.pause_until(Instant::now() + jittered(left));
        self.is_outage = is_outage;
    }

    fn pause_until(&mut self, end: Instant) {
        self.pause_end = self.pause_end.max(Some(end));
    }

    fn learn(&mut self, sent: Instant, min_rate: f64) -> Lesson {
        let at = Instant::now();
        // Those that were under way when the pause began say nothing new.
        let (in_a_row, rate) = match self.throttled {
            Some(last) if last.at >= sent => return Lesson::Known,
            Some(last) => (last.in_a_row + 1, (last.rate / 2.0).max(min_rate)),
            None => (1, FIRST_RATE),
        };
        self.throttled = Some(Throttled {
            at,
            in_a_row,
            rate,
            changed: at,
        });
        Lesson::New { in_a_row }
    }
}

/// Up to a quarter more, so that the nodes of a cluster do not come back at one moment.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(1.0 + fastrand::f64() / 4.0)
}
