//! [`ImdsQueue`], who may ask IMDS next: its limits are the machine's, and any class may name any identity.
//!
//! A request that reserves its place in the pace stands before all that come later. So only one at a time may wait for
//! the pace, and the others wait in lines of their namespaces: an identity that several want, in the lines of all of these.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::azure::limiter::{Limiter, Turn};
use crate::azure::retry::{Again, Attempts, Retriable, tell};
use crate::class::identity::IdentityId;
use crate::shares::{Kept, Namespace, Place, Places, Rank, Waiters, Weight};

/// The most requests at once for identities that IMDS has given no token yet: less than IMDS takes, so that those which it
/// has given one find a place.
const UNPROVED: usize = 4;
/// The most of them for one namespace: as many as use up the pace where a refusal takes 200 ms.
const UNPROVED_OF_ONE: usize = 3;
/// How long an identity waits that was refused, the first time; it doubles with each refusal.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest such wait.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// The bytes of what is known of refused identities.
const MAX_BYTES: usize = 128 * 1024;

/// Who may ask IMDS next.
#[derive(Debug)]
pub(super) struct ImdsQueue {
    limiter: Arc<Limiter>,
    /// Held as long as one request for an identity that has no token yet.
    unproved: Arc<Places>,
    /// Held while one request waits for the pace.
    door: Arc<Places>,
    refused: Mutex<Kept<Applicant, Refused>>,
}

/// An identity, and the namespace that it is asked for.
type Applicant = (IdentityId, Namespace);

/// How often IMDS has refused an identity in a row.
#[derive(Clone, Copy, Debug)]
struct Refused {
    times: u32,
    until: Instant,
}

impl Weight for Refused {
    fn weight(&self) -> usize {
        // A resource's id, twice.
        2 * 256 + size_of::<Self>()
    }
}

impl ImdsQueue {
    /// A queue before IMDS' own limits.
    pub(super) fn new(limiter: Arc<Limiter>) -> Self {
        Self {
            limiter,
            unproved: Places::new(UNPROVED, UNPROVED_OF_ONE),
            door: Places::new(1, 1),
            refused: Mutex::new(Kept::new(MAX_BYTES)),
        }
    }

    /// Asks for a token of this identity when it is the turn of one that waits for it. One that `is_proved`, since it had a
    /// token before, goes first. Another attempt waits anew.
    pub(super) async fn ask<T, E: Retriable, F: Future<Output = Result<T, E>>>(
        &self,
        identity: &IdentityId,
        is_proved: bool,
        waiters: &Waiters,
        deadline: Instant,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, E> {
        let turn = Turn::default();
        let mut attempts = Attempts::new(deadline);
        loop {
            let line = |namespace| self.line(identity, is_proved, namespace);
            let (unproved, door) = waiters.first(line).await;
            let permit = match self.limiter.enter(&turn, deadline).await {
                Ok(permit) => permit,
                Err(overload) => return Err(attempts.overloaded(overload)),
            };
            // What is sent waits for the pace no longer.
            drop(door);
            let answer = attempt().await;
            tell(permit, answer.as_ref().err());
            drop(unproved);
            let error = match answer {
                Ok(answer) => {
                    self.forgive(identity, waiters);
                    return Ok(answer);
                }
                Err(error) => error,
            };
            if error.again() == Again::No {
                self.refuse(identity, waiters);
            }
            attempts.failed(error).await?;
        }
    }

    /// Waits in the line of one namespace, for a place and for the door.
    async fn line(
        &self,
        identity: &IdentityId,
        is_proved: bool,
        namespace: Namespace,
    ) -> (Option<Place>, Place) {
        let unproved = if is_proved {
            None
        } else {
            let applicant = (identity.clone(), namespace.clone());
            let refused = self.refused.lock().get(&namespace, &applicant).copied();
            if let Some(refused) = refused {
                tokio::time::sleep_until(refused.until).await;
            }
            Some(self.unproved.take(&namespace, Rank::default()).await)
        };
        let rank = Rank {
            order: u64::from(!is_proved),
            age: 0,
        };
        let door = self.door.take(&namespace, rank).await;
        (unproved, door)
    }

    /// Whether IMDS has asked for a pause that is not over.
    pub(super) fn is_paused(&self) -> bool {
        self.limiter.is_paused()
    }

    /// All that waited for the identity wait longer for the next answer.
    fn refuse(&self, identity: &IdentityId, waiters: &Waiters) {
        let mut refused = self.refused.lock();
        for namespace in waiters.all() {
            let applicant = (identity.clone(), namespace.clone());
            let times = refused
                .get(&namespace, &applicant)
                .map_or(0, |refused| refused.times);
            let pause = (FIRST_PAUSE * 2u32.saturating_pow(times)).min(MAX_PAUSE);
            let refusal = Refused {
                times: (times + 1).min(8),
                until: Instant::now() + pause,
            };
            refused.put(&namespace, applicant, refusal);
        }
    }

    fn forgive(&self, identity: &IdentityId, waiters: &Waiters) {
        let mut refused = self.refused.lock();
        for namespace in waiters.all() {
            refused.remove(&(identity.clone(), namespace));
        }
    }
}

#[cfg(test)]
mod tests {
    use azure_core::credentials::AccessToken;
    use futures::FutureExt as _;
    use futures::future::join_all;
    use time::OffsetDateTime;

