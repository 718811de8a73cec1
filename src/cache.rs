//! [`Cache`], what vaults gave a moment ago, for as long as the operator allows. Off unless asked for
//! (`--cache-ttl`); [`crate::mount`] is the only one who asks it.
//!
//! A value belongs to its key, which names who got it. It is asked for once, however many wait for it; what
//! fails is told to all who wait and kept by nobody. What has expired is dropped by a sweep, not by whoever
//! comes next, since what is kept here is secret.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use lru::LruCache;
use tokio::time::Instant;

/// How often at most, and at least, what has expired is looked for.
const SWEEP: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// What a value weighs in memory.
pub trait Weight {
    /// The bytes, roughly.
    fn weight(&self) -> usize;
}

/// Values by key, up to so many bytes. Clones share everything.
pub struct Cache<K, V, E> {
    max_bytes: usize,
    entries: Arc<Mutex<Entries<K, V, E>>>,
}

impl<K, V, E> Clone for Cache<K, V, E> {
    fn clone(&self) -> Self {
        Self {
            max_bytes: self.max_bytes,
            entries: Arc::clone(&self.entries),
        }
    }
}

type Outcome<V, E> = Result<Arc<V>, E>;
type Flight<V, E> = Shared<BoxFuture<'static, Outcome<V, E>>>;
type WeakFlight<V, E> = WeakShared<BoxFuture<'static, Outcome<V, E>>>;

struct Entries<K, V, E> {
    /// The one used longest ago goes first.
    kept: LruCache<K, Kept<V>>,
    bytes: usize,
    /// Requests under way. A flight ends when nobody waits for it any more, which leaves its entry dead.
    flights: HashMap<K, WeakFlight<V, E>>,
    sweeping: bool,
}

struct Kept<V> {
    value: Arc<V>,
    bytes: usize,
    end: Instant,
}

/// What there is for whoever comes now.
enum Find<V, E> {
    Value(Arc<V>),
    Flight(Flight<V, E>),
}

impl<K, V, E> Cache<K, V, E>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Weight + Send + Sync + 'static,
    E: Clone + Send + Sync + 'static,
{
    /// An empty cache.
    pub fn new(max_bytes: usize) -> Self {
        let entries = Entries {
            kept: LruCache::unbounded(),
            bytes: 0,
            flights: HashMap::new(),
            sweeping: false,
        };
        Self {
            max_bytes,
            entries: Arc::new(Mutex::new(entries)),
        }
    }

    /// The value that is kept, or that is being asked for, or that is asked for now and then kept for
    /// `life`, but not beyond `until`.
    pub async fn get<F>(
        &self,
        key: &K,
        life: Duration,
        until: Option<Instant>,
        ask: impl FnOnce() -> F,
    ) -> Outcome<V, E>
    where
        F: Future<Output = Result<V, E>> + Send + 'static,
    {
        let found = self.find(key, life, until, ask);
        match found {
            Find::Value(value) => Ok(value),
            Find::Flight(flight) => flight.await,
        }
    }

    fn find<F>(
        &self,
        key: &K,
        life: Duration,
        until: Option<Instant>,
        ask: impl FnOnce() -> F,
    ) -> Find<V, E>
    where
        F: Future<Output = Result<V, E>> + Send + 'static,
    {
        let mut entries = lock(&self.entries);
        let now = Instant::now();
        if let Some(kept) = entries.kept.get(key)
            && now < kept.end
        {
            return Find::Value(Arc::clone(&kept.value));
        }
        let under_way = entries.flights.get(key).and_then(WeakFlight::upgrade);
        if let Some(flight) = under_way {
            return Find::Flight(flight);
        }
        let (cache, owned_key, asking) = (self.clone(), key.clone(), ask());
        let flight = async move {
            let outcome = asking.await.map(Arc::new);
            cache.land(owned_key, outcome.as_ref().ok(), life, until);
            outcome
        };
        let flight = flight.boxed().shared();
        if let Some(weak) = flight.downgrade() {
            entries.flights.insert(key.clone(), weak);
        }
        // From here on, since a flight that everybody leaves never lands.
        if !entries.sweeping {
            entries.sweeping = true;
            tokio::spawn(sweep(Arc::downgrade(&self.entries), life));
        }
        Find::Flight(flight)
    }

    /// A request has ended.
    fn land(&self, key: K, value: Option<&Arc<V>>, life: Duration, until: Option<Instant>) {
        let mut entries = lock(&self.entries);
        entries.flights.remove(&key);
        let Some(value) = value else { return };
        let bytes = value.weight();
        let now = Instant::now();
        let end = until.map_or(now + life, |until| until.min(now + life));
        if bytes > self.max_bytes || end <= now {
            return;
        }
        let kept = Kept {
            value: Arc::clone(value),
            bytes,
            end,
        };
        entries.bytes += bytes;
        if let Some(old) = entries.kept.put(key, kept) {
            entries.bytes -= old.bytes;
        }
        while entries.bytes > self.max_bytes
            && let Some((_, oldest)) = entries.kept.pop_lru()
        {
            entries.bytes -= oldest.bytes;
        }
    }
}

