//! Pauses and paces on tokio's own clock.

use futures::StreamExt as _;
use futures::future::join_all;

use super::schedule::{FORGET_PACE, MAX_RETRY_AFTER};
use super::schedules::MAX_OWN;
use super::*;
use crate::class::identity::{Identity, IdentityId};

const SECOND: Duration = Duration::from_secs(1);

fn vault() -> Arc<Limiter> {
    Limiter::new(Limits::of_vault(200, 80), Arc::default())
}

fn minute() -> Instant {
    Instant::now() + 60 * SECOND
}

/// When each of so many requests of one mount could go.
async fn starts(limiter: &Arc<Limiter>, count: usize) -> Vec<Duration> {
    let (start, deadline, turn) = (Instant::now(), minute(), Turn::default());
    let request = || async {
        let permit = limiter.enter(&turn, deadline).await.unwrap();
        let went = start.elapsed();
        permit.answered();
        went
    };
    join_all((0..count).map(|_| request())).await
}

/// From the first to the last.
fn between(starts: &[Duration]) -> Duration {
    starts[starts.len() - 1].saturating_sub(starts[0])
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_while_nothing_is_wrong() {
    assert!(starts(&vault(), 10_000).await.iter().all(Duration::is_zero));
}

#[tokio::test(start_paused = true)]
async fn imds_is_asked_20_times_in_any_second() {
    let imds = Limiter::new(Limits::of_imds(), Arc::default());
    let starts = starts(&imds, 100).await;
    assert_eq!(starts.iter().filter(|start| start.is_zero()).count(), 5);
    for (first, start) in starts.iter().enumerate() {
        let within = starts[first..]
            .iter()
            .filter(|later| later.saturating_sub(*start) < SECOND);
        assert!(within.count() <= 20, "from {start:?}");
    }
    assert!(starts[99] < 7 * SECOND, "{:?}", starts[99]);
}

#[tokio::test(start_paused = true)]
async fn so_many_go_at_once_and_more_with_streams() {
    let limiter = vault();
    let turn = Turn::default();
    let mut permits = Vec::new();
    // The rest is for other namespaces.
    for _ in 0..75 {
        permits.push(limiter.enter(&turn, minute()).await.unwrap());
    }
    let next = tokio::time::timeout(SECOND, limiter.enter(&turn, minute()));
    assert!(next.await.is_err());
    limiter.allow_streams();
    limiter.allow_streams();
    for _ in 75..188 {
        permits.push(limiter.enter(&turn, minute()).await.unwrap());
    }
    let next = tokio::time::timeout(SECOND, limiter.enter(&turn, minute()));
    assert!(next.await.is_err());
    permits.pop();
    _ = limiter.enter(&turn, minute()).await.unwrap();
}

/// A request that is noted by its mount's name when it goes, and takes a while.
async fn request<'a>(
    limiter: &Arc<Limiter>,
    turn: &Turn,
    order: &Mutex<Vec<&'a str>>,
    name: &'a str,
) {
    let permit = limiter.enter(turn, minute()).await.unwrap();
    order.lock().push(name);
    tokio::time::sleep(SECOND / 100).await;
    permit.answered();
}

#[tokio::test(start_paused = true)]
async fn mounts_take_turns() {
    let limiter = Limiter::new(Limits::of_vault(1, 80), Arc::default());
    let (large, small) = (Turn::default(), Turn::default());
    let order = Mutex::new(Vec::new());
    let request = |turn, name| request(&limiter, turn, &order, name);
    let mut requests: Vec<_> = (0..50).map(|_| request(&large, "large")).collect();
    requests.push(request(&small, "small"));
    join_all(requests).await;
    let place = order.into_inner();
    assert!(place[..3].contains(&"small"), "{place:?}");
}

