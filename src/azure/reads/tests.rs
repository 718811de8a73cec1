//! The rule of [`super::Reads`], attacked: any mounts, any vault, in a time of the test's own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use futures::future::join_all;
use proptest::prelude::*;
use tokio::time::{sleep, timeout};

use super::*;

/// How long a request may take before the connection is given up, as the transport does.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// When a value was asked for, by the clock of the test's events.
#[derive(Debug)]
struct Value(u64);

impl Weight for Value {
    fn weight(&self) -> usize {
        1000
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Failure(Whose);

impl Shareable for Failure {
    fn whose(&self) -> Whose {
        self.0
    }
}

type TestReads = Reads<&'static str, u8, Value, Failure>;

/// What a vault does with a request.
#[derive(Clone, Copy, Debug)]
enum Does {
    Give,
    Fail(Whose),
    Hang,
    Panic,
}

/// A vault that does one thing after the other, and what is seen of it.
#[derive(Default)]
struct Vault {
    events: AtomicU64,
    does: Vec<(u64, Does)>,
    requests: AtomicUsize,
    under_way: BTreeMap<u8, Arc<AtomicUsize>>,
    most: AtomicUsize,
}

impl Vault {
    fn new(does: Vec<(u64, Does)>) -> Arc<Self> {
        Arc::new(Self {
            does,
            under_way: (0..4).map(|key| (key, Arc::default())).collect(),
            ..Self::default()
        })
    }

    fn event(&self) -> u64 {
        self.events.fetch_add(1, Ordering::Relaxed)
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    fn send(&self, key: u8) -> impl Future<Output = Result<Value, Failure>> + Send + 'static {
        let sent = self.event();
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let (takes, does) = self.does[number % self.does.len()];
        let under_way = UnderWay(Arc::clone(&self.under_way[&key]));
        let now = under_way.0.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        async move {
            let _under_way = under_way;
            sleep(ms(takes)).await;
            match does {
                Does::Give => Ok(Value(sent)),
                Does::Fail(whose) => Err(Failure(whose)),
                Does::Panic => panic!("a bug"),
                Does::Hang => {
                    sleep(REQUEST_TIMEOUT).await;
                    Err(Failure(Whose::Nobodys))
                }
            }
        }
    }
}

struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One mount: when it comes, how long it earns its token and waits for its turn, when its caller goes away, and what it
/// wants. All but the first in milliseconds from then on.
#[derive(Clone, Debug)]
struct Mount {
    comes: u64,
    signs_in: u64,
    turn: u64,
    goes: Option<u64>,
    /// When the vault rejects its token.
    rejected: Option<u64>,
    keys: Vec<u8>,
}

/// What it got for each key, with the event at which it came.
async fn mount(
    reads: &TestReads,
    vault: &Vault,
    mount: &Mount,
) -> Option<(u64, Vec<Result<(Arc<Value>, Way), Failure>>)> {
    sleep(ms(mount.comes)).await;
    let came = vault.event();
    let member = reads.join("group", reads.arrive());
    let start = Instant::now();
    let may_share = || {
        mount
            .rejected
            .is_none_or(|after| start.elapsed() < ms(after))
    };
    let work = async {
        sleep(ms(mount.signs_in)).await;
        let read = |key: &u8| {
            let key = *key;
            let enter = || async {
                sleep(ms(mount.turn)).await;
                Ok(())
            };
            let member = &member;
            async move {
                let reading = member
                    .read(&key, may_share, enter, |()| vault.send(key))
                    .await?;
                assert!(reading.way == Way::Own || may_share());
                Ok((reading.value, reading.way))
            }
        };
        join_all(mount.keys.iter().map(read)).await
    };
    let goes = mount.goes.map_or(ms(1_000_000), ms);
    let results = timeout(goes, work).await.ok();
    assert!(
        results.is_some() || mount.goes.is_some(),
        "{mount:?} is stuck"
    );
    Some((came, results?))
}

/// What all of them got for each of their keys.
async fn results(
    reads: &TestReads,
    vault: &Vault,
    mounts: &[Mount],
) -> Vec<Result<(Arc<Value>, Way), Failure>> {
    let all = join_all(mounts.iter().map(|one| mount(reads, vault, one))).await;
    let results = all.into_iter().flatten().flat_map(|(_, results)| results);
    results.collect()
}

fn in_test_time<F: Future>(work: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(work)
}

fn any_mount() -> impl Strategy<Value = Mount> {
    let comes = prop_oneof![Just(0), 0..200_u64, 0..5000_u64];
    let signs_in = prop_oneof![Just(0), 0..100_u64, 0..9000_u64];
    let turn = prop_oneof![Just(0), 0..50_u64, 0..3000_u64];
    let goes = prop_oneof![3 => Just(None), 1 => (0..4000_u64).prop_map(Some)];
    let rejected = prop_oneof![3 => Just(None), 1 => (0..4000_u64).prop_map(Some)];
    let keys = prop::collection::vec(0..4_u8, 1..4);
    let all = (comes, signs_in, turn, goes, rejected, keys);
    all.prop_map(|(comes, signs_in, turn, goes, rejected, keys)| Mount {
        comes,
        signs_in,
        turn,
        goes,
        rejected,
        keys,
    })
}

fn any_deed() -> impl Strategy<Value = (u64, Does)> {
    let takes = prop_oneof![Just(0), 0..50_u64, 0..4000_u64];
    let does = prop_oneof![
        6 => Just(Does::Give),
        1 => Just(Does::Fail(Whose::Everyones)),
        1 => Just(Does::Fail(Whose::Askers)),
        2 => Just(Does::Fail(Whose::Nobodys)),
        1 => Just(Does::Hang),
    ];
    (takes, does)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases * 2))]

    /// No value is older than the mount that gets it, nobody is stuck, and nothing stays behind.
    #[test]
    fn nobody_gets_what_was_asked_for_before_it_came(
        mounts in prop::collection::vec(any_mount(), 1..20),
        does in prop::collection::vec(any_deed(), 1..12),
    ) {
        in_test_time(async {
            let (reads, vault) = (TestReads::new(12_000), Vault::new(does));
            let results = join_all(mounts.iter().map(|one| mount(&reads, &vault, one))).await;
            for (came, results) in results.into_iter().flatten() {
                for (value, _) in results.into_iter().flatten() {
                    assert!(value.0 > came, "asked for at {}, for one that came at {came}", value.0);
                }
            }
            assert!(reads.lock().is_empty());
            sleep(REQUEST_TIMEOUT * 2).await;
            for under_way in vault.under_way.values() {
                assert_eq!(under_way.load(Ordering::Relaxed), 0);
            }
        });
    }

    /// A vault that gives has two requests under way for a key at most, and fails nobody.
    #[test]
    fn a_key_has_two_requests_at_most(
        mounts in prop::collection::vec(any_mount(), 1..30),
        takes in prop::collection::vec(0..4000_u64, 1..10),
    ) {
        in_test_time(async {
            let mounts: Vec<_> = mounts.into_iter().map(|mount| Mount { rejected: None, ..mount }).collect();
            let does = takes.iter().map(|takes| (*takes, Does::Give)).collect();
            let (reads, vault) = (TestReads::new(100_000), Vault::new(does));
            let mut values = results(&reads, &vault, &mounts).await.into_iter();
            assert!(values.all(|value| value.is_ok()));
            assert!(vault.most.load(Ordering::Relaxed) <= 2);
        });
    }
}

