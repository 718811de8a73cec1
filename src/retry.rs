//! [`retry`], a request tried again when that may help: never past the deadline, and never so often
//! that it makes an outage worse.

use std::time::Duration;

use tokio::time::Instant;

/// Requests in all for one thing that is wanted.
const MAX_ATTEMPTS: u32 = 3;
/// The longest wait that a server can ask for and get. Whoever must wait longer is told so at once:
/// the kubelet tries again by itself.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// What a failure says about trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// It would fail the same way.
    No,
    /// It may go well after a short wait.
    Soon,
    /// The server is overloaded, and may have said for how long.
    Throttled(Option<Duration>),
}

/// Does `attempt` until it succeeds, `again` says that it is no use, the attempts are used up, or the
/// next wait would end after `deadline`.
pub async fn retry<T, E, F: Future<Output = Result<T, E>>>(
    deadline: Instant,
    again: impl Fn(&E) -> Again,
    mut attempt: impl FnMut() -> F,
) -> Result<T, E> {
    let mut attempts = 1;
    loop {
        let error = match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let wait = wait_before(attempts, again(&error));
        match wait {
            Some(wait) if attempts < MAX_ATTEMPTS && Instant::now() + wait < deadline => {
                tokio::time::sleep(wait).await;
                attempts += 1;
            }
            _ => return Err(error),
        }
    }
}

/// How long to wait after so many attempts: doubling, with up to half of it at random, so that many
/// mounts that failed at one moment do not come back at one moment.
fn wait_before(attempts: u32, again: Again) -> Option<Duration> {
    let doubling = |first: Duration| {
        let wait = first * 2u32.pow(attempts - 1);
        wait.mul_f64(1.0 + fastrand::f64() / 2.0)
    };
    match again {
        Again::No => None,
        Again::Soon => Some(doubling(Duration::from_millis(100))),
        Again::Throttled(None) => Some(doubling(Duration::from_secs(1))),
        Again::Throttled(Some(wait)) => {
            (wait <= MAX_WAIT).then(|| wait.mul_f64(1.0 + fastrand::f64() / 4.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    async fn attempts(deadline: Duration, again: Again) -> (u32, Duration) {
        let start = Instant::now();
        let mut count = 0;
        let result: Result<(), ()> = retry(
            start + deadline,
            |()| again,
            || {
                count += 1;
                ready(Err(()))
            },
        )
        .await;
        assert!(result.is_err());
        (count, start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_retried_as_often_as_it_may_help() {
        let minute = Duration::from_secs(60);
        assert_eq!(attempts(minute, Again::No).await.0, 1);
        assert_eq!(attempts(minute, Again::Soon).await.0, 3);
        assert_eq!(attempts(minute, Again::Throttled(None)).await.0, 3);
        assert_eq!(
            attempts(minute, Again::Throttled(Some(Duration::from_secs(6))))
                .await
                .0,
            1
        );
        let (count, took) = attempts(minute, Again::Throttled(Some(Duration::from_secs(2)))).await;
        assert!(
            count == 3 && took >= Duration::from_secs(4),
            "{count} {took:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn no_wait_ends_after_the_deadline() {
        let (count, took) = attempts(Duration::from_millis(1500), Again::Throttled(None)).await;
        assert!(
            count <= 2 && took < Duration::from_millis(1500),
            "{count} {took:?}"
        );
        let (count, took) = attempts(Duration::from_millis(50), Again::Soon).await;
        assert_eq!((count, took), (1, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn success_ends_it() {
        let mut count = 0;
        let deadline = Instant::now() + Duration::from_secs(60);
        let result: Result<u32, ()> = retry(
            deadline,
            |()| Again::Soon,
            || {
                count += 1;
                ready(if count == 2 { Ok(count) } else { Err(()) })
            },
        )
        .await;
        assert_eq!(result, Ok(2));
    }
}
