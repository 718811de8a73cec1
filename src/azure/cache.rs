//! [`Cache`], what vaults gave a moment ago, for as long as the operator allows. Off unless asked for
//! (`--cache-ttl`); [`crate::azure::vault::values`] is the only one who asks it.
//!
//! A value belongs to its key, which names who got it. It is asked for once, however many wait for it; what
//! fails is told to all who wait and kept by nobody.

pub mod store;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use tokio::time::Instant;

use crate::azure::cache::store::Store;
use crate::observe::metrics::ValueMetrics;
use crate::os::lock::lock;
use crate::shares::{Namespace, Weight};

/// Values by key, up to so many bytes. Clones share everything.
pub struct Cache<K: Eq + Hash, V, E> {
    kept: Store<K, V>,
    flights: Flights<K, V, E>,
    numbers: Arc<AtomicU64>,
}

/// What there is for whoever comes now.
enum Find<V, E> {
    Value(Arc<V>),
    Flight(Flight<V, E>),
}

impl<K: Eq + Hash, V, E> Clone for Cache<K, V, E> {
    fn clone(&self) -> Self {
        Self {
            kept: self.kept.clone(),
            flights: Arc::clone(&self.flights),
            numbers: Arc::clone(&self.numbers),
        }
    }
}

type Outcome<V, E> = Result<Arc<V>, E>;
type Flight<V, E> = Shared<BoxFuture<'static, Outcome<V, E>>>;
type WeakFlight<V, E> = WeakShared<BoxFuture<'static, Outcome<V, E>>>;
/// Requests under way, each with its number. One ends when it is answered, or when nobody waits for it any
/// more.
type Flights<K, V, E> = Arc<Mutex<HashMap<K, (u64, WeakFlight<V, E>)>>>;

impl<K, V, E> Cache<K, V, E>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Weight + Send + Sync + 'static,
    E: Clone + Send + Sync + 'static,
{
    /// An empty cache, which may be counted.
    pub fn new(max_bytes: usize, metrics: Option<ValueMetrics>) -> Self {
        Self {
            kept: Store::new(max_bytes, metrics),
            flights: Flights::default(),
            numbers: Arc::default(),
        }
    }

    /// The value that is kept, or that is being asked for, or that is asked for now and then kept until
    /// `life` after that, but not beyond `until`. The namespace pays for it.
    pub async fn get<F>(
        &self,
        namespace: &Namespace,
        key: &K,
        life: Duration,
        until: Option<Instant>,
        ask: impl FnOnce() -> F,
    ) -> Outcome<V, E>
    where
        F: Future<Output = Result<V, E>> + Send + 'static,
    {
        if let Some((value, _)) = self.kept.get(namespace, key) {
            return Ok(value);
        }
        let found = self.find(namespace, key, life, until, ask);
        match found {
            Find::Value(value) => Ok(value),
            Find::Flight(flight) => flight.await,
        }
    }

    /// The request that is under way, or what one has just brought, or a new one.
    fn find<F>(
        &self,
        namespace: &Namespace,
        key: &K,
        life: Duration,
        until: Option<Instant>,
        ask: impl FnOnce() -> F,
    ) -> Find<V, E>
    where
        F: Future<Output = Result<V, E>> + Send + 'static,
    {
        let mut flights = lock(&self.flights);
        if let Some(flight) = flights.get(key).and_then(|(_, flight)| flight.upgrade()) {
            return Find::Flight(flight);
        }
        // A request keeps its value before it ends, so there is one or the other.
        if let Some((value, _)) = self.kept.find(namespace, key) {
            return Find::Value(value);
        }
        let (kept, asking) = (self.kept.clone(), ask());
        let (namespace, owned_key) = (namespace.clone(), key.clone());
        // What takes a while to come is as old as the request for it.
        let end = Instant::now() + life;
        let end = until.map_or(end, |until| until.min(end));
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let under_way = UnderWay {
            flights: Arc::clone(&self.flights),
            key: key.clone(),
            number,
        };
        let flight = async move {
            let _under_way = under_way;
            let value = Arc::new(asking.await?);
            kept.put(&namespace, owned_key, Arc::clone(&value), end);
            Ok(value)
        };
        let flight = flight.boxed().shared();
        if let Some(weak) = flight.downgrade() {
            flights.insert(key.clone(), (number, weak));
        }
        Find::Flight(flight)
    }
}