fn pod(signs_in: u64) -> Mount {
    Mount {
        comes: 0,
        signs_in,
        turn: 0,
        goes: None,
        rejected: None,
        keys: vec![0, 1],
    }
}

#[test]
fn a_storm_costs_one_request_for_each_object() {
    in_test_time(async {
        let (reads, vault) = (TestReads::new(100_000), Vault::new(vec![(20, Does::Give)]));
        let pods: Vec<_> = (0..110).map(|number| pod(10 + number * 30)).collect();
        let results = join_all(pods.iter().map(|pod| mount(&reads, &vault, pod))).await;
        assert_eq!(results.iter().flatten().count(), 110);
        assert_eq!(vault.requests(), 2);
    });
}

#[test]
fn mounts_that_come_meanwhile_wait_for_the_next_one() {
    in_test_time(async {
        let (reads, vault) = (TestReads::new(100_000), Vault::new(vec![(500, Does::Give)]));
        let pods: Vec<_> = (0..100)
            .map(|number| Mount {
                comes: number * 10,
                ..pod(0)
            })
            .collect();
        join_all(pods.iter().map(|pod| mount(&reads, &vault, pod))).await;
        // The first at 0, and then one for all that came within each 500 ms.
        assert_eq!(vault.requests(), 2 * 3);
    });
}

#[test]
fn one_that_hangs_holds_nobody() {
    in_test_time(async {
        let does = vec![(0, Does::Hang), (20, Does::Give)];
        let (reads, vault) = (TestReads::new(100_000), Vault::new(does));
        let pods: Vec<_> = (0..20)
            .map(|_| Mount {
                keys: vec![0],
                ..pod(0)
            })
            .collect();
        let start = Instant::now();
        join_all(pods.iter().map(|pod| mount(&reads, &vault, pod))).await;
        assert_eq!((vault.requests(), start.elapsed()), (2, PATIENCE + ms(20)));
    });
}

