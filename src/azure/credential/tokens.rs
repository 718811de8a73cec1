//! [`Tokens`] of one identity: each is asked for once, however many mounts wait for it, and also when that
//! fails.
//!
//! A request for a token belongs to nobody who waits for it: it goes on when a mount ends. Its failure is
//! everyone's who waits, and the next one is asked for a step later, so that a service that fails sees one
//! request per identity and step, whether one pod starts or a hundred. Where the request has to wait, it does so in the
//! lines of all namespaces that wait for it.
//!
//! A vault that does not take a token says nothing about the token at other vaults: any vault may answer so, an
//! attacker's too. So the token stays, and another one is asked for beside it, for those who are rejected.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use azure_core::credentials::AccessToken;
use azure_core::time::OffsetDateTime;
use futures::FutureExt as _;
use futures::future::{BoxFuture, OptionFuture, Shared};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::azure::credential::{TokenError, sha256};
use crate::azure::retry::{Again, Retriable as _, wait_before};
use crate::observe::traces;
use crate::os::clock::Clock;
use crate::shares::{Namespace, Waiters};

/// How long before its end a token is replaced, while it still serves.
const RENEWAL: Duration = Duration::from_secs(300);
/// How long before its end a token serves no more: the vault's clock is another one.
const MARGIN: Duration = Duration::from_secs(30);
/// The least time between two requests for a token that is refused.
const REFUSED_STEP: Duration = Duration::from_millis(100);
/// The most doublings of the time between two requests to a service that fails: 3 to 5 seconds.
const MAX_DOUBLINGS: u32 = 6;
/// The least time between two requests for a token beside the one that serves, however many vaults reject it.
const BESIDE_STEP: Duration = Duration::from_secs(3);
/// The same for one vault.
const STEP_OF_VAULT: Duration = Duration::from_secs(300);
/// The same for one vault after a request that failed.
const FAILED_STEP_OF_VAULT: Duration = Duration::from_secs(30);
/// The most scopes of one identity. There is one per cloud.
const MAX_SCOPES: usize = 8;

/// The SHA-256 digest of a token.
pub(super) type Digest = [u8; 32];
type Result = std::result::Result<AccessToken, TokenError>;

/// A request for a token.
#[derive(Clone)]
struct Flight {
    /// Its end. None where it panicked.
    landed: Shared<BoxFuture<'static, Option<Result>>>,
    waiters: Waiters,
}

/// The tokens of one identity, by scope.
pub(super) struct Tokens {
    slots: Arc<Mutex<HashMap<String, Slot>>>,
    clock: Clock,
}

/// The token for one scope.
#[derive(Default)]
struct Slot {
    token: Option<HeldToken>,
    flight: Option<Flight>,
    /// Failures since the last success.
    failures: u32,
    /// When the next request may go.
    next: Option<Instant>,
    /// For vaults that have rejected the token.
    beside: Beside,
}

/// A token beside the one that serves.
#[derive(Default)]
struct Beside {
    token: Option<HeldToken>,
    flight: Option<Flight>,
    /// When the next request may go.
    next: Option<Instant>,
}

/// Until when a vault that rejects tokens has no other one asked for.
#[derive(Debug, Default)]
pub(super) struct Step(Mutex<Option<Instant>>);

/// A token, and until when it is used.
struct HeldToken {
    token: AccessToken,
    digest: Digest,
    renewal: OffsetDateTime,
    end: OffsetDateTime,
}

/// What a slot has for whoever comes now.
enum Find {
    Token(AccessToken),
    Flight(Flight),
}