    use super::*;
    use crate::azure::credential::tokens::Tokens;
    use crate::azure::credential::{TokenError, TokenService};
    use crate::azure::limiter::{Limits, Overload};
    use crate::os::clock::Clock;

    const SECOND: Duration = Duration::from_secs(1);
    /// How long IMDS takes.
    const TAKES: Duration = Duration::from_millis(200);

    #[derive(Debug)]
    struct No;

    impl Retriable for No {
        fn again(&self) -> Again {
            Again::No
        }

        fn overloaded(_: Overload, _: Option<Self>) -> Self {
            Self
        }
    }

    /// A failure that another attempt may end.
    #[derive(Debug)]
    struct Later;

    impl Retriable for Later {
        fn again(&self) -> Again {
            Again::Soon
        }

        fn overloaded(_: Overload, _: Option<Self>) -> Self {
            Self
        }
    }

    /// IMDS, and when it was asked.
    struct Imds {
        queue: ImdsQueue,
        asked: Mutex<Vec<(Instant, Instant)>>,
    }

    impl Imds {
        fn new() -> Arc<Self> {
            let limiter = Limiter::new(Limits::of_imds(), Arc::default());
            Arc::new(Self {
                queue: ImdsQueue::new(limiter),
                asked: Mutex::default(),
            })
        }

        /// Asks for a token. How long it took.
        async fn ask(
            self: Arc<Self>,
            namespace: String,
            identity: String,
            is_proved: bool,
            says: Result<(), ()>,
        ) -> Duration {
            let start = Instant::now();
            let deadline = start + 100 * SECOND;
            let identity = IdentityId::ClientId(identity);
            let waiters = Waiters::new(Namespace::new(&namespace));
            let attempt = || self.answer(says);
            let asking = self
                .queue
                .ask(&identity, is_proved, &waiters, deadline, attempt);
            assert_eq!(asking.await.is_ok(), says.is_ok());
            start.elapsed()
        }

        async fn answer(&self, says: Result<(), ()>) -> Result<(), No> {
            let sent = Instant::now();
            tokio::time::sleep(TAKES).await;
            self.asked.lock().push((sent, Instant::now()));
            says.map_err(|()| No)
        }

        /// Waits in this namespace for the token of an identity that all share.
        async fn share(self: Arc<Self>, tokens: Arc<Tokens>, namespace: &str) -> Duration {
            let start = Instant::now();
            let ask = |waiters| async move {
                let identity = IdentityId::ClientId("shared".into());
                let deadline = start + 100 * SECOND;
                let attempt = || self.answer(Ok(()));
                let asking = self
                    .queue
                    .ask(&identity, false, &waiters, deadline, attempt);
                let service = TokenService::Imds;
                let failed = |_| TokenError::Unreadable { service };
                asking.await.map_err(failed)?;
                Ok(AccessToken {
                    token: "t".into(),
                    expires_on: OffsetDateTime::now_utc() + 3600 * SECOND,
                })
            };
            let getting = tokens.get("scope", &[], ask);
            let token = Namespace::new(namespace).around(getting).await;
            assert!(token.is_some_and(|token| token.is_ok()));
            start.elapsed()
        }

        /// So many identities that are refused, in namespaces that take turns.
        fn flood(
            self: &Arc<Self>,
            identities: usize,
            namespaces: usize,
        ) -> Vec<tokio::task::JoinHandle<Duration>> {
            let refused = (0..identities).map(|n| {
                let namespace = format!("attacker-{}", n % namespaces);
                let asking = Arc::clone(self).ask(namespace, format!("none-{n}"), false, Err(()));
                tokio::spawn(asking)
            });
            refused.collect()
        }