/// Drops what has expired, until there is nothing left.
async fn sweep<K: Clone + Eq + Hash, V, E>(entries: Weak<Mutex<Entries<K, V, E>>>, life: Duration)
where
    E: Clone,
{
    loop {
        tokio::time::sleep((life / 4).clamp(SWEEP.0, SWEEP.1)).await;
        let Some(entries) = entries.upgrade() else {
            return;
        };
        let mut entries = lock(&entries);
        let now = Instant::now();
        let expired: Vec<K> = entries
            .kept
            .iter()
            .filter(|(_, kept)| kept.end <= now)
            .map(|(key, _)| key.clone())
            .collect();
        for key in expired {
            if let Some(kept) = entries.kept.pop(&key) {
                entries.bytes -= kept.bytes;
            }
        }
        entries
            .flights
            .retain(|_, flight| flight.upgrade().is_some());
        if entries.kept.is_empty() && entries.flights.is_empty() {
            entries.sweeping = false;
            return;
        }
    }
}

fn lock<T>(entries: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while the lock is held leaves entries that are whole all the same.
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::future::join_all;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    impl Weight for String {
        fn weight(&self) -> usize {
            self.len()
        }
    }

    /// A vault that counts its requests and takes 20 ms for each.
    #[derive(Clone, Default)]
    struct Vault(Arc<AtomicU32>);

    impl Vault {
        fn requests(&self) -> u32 {
            self.0.load(Ordering::Relaxed)
        }

        fn ask(
            &self,
            answer: Result<&'static str, ()>,
        ) -> impl Future<Output = Result<String, ()>> + Send + 'static {
            let count = Arc::clone(&self.0);
            async move {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(SECOND / 50).await;
                answer.map(str::to_owned)
            }
        }
    }

    type Values = Cache<&'static str, String, ()>;

    async fn get(
        values: &Values,
        key: &'static str,
        vault: &Vault,
        answer: Result<&'static str, ()>,
    ) -> Result<String, ()> {
        let value = values.get(&key, SECOND, None, || vault.ask(answer)).await?;
        Ok(String::clone(&value))
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_is_asked_for_once_and_again_when_it_has_expired() {
        let (values, vault) = (Values::new(1000), Vault::default());
        let all = join_all((0..50).map(|_| get(&values, "a", &vault, Ok("one")))).await;
        assert!(all.iter().all(|value| value.as_deref() == Ok("one")));
        tokio::time::advance(SECOND / 2).await;
        let kept = get(&values, "a", &vault, Ok("two")).await;
        assert_eq!((kept.as_deref(), vault.requests()), (Ok("one"), 1));
        tokio::time::advance(SECOND / 2).await;
        let new = get(&values, "a", &vault, Ok("two")).await;
        assert_eq!((new.as_deref(), vault.requests()), (Ok("two"), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn each_key_has_its_own() {
        let (values, vault) = (Values::new(1000), Vault::default());
        get(&values, "a", &vault, Ok("one")).await.unwrap();
        let other = get(&values, "b", &vault, Err(())).await;
        assert_eq!((other, vault.requests()), (Err(()), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_told_to_all_who_wait_and_not_kept() {
        let (values, vault) = (Values::new(1000), Vault::default());
        let all = join_all((0..50).map(|_| get(&values, "a", &vault, Err(())))).await;
        assert!(all.iter().all(Result::is_err));
        assert_eq!(vault.requests(), 1);
        let next = get(&values, "a", &vault, Ok("one")).await;
        assert_eq!((next.as_deref(), vault.requests()), (Ok("one"), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_carries_on_when_the_first_goes_away() {
        let (values, vault) = (Values::new(1000), Vault::default());
        let first = tokio::time::timeout(SECOND / 100, get(&values, "a", &vault, Ok("one")));
        let (first, second) = tokio::join!(first, get(&values, "a", &vault, Ok("two")));
        assert!(first.is_err());
        assert_eq!((second.as_deref(), vault.requests()), (Ok("one"), 1));
        // With nobody left the request ends, and the next one is a new one.
        let alone = tokio::time::timeout(SECOND / 100, get(&values, "b", &vault, Ok("one")));
        assert!(alone.await.is_err());
        let next = get(&values, "b", &vault, Ok("three")).await;
        assert_eq!((next.as_deref(), vault.requests()), (Ok("three"), 3));
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_are_bounded_and_what_was_used_longest_ago_goes_first() {
        let (values, vault) = (Values::new(10), Vault::default());
        for key in ["a", "b", "a", "c"] {
            get(&values, key, &vault, Ok("12345")).await.unwrap();
        }
        assert_eq!((vault.requests(), lock(&values.entries).bytes), (3, 10));
        get(&values, "a", &vault, Ok("")).await.unwrap();
        assert_eq!(vault.requests(), 3);
        get(&values, "b", &vault, Ok("12345678901")).await.unwrap();
        get(&values, "b", &vault, Ok("12345678901")).await.unwrap();
        assert_eq!(vault.requests(), 5, "what is too large is not kept");
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_expired_is_dropped_though_nobody_asks() {
        let (values, vault) = (Values::new(1000), Vault::default());
        let value = values
            .get(&"a", SECOND, None, || vault.ask(Ok("one")))
            .await;
        let value = Arc::downgrade(&value.unwrap());
        assert!(value.upgrade().is_some());
        tokio::time::sleep(SECOND * 3 / 2).await;
        assert!(value.upgrade().is_none());
        assert!(!lock(&values.entries).sweeping);
        assert_eq!(lock(&values.entries).bytes, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_nobody_waits_for_are_forgotten() {
        let values = Values::new(1000);
        for key in ["a", "b", "c"] {
            let hang = std::future::pending::<Result<String, ()>>;
            let get = values.get(&key, SECOND, None, hang);
            assert!(tokio::time::timeout(SECOND, get).await.is_err());
        }
        tokio::time::sleep(SECOND * 10).await;
        assert!(lock(&values.entries).flights.is_empty());
        assert!(!lock(&values.entries).sweeping);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_served_after_its_proof_ends() {
        let (values, vault) = (Values::new(1000), Vault::default());
        let proof_end = Some(Instant::now() + SECOND);
        let slow = || {
            let ask = vault.ask(Ok("one"));
            async move {
                tokio::time::sleep(SECOND * 8 / 10).await;
                ask.await
            }
        };
        values
            .get(&"a", SECOND * 60, proof_end, slow)
            .await
            .unwrap();
        tokio::time::sleep(SECOND * 5 / 10).await;
        let next = values.get(&"a", SECOND, proof_end, || vault.ask(Ok("two")));
        assert_eq!(next.await.unwrap().as_str(), "two");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_panics_holds_nobody() {
        let values = Values::new(1000);
        let ask = || async {
            tokio::time::sleep(SECOND / 50).await;
            panic!("a bug") as Result<String, ()>
        };
        let mount =
            |values: Values| tokio::spawn(async move { values.get(&"a", SECOND, None, ask).await });
        let all = join_all((0..3).map(|_| mount(values.clone()))).await;
        assert!(all.iter().all(Result::is_err));
        let next = get(&values, "a", &Vault::default(), Ok("one")).await;
        assert_eq!(next.as_deref(), Ok("one"));
    }
}