impl Tokens {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            slots: Arc::default(),
            clock,
        }
    }

    /// The known token, or the one that is being asked for, or one that is asked for now. None where that
    /// panicked. One of those that are `rejected` only where there is no other.
    pub(super) async fn get<F>(
        &self,
        scope: &str,
        rejected: &[Digest],
        ask: impl FnOnce(Waiters) -> F,
    ) -> Option<Result>
    where
        F: Future<Output = Result> + Send + 'static,
    {
        let find = self.find(scope, rejected, ask);
        match find {
            Find::Token(token) => Some(Ok(token)),
            Find::Flight(flight) => flight.landed.await,
        }
    }

    /// Whether those who want a token for this scope, other than those that are `rejected`, wait for it. Nobody waits
    /// for the successor of one that serves, nor for another scope's.
    pub(super) fn is_awaited(&self, scope: &str, rejected: &[Digest]) -> bool {
        let now = self.clock.now();
        let slots = self.slots.lock();
        let Some(slot) = slots.get(scope) else {
            return false;
        };
        match slot.serving(now) {
            None => slot.flight.is_some(),
            Some(_) => slot.beside.flight.is_some() && slot.accepted(now, rejected).is_none(),
        }
    }

    /// Sees to it that there is a token other than those that are `rejected` by a vault, and says whether there is one.
    /// The one that serves others is left alone.
    pub(super) async fn replace<F>(
        &self,
        scope: &str,
        rejected: &[Digest],
        step: &Step,
        ask: impl FnOnce(Waiters) -> F,
    ) -> bool
    where
        F: Future<Output = Result> + Send + 'static,
    {
        if let Some(flight) = self.replacing(scope, rejected, step, ask) {
            let has_come = matches!(flight.landed.await, Some(Ok(_)));
            step.begin(if has_come {
                STEP_OF_VAULT
            } else {
                FAILED_STEP_OF_VAULT
            });
        }
        self.has_other(scope, rejected)
    }

    /// Whether there is a token for this scope that serves, other than those that are `rejected`.
    pub(super) fn has_other(&self, scope: &str, rejected: &[Digest]) -> bool {
        let now = self.clock.now();
        let slots = self.slots.lock();
        let slot = slots.get(scope);
        slot.is_some_and(|slot| slot.accepted(now, rejected).is_some())
    }

    /// The request for another token, where one is needed and may go.
    fn replacing<F>(
        &self,
        scope: &str,
        rejected: &[Digest],
        step: &Step,
        ask: impl FnOnce(Waiters) -> F,
    ) -> Option<Flight>
    where
        F: Future<Output = Result> + Send + 'static,
    {
        let mut slots = self.slots.lock();
        let slot = slots.get_mut(scope)?;
        let now = self.clock.now();
        // Where none serves, whoever comes next asks for one.
        if slot.serving(now).is_none() || slot.accepted(now, rejected).is_some() {
            return None;
        }
        if let Some(flight) = &slot.beside.flight {
            return Some(flight.join());
        }
        if !step.is_over() {
            return None;
        }
        step.begin(FAILED_STEP_OF_VAULT);
        // Other vaults may have rejected it a moment ago, and anyone can have such a vault.
        let next = slot.beside.next;
        let ask = |waiters| traces::here(ask(waiters));
        let flight = self.fly(scope, next, ask, Slot::land_beside);
        slot.beside.flight = Some(flight.clone());
        Some(flight)
    }

    /// Whether there is a token that serves and is not among these.
    pub(super) fn are_there_but(&self, rejected: &[Digest]) -> bool {
        let now = self.clock.now();
        let slots = self.slots.lock();
        let mut slots = slots.values();
        slots.any(|slot| slot.accepted(now, rejected).is_some())
    }

    /// Whether the next request may not go yet.
    pub(super) fn must_wait(&self) -> bool {
        let now = Instant::now();
        let slots = self.slots.lock();
        slots
            .values()
            .any(|slot| slot.next.is_some_and(|next| now < next))
    }

    /// The bytes of the tokens.
    pub(super) fn weight(&self) -> usize {
        let slots = self.slots.lock();
        let kept = slots
            .values()
            .flat_map(|slot| [&slot.token, &slot.beside.token]);
        kept.flatten()
            .map(|kept| kept.token.token.secret().len())
            .sum()
    }

    fn find<F>(&self, scope: &str, rejected: &[Digest], ask: impl FnOnce(Waiters) -> F) -> Find
    where
        F: Future<Output = Result> + Send + 'static,
    {
        let mut slots = self.slots.lock();
        if slots.len() >= MAX_SCOPES && !slots.contains_key(scope) {
            slots.clear();
        }
        let slot = slots.entry(scope.to_owned()).or_default();
        let now = self.clock.now();
        slot.promote(now);
        // The one that serves is renewed in its time whoever comes, and serves whom it is good for.
        let serving = slot.serving(now).map(|kept| {
            let accepted = slot.accepted(now, rejected).unwrap_or(kept);
            (accepted.token.clone(), now < kept.renewal)
        });
        if let Some((token, true)) = serving {
            return Find::Token(token);
        }
        let too_early = slot.next.is_some_and(|next| Instant::now() < next);
        match (serving, &slot.flight) {
            // What still serves need not be waited for.
            (Some((token, _)), Some(_)) => Find::Token(token),
            (Some((token, _)), None) if too_early => Find::Token(token),
            (Some((token, _)), None) => {
                slot.flight = Some(self.fly(scope, slot.next, ask, Slot::land));
                Find::Token(token)
            }
            (None, Some(flight)) => Find::Flight(flight.join()),
            (None, None) => {
                let ask = |waiters| traces::here(ask(waiters));
                let flight = self.fly(scope, slot.next, ask, Slot::land);
                slot.flight = Some(flight.clone());
                Find::Flight(flight)
            }
        }
    }

    /// Asks from then on, as a task of its own.
    fn fly<F>(
        &self,
        scope: &str,
        next: Option<Instant>,
        ask: impl FnOnce(Waiters) -> F,
        land: fn(&mut Slot, Option<&Result>, OffsetDateTime),
    ) -> Flight
    where
        F: Future<Output = Result> + Send + 'static,
    {
        let waiters = Waiters::new(Namespace::current());
        let asking = ask(waiters.clone());
        let (slots, scope) = (Arc::clone(&self.slots), scope.to_owned());
        let clock = self.clock;
        // No `async` block, which would store the future twice.
        let asking = AssertUnwindSafe(asking).catch_unwind();
        let landing = OptionFuture::from(next.map(tokio::time::sleep_until))
            .then(|_| asking)
            .map(move |result| {
                let result = result.ok();
                let now = clock.now();
                let mut slots = slots.lock();
                land(slots.entry(scope).or_default(), result.as_ref(), now);
                result
            });
        // What it takes beside its place in the lines, the one that asked first pays.
        let task = tokio::spawn(Namespace::current().around(landing));
        let landed = task.map(|result| result.ok().flatten()).boxed().shared();
        Flight { landed, waiters }
    }
}