#[test]
fn a_failure_is_of_the_one_whose_request_it_was() {
    for (whose, requests, failed) in [
        // It is not there for anybody.
        (Whose::Everyones, 1, 10),
        // Each finds out for itself.
        (Whose::Askers, 10, 1),
        // The next one asks for all.
        (Whose::Nobodys, 2, 1),
    ] {
        in_test_time(async {
            let mut does = vec![(20, Does::Fail(whose))];
            does.extend([(20, Does::Give); 20]);
            let (reads, vault) = (TestReads::new(100_000), Vault::new(does));
            let pods: Vec<_> = (0..10)
                .map(|_| Mount {
                    keys: vec![0],
                    ..pod(10)
                })
                .collect();
            let results = results(&reads, &vault, &pods).await.into_iter();
            let failures = results.filter(Result::is_err).count();
            assert_eq!(
                (vault.requests(), failures),
                (requests, failed),
                "{whose:?}"
            );
        });
    }
}

#[test]
fn after_failures_the_first_success_serves_all() {
    in_test_time(async {
        let fails = (20, Does::Fail(Whose::Nobodys));
        let mut does = vec![fails, fails];
        does.extend([(20, Does::Give); 20]);
        let (reads, vault) = (TestReads::new(100_000), Vault::new(does));
        let pods: Vec<_> = (0..20)
            .map(|number| Mount {
                turn: 50 * number,
                keys: vec![0],
                ..pod(0)
            })
            .collect();
        let results = results(&reads, &vault, &pods).await.into_iter();
        assert_eq!(results.filter(Result::is_err).count(), 2);
        assert_eq!(vault.requests(), 3);
    });
}

#[test]
fn whoever_asks_by_itself_keeps_its_turn() {
    in_test_time(async {
        let mut does = vec![(20, Does::Fail(Whose::Nobodys)); 7];
        does.push((20, Does::Give));
        let (reads, vault) = (TestReads::new(100_000), Vault::new(does));
        let late = reads.join("group", reads.arrive());
        let turns = AtomicUsize::new(0);
        let enter = || async {
            turns.fetch_add(1, Ordering::Relaxed);
            sleep(ms(1000)).await;
            Ok(())
        };
        let start = Instant::now();
        let reading = late.read(&0, || true, enter, |()| vault.send(0));
        // Seven that fail, one after the other.
        let others = join_all((0..7).map(|number| {
            let pod = Mount {
                comes: number * 50,
                keys: vec![0],
                ..pod(0)
            };
            let (reads, vault) = (&reads, &vault);
            async move { mount(reads, vault, &pod).await }
        }));
        let (reading, _) = tokio::join!(reading, others);
        assert_eq!(reading.unwrap().way, Way::Own);
        // It lost its turn to the first two, and took the next one when the second had failed.
        let turns = turns.into_inner();
        assert_eq!((turns, start.elapsed()), (3, ms(70 + 1000 + 20)));
        assert_eq!(vault.requests(), 8);
    });
}

#[test]
fn a_caller_that_goes_away_ends_nothing_that_others_wait_for() {
    in_test_time(async {
        let (reads, vault) = (TestReads::new(100_000), Vault::new(vec![(500, Does::Give)]));
        let first = Mount {
            goes: Some(100),
            keys: vec![0],
            ..pod(0)
        };
        let other = Mount {
            comes: 50,
            keys: vec![0],
            ..pod(0)
        };
        let (_, other) = tokio::join!(mount(&reads, &vault, &first), mount(&reads, &vault, &other));
        assert!(other.is_some());
        // The other one could not use the first attempt, which was sent before it came; nobody else wanted it.
        let alone = Mount {
            goes: Some(100),
            ..first
        };
        let before = vault.requests();
        assert!(mount(&reads, &vault, &alone).await.is_none());
        tokio::task::yield_now().await;
        assert_eq!(vault.under_way[&0].load(Ordering::Relaxed), 0);
        assert_eq!(vault.requests(), before + 1);
    });
}

#[test]
fn a_request_that_panics_holds_nobody() {
    in_test_time(async {
        let does = vec![(20, Does::Panic), (20, Does::Give)];
        let (reads, vault) = (TestReads::new(100_000), Vault::new(does));
        let pods: Vec<_> = (0..3)
            .map(|_| Mount {
                keys: vec![0],
                ..pod(0)
            })
            .collect();
        let mut results = results(&reads, &vault, &pods).await.into_iter();
        assert!(results.all(|result| result.is_ok()));
    });
}