/// A request is under way until this is dropped: by its answer, or by the last who waited for it.
struct UnderWay<K: Eq + Hash, V, E: Clone> {
    flights: Flights<K, V, E>,
    key: K,
    number: u64,
}

impl<K: Eq + Hash, V, E: Clone> Drop for UnderWay<K, V, E> {
    fn drop(&mut self) {
        let mut flights = lock(&self.flights);
        // Where all have left this one, another may have begun meanwhile.
        let number = flights.get(&self.key).map(|(number, _)| *number);
        if number == Some(self.number) {
            flights.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::future::join_all;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

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
        let value = values
            .get(&Namespace::default(), &key, SECOND, None, || {
                vault.ask(answer)
            })
            .await?;
        Ok(String::clone(&value))
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_is_asked_for_once_and_again_when_it_has_expired() {
        let (values, vault) = (Values::new(1000, None), Vault::default());
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
        let (values, vault) = (Values::new(1000, None), Vault::default());
        get(&values, "a", &vault, Ok("one")).await.unwrap();
        let other = get(&values, "b", &vault, Err(())).await;
        assert_eq!((other, vault.requests()), (Err(()), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_told_to_all_who_wait_and_not_kept() {
        let (values, vault) = (Values::new(1000, None), Vault::default());
        let all = join_all((0..50).map(|_| get(&values, "a", &vault, Err(())))).await;
        assert!(all.iter().all(Result::is_err));
        assert_eq!(vault.requests(), 1);
        let next = get(&values, "a", &vault, Ok("one")).await;
        assert_eq!((next.as_deref(), vault.requests()), (Ok("one"), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_carries_on_when_the_first_goes_away() {
        let (values, vault) = (Values::new(1000, None), Vault::default());
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
    async fn requests_that_nobody_waits_for_are_forgotten() {
        let values = Values::new(1000, None);
        for key in ["a", "b", "c"] {
            let hang = std::future::pending::<Result<String, ()>>;
            let nobody = Namespace::default();
            let get = values.get(&nobody, &key, SECOND, None, hang);
            assert!(tokio::time::timeout(SECOND, get).await.is_err());
        }
        assert!(lock(&values.flights).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_served_after_its_proof_ends() {
        let (values, vault) = (Values::new(1000, None), Vault::default());
        let proof_end = Some(Instant::now() + SECOND);
        let slow = || {
            let ask = vault.ask(Ok("one"));
            async move {
                tokio::time::sleep(SECOND * 8 / 10).await;
                ask.await
            }
        };
        values
            .get(&Namespace::default(), &"a", SECOND * 60, proof_end, slow)
            .await
            .unwrap();
        tokio::time::sleep(SECOND * 5 / 10).await;
        let nobody = Namespace::default();
        let next = values.get(&nobody, &"a", SECOND, proof_end, || vault.ask(Ok("two")));
        assert_eq!(next.await.unwrap().as_str(), "two");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_panics_holds_nobody() {
        let values = Values::new(1000, None);
        let ask = || async {
            tokio::time::sleep(SECOND / 50).await;
            panic!("a bug") as Result<String, ()>
        };
        let mount = |values: Values| {
            tokio::spawn(async move {
                values
                    .get(&Namespace::default(), &"a", SECOND, None, ask)
                    .await
            })
        };
        let all = join_all((0..3).map(|_| mount(values.clone()))).await;
        assert!(all.iter().all(Result::is_err));
        let next = get(&values, "a", &Vault::default(), Ok("one")).await;
        assert_eq!(next.as_deref(), Ok("one"));
    }
}