impl Flight {
    /// The namespace that is served here waits for it too.
    fn join(&self) -> Self {
        self.waiters.join(Namespace::current());
        self.clone()
    }
}

impl Step {
    fn is_over(&self) -> bool {
        self.0.lock().is_none_or(|end| end <= Instant::now())
    }

    fn begin(&self, length: Duration) {
        let mut end = self.0.lock();
        *end = (*end).max(Some(Instant::now() + length));
    }
}

impl Slot {
    /// The token, where it serves.
    fn serving(&self, now: OffsetDateTime) -> Option<&HeldToken> {
        self.token.as_ref().filter(|kept| now < kept.end)
    }

    /// The newest token that serves and is not among these.
    fn accepted(&self, now: OffsetDateTime, rejected: &[Digest]) -> Option<&HeldToken> {
        let beside = self.beside.token.as_ref().filter(|kept| now < kept.end);
        let both = self.serving(now).into_iter().chain(beside);
        let mut accepted = both.filter(|kept| !rejected.contains(&kept.digest));
        accepted.next()
    }

    /// Puts the token beside in the place of the one that serves, where that would have to be renewed.
    fn promote(&mut self, now: OffsetDateTime) {
        let is_fresh =
            |kept: &Option<HeldToken>| kept.as_ref().is_some_and(|kept| now < kept.renewal);
        if !is_fresh(&self.token) && is_fresh(&self.beside.token) {
            self.token = self.beside.token.take();
        }
    }

    /// A request for a token beside the one that serves has ended. It changes nothing for who is served.
    fn land_beside(&mut self, result: Option<&Result>, now: OffsetDateTime) {
        self.beside.flight = None;
        self.beside.next = Some(Instant::now() + BESIDE_STEP);
        let Some(Ok(token)) = result else { return };
        let held = HeldToken::new(token.clone(), now);
        // IMDS mostly has the same one still.
        let is_other = |token: &HeldToken| token.digest != held.digest;
        if self.token.as_ref().is_none_or(is_other) {
            self.beside.token = Some(held);
        }
    }

