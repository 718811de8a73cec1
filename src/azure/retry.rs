//! [`retry`], a request tried again when that may help: never past the deadline, and never so often
//! that it makes an outage worse.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::azure::limiter::{Limiter, Overload, Permit, Turn};

/// Requests in all for one thing that is wanted from a server that fails.
const MAX_ATTEMPTS: u32 = 3;
/// Requests in all for one thing that fails by chance, before they are even sent.
const MAX_CHANCES: u32 = 5;
/// Requests in all for one thing that is wanted from a server that asks for pauses. The limiter sees to the
/// pauses.
const MAX_THROTTLED: u32 = 4;

/// What a failure says about trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// It would fail the same way.
    No,
    /// It was chance, and may go well at once.
    Now,
    /// It may go well after a short wait, and is no use after that.
    Once,
    /// It may go well after a short wait.
    Soon,
    /// The server is asked too much, and may have said for how long.
    Throttled(Option<Duration>),
    /// The server is out of order, and has said for how long.
    Unavailable(Duration),
}

/// A failure that knows about trying again.
pub trait Retriable: Sized {
    /// What it says about that.
    fn again(&self) -> Again;

    /// There is no more time to wait for the server's limits; `last` is what it said to this request, if it
    /// was asked.
    fn overloaded(overload: Overload, last: Option<Self>) -> Self;
}

/// Does `attempt` when the limiter lets it, until it succeeds, its failure says that it is no use, the
/// attempts are used up, or the next wait would end after `deadline`.
pub async fn retry<T, E: Retriable, F: Future<Output = Result<T, E>>>(
    limiter: &Arc<Limiter>,
    turn: &Turn,
    deadline: Instant,
    mut attempt: impl FnMut() -> F,
) -> Result<T, E> {
    let mut attempts = Attempts::new(deadline);
    loop {
        let permit = match limiter.enter(turn, deadline).await {
            Ok(permit) => permit,
            Err(overload) => return Err(attempts.overloaded(overload)),
        };
        let result = attempt().await;
        tell(permit, result.as_ref().err());
        match result {
            Ok(value) => return Ok(value),
            Err(error) => attempts.failed(error).await?,
        }
    }
}

/// Tells the limiter what came of a request.
pub fn tell<E: Retriable>(permit: Permit, failure: Option<&E>) {
    match failure.map_or(Again::No, Retriable::again) {
        Again::No | Again::Now => permit.answered(),
        // Nobody else waits for this.
        Again::Once | Again::Soon => drop(permit),
        Again::Throttled(retry_after) => permit.throttled(retry_after),
        Again::Unavailable(retry_after) => permit.unavailable(retry_after),
    }
}

/// The attempts at one thing that is wanted.
#[derive(Debug)]
pub struct Attempts<E> {
    made: u32,
    deadline: Instant,
    last: Option<E>,
}

impl<E: Retriable> Attempts<E> {
    /// None yet; the last one has to begin before the deadline.
    pub fn new(deadline: Instant) -> Self {
        Self {
            made: 0,
            deadline,
            last: None,
        }
    }

    /// One has failed. Waits until another one may go well, or returns why it is no use.
    pub async fn failed(&mut self, error: E) -> Result<(), E> {
        self.made += 1;
        let again = error.again();
        let most = match again {
            Again::No => 1,
            Again::Now => MAX_CHANCES,
            Again::Once => 2,
            Again::Soon | Again::Unavailable(_) => MAX_ATTEMPTS,
            Again::Throttled(_) => MAX_THROTTLED,
        };
        if self.made >= most {
            return Err(error);
        }
        if matches!(again, Again::Once | Again::Soon) {
            let wait = wait_before(self.made);
            if Instant::now() + wait >= self.deadline {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
        }
        self.last = Some(error);
        Ok(())
    }

    /// There is no more time to wait for the server's limits.
    pub fn overloaded(self, overload: Overload) -> E {
        E::overloaded(overload, self.last)
    }
}

/// How long to wait after so many attempts: doubling, with up to half of it at random, so that many
/// mounts that failed at one moment do not come back at one moment.
pub fn wait_before(attempts: u32) -> Duration {
    let wait = Duration::from_millis(100) * 2u32.pow(attempts.min(10) - 1);
    wait.mul_f64(1.0 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::sync::Arc;

    use super::*;
    use crate::azure::limiter::Limits;

    /// A failure, and whether it is the limiter's.
    #[derive(Debug, PartialEq, Eq)]
    struct Failure(Again, bool);

    impl Retriable for Failure {
        fn again(&self) -> Again {
            self.0
        }

        fn overloaded(_: Overload, last: Option<Self>) -> Self {
            Self(last.map_or(Again::No, |last| last.0), true)
        }
    }

    async fn attempts(deadline: Duration, again: Again) -> (u32, Duration, bool) {
        let start = Instant::now();
        let limiter = Limiter::new(Limits::of_vault(1, 1), Arc::default());
        let mut count = 0;
        let result: Result<(), Failure> =
            retry(&limiter, &Turn::default(), start + deadline, || {
                count += 1;
                ready(Err(Failure(again, false)))
            })
            .await;
        (count, start.elapsed(), result.unwrap_err().1)
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_retried_as_often_as_it_may_help() {
        let minute = Duration::from_secs(60);
        assert_eq!(attempts(minute, Again::No).await.0, 1);
        let (count, took, _) = attempts(minute, Again::Now).await;
        assert_eq!((count, took), (5, Duration::ZERO));
        assert_eq!(attempts(minute, Again::Once).await.0, 2);
        assert_eq!(attempts(minute, Again::Soon).await.0, 3);
        assert_eq!(attempts(minute, Again::Throttled(None)).await.0, 4);
        let two = Duration::from_secs(2);
        let (count, took, _) = attempts(minute, Again::Throttled(Some(two))).await;
        assert!(count == 4 && took >= 3 * two, "{count} {took:?}");
        let (count, took, _) = attempts(minute, Again::Unavailable(two)).await;
        assert!(count == 3 && took >= 2 * two, "{count} {took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn no_wait_ends_after_the_deadline() {
        let short = Duration::from_millis(1800);
        let (count, took, overloaded) = attempts(short, Again::Throttled(None)).await;
        assert!(count == 2 && took < short && overloaded, "{count} {took:?}");
        let ten = Some(Duration::from_secs(10));
        let (count, took, overloaded) = attempts(short, Again::Throttled(ten)).await;
        assert_eq!((count, took, overloaded), (1, Duration::ZERO, true));
        let (count, took, overloaded) = attempts(Duration::from_millis(50), Again::Soon).await;
        assert_eq!((count, took, overloaded), (1, Duration::ZERO, false));
    }

    #[test]
    fn waits_double_and_differ() {
        for (attempts, least) in [(1, 100), (2, 200), (3, 400)] {
            let least = Duration::from_millis(least);
            let mut waits: Vec<_> = (0..20).map(|_| wait_before(attempts)).collect();
            assert!(
                waits
                    .iter()
                    .all(|wait| *wait >= least && *wait <= least * 3 / 2)
            );
            waits.sort_unstable();
            waits.dedup();
            assert!(waits.len() > 10, "{waits:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn success_ends_it() {
        let limiter = Limiter::new(Limits::of_vault(1, 1), Arc::default());
        let mut count = 0;
        let deadline = Instant::now() + Duration::from_secs(60);
        let result = retry(&limiter, &Turn::default(), deadline, || {
            count += 1;
            ready(if count == 2 {
                Ok(count)
            } else {
                Err(Failure(Again::Soon, false))
            })
        })
        .await;
        assert_eq!(result, Ok(2));
    }
}