#[tokio::test(start_paused = true)]
async fn a_small_mount_of_a_slowed_identity_stands_behind_no_large_ones() {
    for identities in [1, 2] {
        let limiter = vault();
        // One identity has a pace, or all of the namespace.
        for client in 0..identities {
            let turn = turn("n", &client.to_string());
            let permit = limiter.enter(&turn, minute()).await.unwrap();
            permit.throttled(None);
        }
        let mount = |requests: usize| {
            let turn = turn("n", "0");
            turn.add(requests as u64);
            turn
        };
        let large: Vec<_> = (0..50).map(|_| mount(20)).collect();
        let small = mount(1);
        let order = Mutex::new(Vec::new());
        let request = |turn, name| request(&limiter, turn, &order, name);
        let mut requests: Vec<_> = large
            .iter()
            .flat_map(|turn| (0..20).map(|_| request(turn, "large")))
            .collect();
        requests.push(request(&small, "small"));
        join_all(requests).await;
        let place = order.lock().iter().position(|name| *name == "small");
        // One had its turn, and each fourth turn is the oldest's.
        assert!(place.is_some_and(|place| place <= 2), "{place:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_passed_until_its_time_is_over_is_told_of_the_pace() {
    let limiter = vault();
    for _ in 0..10 {
        let permit = limiter.enter(&turn("n", "0"), minute()).await.unwrap();
        permit.throttled(Some(Duration::ZERO));
    }
    let deadline = Instant::now() + 10 * SECOND;
    // The oldest has each fourth turn, and the small ones that keep coming have the others.
    let (older, younger) = (turn("n", "0"), turn("n", "0"));
    older.add(100);
    younger.add(100);
    let asks_on = async {
        while let Ok(permit) = limiter.enter(&older, deadline).await {
            drop(permit);
        }
    };
    let small = futures::stream::iter(0..100).for_each_concurrent(None, |number| {
        let limiter = &limiter;
        async move {
            tokio::time::sleep(SECOND / 10 * number).await;
            _ = limiter.enter(&turn("n", "0"), deadline).await;
        }
    });
    let passed = async {
        let permit = limiter.enter(&younger, deadline).await;
        (permit.map(drop), Instant::now())
    };
    let ((), (passed, when), ()) = tokio::join!(asks_on, passed, small);
    let overload = passed.unwrap_err();
    assert!(overload.limit == Limit::Vault && !overload.wait.is_zero());
    assert!(when < deadline && when + LOOK >= deadline);
}

#[tokio::test(start_paused = true)]
async fn a_429_slows_and_what_goes_well_speeds_up() {
    let limiter = vault();
    let permit = limiter.enter(&Turn::default(), minute()).await.unwrap();
    permit.throttled(Some(2 * SECOND));
    let first = starts(&limiter, 100).await;
    assert!(
        first[0] >= 2 * SECOND && first[0] <= 3 * SECOND,
        "{first:?}"
    );
    let took = between(&first);
    assert!(took > SECOND / 3 && took < SECOND / 2, "{took:?}");
    // Another one halves the pace.
    let permit = limiter.enter(&Turn::default(), minute()).await.unwrap();
    permit.throttled(None);
    let slower = starts(&limiter, 100).await;
    assert!(between(&slower) > took * 3 / 2, "{slower:?}");
    // A few seconds later there is none.
    for _ in 0..8 {
        starts(&limiter, 100).await;
    }
    let faster = starts(&limiter, 1000).await;
    assert!(between(&faster).is_zero(), "{faster:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pace_is_forgotten_some_seconds_after_the_last_429() {
    let limiter = vault();
    for _ in 0..10 {
        let permit = limiter.enter(&Turn::default(), minute()).await.unwrap();
        permit.throttled(None);
    }
    tokio::time::advance(FORGET_PACE + 13 * SECOND).await;
    assert!(starts(&limiter, 1000).await.iter().all(Duration::is_zero));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_slow_pace_goes_on_once_the_vault_serves() {
    let limiter = vault();
    for _ in 0..12 {
        let permit = limiter.enter(&Turn::default(), minute()).await.unwrap();
        permit.throttled(None);
    }
    // 300 mounts at 5 in a second would take a minute.
    let (start, deadline) = (Instant::now(), minute() + 60 * SECOND);
    let request = || async {
        let turn = Turn::default();
        let permit = limiter.enter(&turn, deadline).await.unwrap();
        permit.answered();
    };
    join_all((0..300).map(|_| request())).await;
    // The pause, and the time in which 5 become 400.
    assert!(start.elapsed() < 26 * SECOND, "{:?}", start.elapsed());
}

fn turn(namespace: &str, client: &str) -> Turn {
    let identity = Identity::Managed(IdentityId::ClientId(client.into()));
    let asker = Asker::new(namespace, &identity.name());
    Turn::new(&Namespace::new(namespace), asker, Arc::default())
}

/// How long the next request has to wait.
async fn wait(limiter: &Arc<Limiter>, turn: &Turn) -> Duration {
    let start = Instant::now();
    limiter.enter(turn, minute()).await.unwrap().answered();
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_429_slows_the_identity_and_namespace_that_got_it() {
    let limiter = vault();
    let attackers: Vec<_> = (0..75)
        .map(|n| turn("evil", &format!("client-{n}")))
        .collect();
    let others = [turn("evil", "other"), turn("evil", "another")];
    let asking = attackers
        .iter()
        .map(|attacker| limiter.enter(attacker, minute()));
    for (number, permit) in join_all(asking).await.into_iter().enumerate() {
        permit.unwrap().throttled(Some(50 * SECOND));
        if number == 0 {
            // One identity that is refused says nothing about another one of its namespace.
            assert!(wait(&limiter, &others[0]).await.is_zero());
        }
    }
    let (victim, same_identity) = (turn("chat", "client"), turn("chat", "client-74"));
    assert!(wait(&limiter, &victim).await.is_zero());
    assert!(wait(&limiter, &same_identity).await.is_zero());
    assert!(limiter.is_paused());
    // Several do, also those that were refused so long ago that others have their places.
    let soon = Instant::now() + SECOND;
    for slowed in [&others[1], &attackers[0], &attackers[74]] {
        assert!(limiter.enter(slowed, soon).await.is_err());
    }
    assert!(limiter.schedules().count() <= MAX_OWN);
    // What is over is not kept.
    tokio::time::advance(100 * SECOND).await;
    assert!(wait(&limiter, &attackers[74]).await.is_zero());
    assert_eq!(limiter.schedules().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_several_namespaces_are_told_holds_for_all() {
    for (second, apart, all_wait) in [
        ("evil", Duration::ZERO, false),
        ("chat", Duration::ZERO, true),
        ("chat", 60 * SECOND, false),
    ] {
        let limiter = vault();
        for (namespace, client, retry_after) in [("evil", "a", 30), (second, "b", 5)] {
            let permit = limiter.enter(&turn(namespace, client), minute()).await;
            permit.unwrap().throttled(Some(retry_after * SECOND));
            tokio::time::advance(apart).await;
        }
        let waited = wait(&limiter, &turn("third", "c")).await;
        assert_eq!(!waited.is_zero(), all_wait, "{second} {apart:?}");
        // And for no longer than both were told.
        assert!(waited <= 7 * SECOND, "{waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_retry_after_all_are_paced_and_nobody_else_is_paused() {
    let limiter = vault();
    for _ in 0..3 {
        for namespace in ["a", "b"] {
            let permit = limiter.enter(&turn(namespace, "c"), minute()).await;
            permit.unwrap().throttled(None);
        }
    }
    let third = turn("third", "c");
    assert!(wait(&limiter, &third).await <= SECOND / 50);
    let mut took = Duration::ZERO;
    for _ in 0..20 {
        took += wait(&limiter, &third).await;
    }
    assert!(took >= SECOND / 20 && took <= SECOND / 2, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_everyones_pace_hold_up_no_other_namespace() {
    let limiter = vault();
    for _ in 0..3 {
        for namespace in ["evil", "worse"] {
            let permit = limiter.enter(&turn(namespace, "c"), minute()).await;
            permit.unwrap().throttled(None);
        }
    }
    let waiting: Vec<_> = (0..500)
        .map(|n| {
            let (limiter, turn) = (Arc::clone(&limiter), turn("crowd", &n.to_string()));
            tokio::spawn(async move {
                let permit = limiter.enter(&turn, minute()).await.unwrap();
                permit.answered();
            })
        })
        .collect();
    tokio::time::sleep(SECOND / 10).await;
    let victim = turn("victim", "c");
    let took = wait(&limiter, &victim).await;
    assert!(took <= SECOND / 10, "{took:?}");
    // Who would wait beyond its deadline in its own line is told at once.
    let start = Instant::now();
    let late = turn("crowd", "late");
    assert!(limiter.enter(&late, start + SECOND).await.is_err());
    assert!(start.elapsed().is_zero());
    assert!(waiting.iter().any(|waiting| !waiting.is_finished()));
    for waiting in waiting {
        waiting.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_refused_as_many_identities_ends_nobody_elses_pause() {
    let limiter = vault();
    let victim = turn("chat", "c");
    let permit = limiter.enter(&victim, minute()).await.unwrap();
    permit.throttled(Some(30 * SECOND));
    let attackers: Vec<_> = (0..75).map(|n| turn("evil", &n.to_string())).collect();
    let asking = attackers
        .iter()
        .map(|attacker| limiter.enter(attacker, minute()));
    for permit in join_all(asking).await {
        permit.unwrap().throttled(None);
    }
    assert_eq!(limiter.schedules().count(), MAX_OWN);
    let soon = Instant::now() + SECOND;
    assert!(limiter.enter(&victim, soon).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn one_namespaces_503_holds_only_itself() {
    let limiter = vault();
    let (evil, chat) = (turn("evil", "a"), turn("chat", "a"));
    let permit = limiter.enter(&evil, minute()).await.unwrap();
    permit.unavailable(20 * SECOND);
    let overload = limiter
        .enter(&evil, Instant::now() + SECOND)
        .await
        .unwrap_err();
    assert!(overload.is_outage);
    let permit = limiter.enter(&chat, minute()).await.unwrap();
    permit.unavailable(10 * SECOND);
    let third = turn("third", "a");
    let overload = limiter
        .enter(&third, Instant::now() + SECOND)
        .await
        .unwrap_err();
    assert!(
        overload.is_outage && overload.wait <= 13 * SECOND,
        "{overload}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_begins_while_somebody_waits_is_kept_by_them() {
    let limiter = vault();
    let turn = Turn::default();
    let permit = limiter.enter(&turn, minute()).await.unwrap();
    permit.throttled(Some(Duration::ZERO));
    // From here on there is a pace, so the second waits for its interval.
    let first = limiter.enter(&turn, minute()).await.unwrap();
    let start = Instant::now();
    let throttling = async {
        tokio::time::sleep(SECOND / 1000).await;
        first.throttled(Some(2 * SECOND));
    };
    let (second, ()) = tokio::join!(limiter.enter(&turn, minute()), throttling);
    second.unwrap().answered();
    assert!(start.elapsed() >= 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn answers_to_one_burst_are_one_lesson() {
    let limiter = vault();
    let turn = Turn::default();
    let mut permits = Vec::new();
    for _ in 0..30 {
        permits.push(limiter.enter(&turn, minute()).await.unwrap());
    }
    tokio::time::advance(SECOND / 50).await;
    for permit in permits {
        permit.throttled(None);
    }
    let starts = starts(&limiter, 2).await;
    assert!(starts[0] >= SECOND && starts[0] < 2 * SECOND, "{starts:?}");
    assert!(between(&starts) <= SECOND / 100, "{starts:?}");
}

#[tokio::test(start_paused = true)]
async fn who_cannot_wait_is_told_at_once() {
    let limiter = vault();
    let turn = Turn::default();
    let permit = limiter.enter(&turn, minute()).await.unwrap();
    permit.throttled(Some(20 * SECOND));
    let start = Instant::now();
    let overload = limiter.enter(&turn, start + 10 * SECOND).await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(overload.limit == Limit::Vault && !overload.is_outage);
    assert!(overload.wait >= 20 * SECOND && overload.wait <= 25 * SECOND);
    // It took nobody's place.
    _ = limiter.enter(&turn, minute()).await.unwrap();
    assert!(start.elapsed() <= 25 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_503_that_says_for_how_long_is_a_pause_and_no_lesson() {
    let limiter = vault();
    let turn = Turn::default();
    let permit = limiter.enter(&turn, minute()).await.unwrap();
    permit.unavailable(20 * SECOND);
    assert!(limiter.is_paused());
    let soon = Instant::now() + SECOND;
    let overload = limiter.enter(&turn, soon).await.unwrap_err();
    assert!(overload.is_outage && overload.to_string().contains("503"));
    let starts = starts(&limiter, 1000).await;
    assert!(starts[0] >= 20 * SECOND && between(&starts).is_zero());
    assert!(!limiter.is_paused());
}

#[tokio::test(start_paused = true)]
async fn no_answer_shuts_a_vault_for_good() {
    let limiter = vault();
    let turn = Turn::default();
    let permit = limiter.enter(&turn, minute()).await.unwrap();
    permit.throttled(Some(Duration::MAX));
    let overload = limiter.enter(&turn, minute()).await.unwrap_err();
    assert!(overload.wait <= MAX_RETRY_AFTER * 5 / 4);
}

#[tokio::test(start_paused = true)]
async fn those_that_were_told_the_same_do_not_come_back_at_one_moment() {
    type Tell = fn(Permit);
    let tells: [(Duration, &[&str], Tell); 4] = [
        (10 * SECOND, &["a"], |it| it.throttled(Some(10 * SECOND))),
        (SECOND, &["a"], |it| it.throttled(None)),
        (10 * SECOND, &["a"], |it| it.unavailable(10 * SECOND)),
        // What holds for all.
        (10 * SECOND, &["b", "c"], |it| it.unavailable(10 * SECOND)),
    ];
    for (pause, told, tell) in tells {
        let mut waits = Vec::new();
        for _ in 0..20 {
            let limiter = vault();
            for namespace in told {
                let permit = limiter.enter(&turn(namespace, "c"), minute()).await;
                tell(permit.unwrap());
            }
            waits.push(wait(&limiter, &turn("a", "c")).await);
        }
        let longest = pause * 5 / 4 + SECOND / 100;
        assert!(
            waits.iter().all(|wait| (pause..=longest).contains(wait)),
            "{waits:?}"
        );
        waits.sort_unstable();
        waits.dedup();
        assert!(waits.len() > 10, "{waits:?}");
    }
}