    /// A request has ended.
    fn land(&mut self, result: Option<&Result>, now: OffsetDateTime) {
        self.flight = None;
        if let Some(Ok(token)) = result {
            self.token = Some(HeldToken::new(token.clone(), now));
            self.failures = 0;
            self.next = None;
            return;
        }
        self.failures = (self.failures + 1).min(MAX_DOUBLINGS);
        let refused = matches!(result, Some(Err(error)) if error.again() == Again::No);
        let step = if refused {
            REFUSED_STEP
        } else {
            wait_before(self.failures)
        };
        self.next = Some(Instant::now() + step);
    }
}

impl HeldToken {
    /// A token that came now. One that lives for minutes only is used for most of them.
    fn new(token: AccessToken, now: OffsetDateTime) -> Self {
        let life = token.expires_on - now;
        let life = Duration::try_from(life).unwrap_or_default();
        Self {
            renewal: token.expires_on - RENEWAL.min(life / 2),
            end: token.expires_on - MARGIN.min(life / 4),
            digest: sha256(token.token.secret().as_bytes()),
            token,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::future::join_all;

    use super::*;
    use crate::azure::credential::TokenService;
    use crate::transport::TransportError;

    const SECOND: Duration = Duration::from_secs(1);

    /// What a service answers: a token that lives so long, or a failure.
    #[derive(Clone, Copy)]
    enum Says {
        Token(Duration),
        Refused,
        Down,
        Panic,
    }

    /// A service that counts its requests.
    #[derive(Clone)]
    struct Service {
        requests: Arc<AtomicU32>,
        clock: Clock,
    }

    /// No tokens, and a service, with one clock.
    fn none() -> (Tokens, Service) {
        let clock = Clock::of_tokio();
        let service = Service {
            requests: Arc::default(),
            clock,
        };
        (Tokens::new(clock), service)
    }

    impl Service {
        fn requests(&self) -> u32 {
            self.requests.load(Ordering::Relaxed)
        }

        fn ask(&self, says: Says) -> impl Future<Output = Result> + Send + 'static {
            let (count, clock) = (Arc::clone(&self.requests), self.clock);
            async move {
                let number = count.fetch_add(1, Ordering::Relaxed) + 1;
                tokio::time::sleep(SECOND / 50).await;
                let service = TokenService::Entra;
                match says {
                    Says::Token(life) => Ok(AccessToken {
                        token: number.to_string().into(),
                        expires_on: clock.now() + life,
                    }),
                    Says::Refused => Err(TokenError::Unreadable { service }),
                    Says::Down => Err(TokenError::Transport {
                        service,
                        source: TransportError::Interrupted {
                            host: "h".into(),
                            problem: "down".into(),
                            source: Arc::new(std::io::Error::other("down")),
                        },
                    }),
                    Says::Panic => panic!("a bug"),
                }
            }
        }
    }

    async fn token(tokens: &Tokens, service: &Service, says: Says) -> Option<String> {
        let result = tokens.get("scope", &[], |_| service.ask(says)).await;
        Some(result?.ok()?.token.secret().to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_who_wait_ask_once() {
        let (tokens, service) = none();
        let ask = |_| token(&tokens, &service, Says::Token(3600 * SECOND));
        let all = join_all((0..100).map(ask)).await;
        assert!(
            all.iter().all(|token| token.as_deref() == Some("1")),
            "{all:?}"
        );
        assert!(!tokens.is_awaited("scope", &[]));
        assert_eq!(ask(0).await.as_deref(), Some("1"));
        assert_eq!(service.requests(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_everyones_and_the_next_request_goes_a_step_later() {
        for (says, first_step, last_step) in [
            (Says::Refused, SECOND / 10, SECOND / 10),
            (Says::Down, SECOND / 10, 5 * SECOND),
            (Says::Panic, SECOND / 10, 5 * SECOND),
        ] {
            let (tokens, service) = none();
            let start = Instant::now();
            let mut took = Duration::ZERO;
            for round in 1..=8 {
                let before = Instant::now();
                let all = join_all((0..100).map(|_| token(&tokens, &service, says))).await;
                assert!(all.iter().all(Option::is_none));
                assert_eq!(service.requests(), round);
                took = before.elapsed();
            }
            assert!(start.elapsed() >= 7 * first_step);
            assert!(took <= last_step + SECOND / 10, "{took:?}");
            let well = token(&tokens, &service, Says::Token(3600 * SECOND)).await;
            assert_eq!(well.as_deref(), Some("9"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_goes_on_without_who_asked() {
        let (tokens, service) = none();
        let says = Says::Token(3600 * SECOND);
        let gone = tokio::time::timeout(SECOND / 100, token(&tokens, &service, says)).await;
        assert!(gone.is_err() && tokens.is_awaited("scope", &[]));
        assert!(!tokens.is_awaited("another scope", &[]));
        assert_eq!(token(&tokens, &service, says).await.as_deref(), Some("1"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_renewed_while_it_serves() {
        let (tokens, service) = none();
        // It lives for less than `RENEWAL`.
        let short = Says::Token(2 * SECOND);
        assert_eq!(token(&tokens, &service, short).await.as_deref(), Some("1"));
        tokio::time::sleep(SECOND + SECOND / 10).await;
        let down = token(&tokens, &service, Says::Down).await;
        assert_eq!(down.as_deref(), Some("1"), "it serves on");
        assert!(
            !tokens.is_awaited("scope", &[]),
            "nobody waits for its successor"
        );
        tokio::time::sleep(SECOND / 10).await;
        assert_eq!(service.requests(), 2);
        tokio::time::sleep(SECOND / 2).await;
        let new = token(&tokens, &service, Says::Token(3600 * SECOND)).await;
        assert_eq!(new.as_deref(), Some("3"), "it has ended");
    }

    fn digests(tokens: &[&str]) -> Vec<Digest> {
        let tokens = tokens.iter();
        tokens.map(|token| sha256(token.as_bytes())).collect()
    }

    /// The token for a vault that has rejected these.
    async fn token_without(tokens: &Tokens, service: &Service, rejected: &[&str]) -> String {
        let ask = |_| service.ask(Says::Token(3600 * SECOND));
        let result = tokens.get("scope", &digests(rejected), ask).await;
        result.unwrap().unwrap().token.secret().to_owned()
    }

    /// Whether there is another token for such a vault.
    async fn replace(
        tokens: &Tokens,
        service: &Service,
        says: Says,
        rejected: &[&str],
        step: &Step,
    ) -> bool {
        let ask = |_| service.ask(says);
        tokens.replace("scope", &digests(rejected), step, ask).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_rejected_token_is_replaced_for_who_rejects_it() {
        let (tokens, service) = none();
        let (says, step) = (Says::Token(3600 * SECOND), Step::default());
        assert_eq!(token_without(&tokens, &service, &[]).await, "1");
        assert!(tokens.are_there_but(&[]));
        let all = (0..100).map(|_| replace(&tokens, &service, says, &["1"], &step));
        assert!(join_all(all).await.iter().all(|has_other| *has_other));
        assert_eq!(service.requests(), 2);
        assert_eq!(token_without(&tokens, &service, &["1"]).await, "2");
        assert_eq!(token_without(&tokens, &service, &[]).await, "1");
        // Whoever rejects all of them gets no third one, for minutes.
        for _ in 0..100 {
            assert!(!replace(&tokens, &service, says, &["1", "2"], &step).await);
        }
        assert_eq!(token_without(&tokens, &service, &["1", "2"]).await, "1");
        assert_eq!(service.requests(), 2);
        tokio::time::advance(STEP_OF_VAULT).await;
        assert!(replace(&tokens, &service, says, &["1", "2"], &step).await);
        assert_eq!(token_without(&tokens, &service, &["1", "2"]).await, "3");
        assert_eq!(token_without(&tokens, &service, &[]).await, "1");
        // The newest of them takes over in time, without another request.
        tokio::time::advance(3250 * SECOND).await;
        assert_eq!(token_without(&tokens, &service, &[]).await, "3");
        assert_eq!(service.requests(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_outlives_its_replacement_is_still_rejected() {
        let ((tokens, service), step) = (none(), Step::default());
        let long = |_| service.ask(Says::Token(5400 * SECOND));
        assert!(tokens.get("scope", &[], long).await.is_some());
        let short = Says::Token(3600 * SECOND);
        assert!(replace(&tokens, &service, short, &["1"], &step).await);
        assert!(tokens.are_there_but(&digests(&["1"])));
        tokio::time::advance(3700 * SECOND).await;
        assert!(tokens.are_there_but(&[]));
        assert!(!tokens.are_there_but(&digests(&["1"])));
    }

    #[tokio::test(start_paused = true)]
    async fn a_replacement_that_fails_changes_nothing() {
        for says in [Says::Down, Says::Refused, Says::Panic] {
            let ((tokens, service), step) = (none(), Step::default());
            assert_eq!(token_without(&tokens, &service, &[]).await, "1");
            for _ in 0..100 {
                assert!(!replace(&tokens, &service, says, &["1"], &step).await);
            }
            assert_eq!(service.requests(), 2);
            assert_eq!(token_without(&tokens, &service, &[]).await, "1");
            assert!(tokens.are_there_but(&[]));
            tokio::time::advance(FAILED_STEP_OF_VAULT).await;
            let well = Says::Token(3600 * SECOND);
            assert!(replace(&tokens, &service, well, &["1"], &step).await);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_replacement_that_is_the_same_token_is_none() {
        let (tokens, service) = none();
        assert_eq!(token_without(&tokens, &service, &[]).await, "1");
        // As IMDS does, which keeps its tokens itself.
        service.requests.store(0, Ordering::Relaxed);
        let (says, step) = (Says::Token(3600 * SECOND), Step::default());
        assert!(!replace(&tokens, &service, says, &["1"], &step).await);
        assert!(!replace(&tokens, &service, says, &["1"], &step).await);
        assert_eq!(service.requests(), 1);
        assert_eq!(token_without(&tokens, &service, &["1"]).await, "1");
    }

    #[tokio::test(start_paused = true)]
    async fn vaults_that_reject_all_tokens_take_no_other_vaults_next_one() {
        let (tokens, service) = none();
        assert_eq!(token_without(&tokens, &service, &[]).await, "1");
        let down = Says::Down;
        // Another vault each time, as anyone can have them.
        for _ in 0..5 {
            let of_attacker = Step::default();
            assert!(!replace(&tokens, &service, down, &["1"], &of_attacker).await);
        }
        // They share a request each few seconds, whichever vault it is.
        assert_eq!(service.requests(), 6);
        let (start, well, step) = (Instant::now(), Says::Token(3600 * SECOND), Step::default());
        assert!(replace(&tokens, &service, well, &["1"], &step).await);
        assert!(start.elapsed() <= BESIDE_STEP + SECOND);
        assert!(!replace(&tokens, &service, well, &["1", "7"], &step).await);
        assert_eq!(service.requests(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn scopes_are_few() {
        let (tokens, service) = none();
        for number in 0..100 {
            let ask = |_| service.ask(Says::Token(3600 * SECOND));
            let scope = format!("scope {number}");
            assert!(
                tokens
                    .get(&scope, &[], ask)
                    .await
                    .is_some_and(|token| token.is_ok())
            );
        }
        assert!(tokens.slots.lock().len() <= MAX_SCOPES);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_serves_until_half_a_minute_before_its_end() {
        let (tokens, service) = none();
        let hour = Says::Token(3600 * SECOND);
        assert_eq!(token(&tokens, &service, hour).await.as_deref(), Some("1"));
        tokio::time::advance(3298 * SECOND).await;
        assert_eq!(token(&tokens, &service, hour).await.as_deref(), Some("1"));
        assert_eq!(service.requests(), 1);
        for (later, serves) in [
            (3 * SECOND, true),
            (268 * SECOND, true),
            (2 * SECOND, false),
        ] {
            tokio::time::advance(later).await;
            let served = token(&tokens, &service, Says::Down).await;
            assert_eq!(served.is_some(), serves, "{later:?}");
            assert_eq!(tokens.are_there_but(&[]), serves);
            // In the last five minutes another one is asked for.
            tokio::time::sleep(SECOND / 10).await;
            assert!(service.requests() > 1);
        }
    }
}