        /// At most 5 requests at once, and 20 in a second.
        fn has_kept_the_limits(&self) {
            let asked = self.asked.lock();
            for (sent, _) in asked.iter() {
                let at_once = asked.iter().filter(|(from, to)| from <= sent && sent < to);
                assert!(at_once.count() <= 5);
                let in_a_second = asked.iter().filter(|(other, _)| {
                    other
                        .checked_duration_since(*sent)
                        .is_some_and(|later| later < SECOND)
                });
                assert!(in_a_second.count() <= 20);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn identities_that_are_refused_hold_up_no_other_namespace() {
        for namespaces in [1, 2, 10] {
            let imds = Imds::new();
            let flood = imds.flood(300, namespaces);
            tokio::time::sleep(SECOND).await;
            for is_proved in [false, true] {
                let good = Arc::clone(&imds).ask("victim".into(), "good".into(), is_proved, Ok(()));
                let took = good.await;
                // Each of the others that waits goes once before it.
                let most = 2 * TAKES + TAKES / 3 * u32::try_from(namespaces).unwrap();
                assert!(took <= most, "{namespaces} {is_proved} {took:?}");
            }
            join_all(flood).await;
            assert_eq!(imds.asked.lock().len(), 302);
            imds.has_kept_the_limits();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_identity_that_a_flooder_asked_for_first_waits_in_the_line_of_each() {
        let imds = Imds::new();
        let flood = imds.flood(300, 1);
        let tokens = Arc::new(Tokens::new(Clock::of_tokio()));
        let of = |namespace| Arc::clone(&imds).share(Arc::clone(&tokens), namespace);
        let of_attacker = tokio::spawn(of("attacker-0"));
        tokio::time::sleep(SECOND).await;
        let took = of("victim").await;
        assert!(took <= 2 * TAKES, "{took:?}");
        assert!(of_attacker.await.unwrap() <= SECOND + 2 * TAKES);
        join_all(flood).await;
        assert_eq!(imds.asked.lock().len(), 301);
        imds.has_kept_the_limits();
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_tried_again_waits_anew() {
        let imds = Imds::new();
        // Two namespaces whose identities fail for long.
        for n in 0..40 {
            let (imds, namespace) = (Arc::clone(&imds), format!("attacker-{}", n % 2));
            tokio::spawn(async move {
                let identity = IdentityId::ClientId(n.to_string());
                let waiters = Waiters::new(Namespace::new(&namespace));
                let deadline = Instant::now() + 45 * SECOND;
                let attempt = || async {
                    tokio::time::sleep(TAKES).await;
                    Err::<(), _>(Later)
                };
                let asking = imds
                    .queue
                    .ask(&identity, false, &waiters, deadline, attempt);
                assert!(asking.await.is_err());
            });
        }
        tokio::time::sleep(SECOND).await;
        let good = Arc::clone(&imds).ask("victim".into(), "good".into(), false, Ok(()));
        let took = good.await;
        assert!(took <= 3 * TAKES, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_namespace_alone_has_the_whole_pace_for_new_identities() {
        let imds = Imds::new();
        let start = Instant::now();
        join_all(imds.flood(30, 1)).await;
        // Five at once, and fifteen in a second.
        assert!(start.elapsed() <= 5 * SECOND / 2, "{:?}", start.elapsed());
        imds.has_kept_the_limits();
    }

    #[tokio::test(start_paused = true)]
    async fn identities_that_have_worked_go_first_in_their_own_namespace_too() {
        let imds = Imds::new();
        let _flood = imds.flood(300, 1);
        tokio::time::sleep(SECOND).await;
        let proved = Arc::clone(&imds).ask("attacker-0".into(), "good".into(), true, Ok(()));
        let took = proved.await;
        assert!(took <= 2 * TAKES, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_alone_has_all_that_imds_gives() {
        let imds = Imds::new();
        let start = Instant::now();
        let good = (0..20).map(|n| Arc::clone(&imds).ask("a".into(), n.to_string(), true, Ok(())));
        join_all(good).await;
        assert!(
            start.elapsed() <= SECOND + 2 * TAKES,
            "{:?}",
            start.elapsed()
        );
        imds.has_kept_the_limits();
    }

    #[tokio::test(start_paused = true)]
    async fn each_refusal_makes_the_next_one_wait_longer() {
        let imds = Imds::new();
        let ask = |namespace: &str, says| {
            Arc::clone(&imds).ask(namespace.to_owned(), "x".to_owned(), false, says)
        };
        let mut waited = FIRST_PAUSE;
        assert_eq!(ask("a", Err(())).await, TAKES);
        for _ in 0..8 {
            assert_eq!(ask("a", Err(())).await, waited + TAKES);
            waited = (2 * waited).min(MAX_PAUSE);
        }
        // Another namespace has not been refused, and what works is forgiven.
        assert_eq!(ask("b", Err(())).await, TAKES);
        assert_eq!(ask("a", Ok(())).await, MAX_PAUSE);
        assert_eq!(ask("a", Ok(())).await, TAKES);
        // Who gives up while it waits has taken nothing.
        assert!(ask("a", Ok(())).now_or_never().is_none());
        assert_eq!(ask("a", Ok(())).await, TAKES);
    }
}