#[test]
fn what_is_kept_goes_with_the_last_that_came_before_it() {
    in_test_time(async {
        let (reads, vault) = (TestReads::new(100_000), Vault::new(vec![(20, Does::Give)]));
        let late = reads.join("group", reads.arrive());
        let first = Mount {
            keys: vec![0],
            ..pod(0)
        };
        mount(&reads, &vault, &first).await;
        assert_eq!(reads.lock().bytes(), 1000);
        // Another group's mounts see nothing of it.
        let other = reads.join("other", reads.arrive());
        let value = other
            .read(&0, || true, || async { Ok(()) }, |()| vault.send(0))
            .await;
        assert_eq!((value.unwrap().way, vault.requests()), (Way::Own, 2));
        drop(other);
        let value = late
            .read(&0, || true, || async { Ok(()) }, |()| vault.send(0))
            .await;
        assert_eq!((value.unwrap().way, vault.requests()), (Way::Shared, 2));
        // Nor is it kept beyond its time, for one that takes long.
        sleep(MAX_AGE * 2).await;
        assert_eq!(reads.lock().bytes(), 0);
        drop(late);
        assert!(reads.lock().is_empty());
    });
}

#[test]
fn a_mount_that_is_rejected_meanwhile_gets_nothing_of_others() {
    in_test_time(async {
        // The first one's request hangs, and the second one's succeeds beside it.
        let does = vec![(0, Does::Hang), (20, Does::Give)];
        let (reads, vault) = (TestReads::new(100_000), Vault::new(does));
        let [rejected, other] = [(); 2].map(|()| reads.join("group", reads.arrive()));
        let is_rejected = std::cell::Cell::new(false);
        let first = rejected.read(
            &0,
            || !is_rejected.get(),
            || async { Ok(()) },
            |()| vault.send(0),
        );
        let others = async {
            sleep(ms(10)).await;
            is_rejected.set(true);
            other
                .read(&0, || true, || async { Ok(()) }, |()| vault.send(0))
                .await
        };
        let (first, others) = tokio::join!(first, others);
        assert_eq!(first.unwrap_err(), Failure(Whose::Nobodys));
        assert_eq!(others.unwrap().way, Way::Own);
    });
}

#[test]
fn a_mount_that_is_alone_asks_once_however_slow_the_vault_is() {
    in_test_time(async {
        let (reads, vault) = (
            TestReads::new(100_000),
            Vault::new(vec![(4000, Does::Give)]),
        );
        let alone = Mount {
            keys: vec![0],
            ..pod(0)
        };
        assert!(mount(&reads, &vault, &alone).await.is_some());
        assert_eq!(vault.requests(), 1);
    });
}

#[test]
fn a_second_request_that_may_not_go_ends_nothing() {
    in_test_time(async {
        let (reads, vault) = (
            TestReads::new(100_000),
            Vault::new(vec![(3000, Does::Give)]),
        );
        let [first, second] = [(); 2].map(|()| reads.join("group", reads.arrive()));
        let asking = first.read(&0, || true, || async { Ok(()) }, |()| vault.send(0));
        let refused = || async { Err::<(), _>(Failure(Whose::Nobodys)) };
        let following = async {
            sleep(ms(10)).await;
            second.read(&0, || true, refused, |()| vault.send(0)).await
        };
        let (own, shared) = tokio::join!(asking, following);
        assert_eq!(own.unwrap().way, Way::Own);
        assert_eq!(shared.unwrap().way, Way::Shared);
    });
}

#[test]
fn what_was_asked_in_a_group_that_is_gone_is_not_for_the_next_of_its_name() {
    let mut board = Board::<_, u8, Value, Failure>::new(100_000);
    // All requests have come before anything is sent.
    let [first, second, third] = [(); 3].map(|()| board.moment());
    let (gone, number) = board.join("group", first);
    board.wait(gone, &0);
    let attempt = board.start(gone, &0, Instant::now()).unwrap();
    board.wait_no_more(gone, &0);
    board.leave(gone, first, number);
    assert!(board.is_empty());
    let (group, number) = board.join("group", second);
    let (same, other) = board.join("group", third);
    assert_eq!(group, same);
    assert_ne!(group, gone);
    board.wait(group, &0);
    attempt.set(Ok(Arc::new(Value(0))));
    board.ended(gone, &0, &attempt);
    let look = board.look(group, &0, second, Instant::now());
    assert!(matches!(look, Look::Ask { attempts } if attempts.is_empty()));
    assert_eq!(board.bytes(), 0);
    board.wait_no_more(group, &0);
    board.leave(group, second, number);
    board.leave(group, third, other);
    assert!(board.is_empty());
}
