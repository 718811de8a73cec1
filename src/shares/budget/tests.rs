use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::FutureExt as _;
use proptest::prelude::*;
use tokio::task::JoinSet;

use super::*;

fn namespace(name: &str) -> Namespace {
    Namespace::new(name)
}

/// A call of a pod in this namespace.
fn call(budget: &Budget, name: &str) -> Account {
    budget.open(&namespace(name))
}

fn at_once(account: &Account, bytes: usize) -> Option<Held> {
    account.take(bytes).now_or_never()
}

type Taking<'a> = Pin<Box<dyn Future<Output = Held> + 'a>>;

/// One that waits, and has been asked once.
fn waiting(account: &Account, bytes: usize) -> Taking<'_> {
    let mut taking: Taking<'_> = Box::pin(account.take(bytes));
    assert!(there(&mut taking).is_none(), "it had to wait");
    taking
}

fn there(taking: &mut Taking<'_>) -> Option<Held> {
    let mut context = Context::from_waker(Waker::noop());
    match taking.as_mut().poll(&mut context) {
        Poll::Ready(held) => Some(held),
        Poll::Pending => None,
    }
}

/// All that one call may have, which asks for more: what is kept back is its own.
fn owning_all(owner: &Account) -> (Held, Taking<'_>) {
    let most = {
        let mut state = owner.state().lock();
        state.owner = Some(owner.0.age);
        state.most
    };
    (at_once(owner, most).unwrap(), waiting(owner, most))
}

#[test]
fn a_newcomer_finds_some_while_another_namespace_holds_all_it_may() {
    let budget = Budget::new(1000, 200);
    let greedy: Vec<_> = (0..50).map(|_| call(&budget, "greedy")).collect();
    let all: Vec<_> = greedy
        .iter()
        .flat_map(|account| std::iter::from_fn(|| at_once(account, 10)))
        .collect();
    assert!(all.len() > 40, "{}", all.len());
    for name in ["one", "two", "three"] {
        let newcomer = call(&budget, name);
        assert!(at_once(&newcomer, 10).is_some(), "{name}");
    }
}

#[test]
fn who_waits_for_a_vault_keeps_nothing_back_from_who_waits_for_bytes() {
    let budget = Budget::new(1500, 1000);
    let hangs = call(&budget, "h");
    let of_hangs = at_once(&hangs, 1).unwrap();
    let calls = [(); 4].map(|()| call(&budget, "v"));
    // Files of each, as many as the namespace may have, and then of each an answer of as many bytes.
    let mut files: Vec<_> = calls.iter().map(|call| (at_once(call, 60), call)).collect();
    files.retain(|(files, _)| files.is_some());
    assert!(files.len() > 2);
    for (files, call) in files {
        let answer = at_once(call, 120).expect("it hangs with the others");
        drop((files, answer));
    }
    drop(of_hangs);
}

#[test]
fn nobody_waits_behind_a_call_that_does_not_fit_for_what_it_has_already() {
    let budget = Budget::new(1500, 1000);
    let [owner, other] = ["o", "w"].map(|name| call(&budget, name));
    let of_owner = owning_all(&owner);
    let of_other = at_once(&other, 240).unwrap();
    let [large, small] = [(); 2].map(|()| call(&budget, "v"));
    let files = at_once(&large, 80).unwrap();
    let answer = waiting(&large, 80);
    assert!(at_once(&small, 1).is_some());
    drop((answer, files, of_owner, of_other));
}

#[test]
fn what_is_kept_back_gives_no_namespace_more_than_its_share_and_one_call() {
    let budget = Budget::new(1500, 1000);
    let calls: Vec<_> = (0..500).map(|_| call(&budget, "greedy")).collect();
    let held: Vec<_> = calls.iter().filter_map(|call| at_once(call, 10)).collect();
    assert!((20..30).contains(&held.len()), "{}", held.len());
    let newcomer = call(&budget, "newcomer");
    let some: Vec<_> = std::iter::from_fn(|| at_once(&newcomer, 10)).collect();
    assert!(some.len() > 10, "{}", some.len());
}

#[test]
fn the_namespace_that_holds_least_is_next_and_in_it_the_oldest_call() {
    let budget = Budget::new(1000, 100);
    let first = call(&budget, "first");
    let [old, young] = [(); 2].map(|()| call(&budget, "a"));
    let other = call(&budget, "b");
    let of_first: Vec<_> = std::iter::from_fn(|| at_once(&first, 10)).collect();
    let of_a: Vec<_> = std::iter::from_fn(|| at_once(&young, 10)).collect();
    let of_b: Vec<_> = std::iter::from_fn(|| at_once(&other, 10)).collect();
    assert!(of_a.len() > of_b.len());
    let mut next_young = waiting(&young, 10);
    let mut next_other = waiting(&other, 10);
    let mut next_old = old.take(10).boxed();
    // The oldest of a namespace may have what its others may not.
    assert!((&mut next_old).now_or_never().is_some());
    drop(of_first);
    assert!(there(&mut next_other).is_some());
    assert!(there(&mut next_young).is_some());
}

#[test]
fn nobody_waits_behind_a_call_that_only_the_owner_may_be() {
    let budget = Budget::new(1500, 1000);
    let owner = call(&budget, "o");
    let of_owner = owning_all(&owner);
    let greedy = call(&budget, "greedy");
    let all: Vec<_> = std::iter::from_fn(|| at_once(&greedy, 10)).collect();
    let [large, small, smaller] = [(); 3].map(|()| call(&budget, "a"));
    let mut takes_much = waiting(&large, 260);
    let held = at_once(&small, 50).unwrap();
    let of_smaller = at_once(&smaller, 20).unwrap();
    // Behind one that may have its bytes when others have ended, all wait.
    let mut takes_some = waiting(&small, 60);
    let mut takes_less = waiting(&smaller, 10);
    drop((all, greedy));
    assert!(there(&mut takes_some).is_some());
    assert!(there(&mut takes_less).is_some());
    assert!(there(&mut takes_much).is_none());
    drop(of_owner);
    drop(owner);
    assert!(there(&mut takes_much).is_some());
    drop((held, of_smaller));
}

#[test]
fn who_may_pass_once_others_have_taken_more_passes_then() {
    let budget = Budget::new(1500, 500);
    let owner = call(&budget, "o");
    let of_owner = owning_all(&owner);
    let [some, more] = ["w", "x"].map(|name| call(&budget, name));
    let of_some = at_once(&some, 300).unwrap();
    let [first, large, small] = [(); 3].map(|()| call(&budget, "v"));
    let of_first = at_once(&first, 70).unwrap();
    let mut takes_much = waiting(&large, 310);
    let mut takes_little = waiting(&small, 10);
    // Now the namespace could not have as much even if it held nothing.
    let of_more = at_once(&more, 150).unwrap();
    assert!(there(&mut takes_little).is_some());
    assert!(there(&mut takes_much).is_none());
    drop((of_owner, of_some, of_first, of_more));
}

#[test]
fn the_owner_does_not_pass_itself() {
    let budget = Budget::new(1500, 1000);
    let [owner, other] = ["a", "b"].map(|name| call(&budget, name));
    let held = at_once(&owner, 700).unwrap();
    let of_other = at_once(&other, 100).unwrap();
    let takes_much = waiting(&owner, 800);
    assert!(at_once(&owner, 20).is_none());
    drop((takes_much, held, of_other));
}

#[test]
fn the_owner_grows_whoever_waits_in_its_namespace() {
    let budget = Budget::new(1500, 1000);
    let [other, older, owner] = [(); 3].map(|()| call(&budget, "a"));
    let of_other = at_once(&other, 200).unwrap();
    let mut held = at_once(&owner, 310).unwrap();
    let waits = waiting(&older, 90);
    assert!(held.try_grow_to(311));
    drop((waits, of_other, held));
}

#[test]
fn what_grows_after_its_call_is_given_back() {
    let budget = Budget::new(1500, 1000);
    let ended = call(&budget, "a");
    let mut answer = at_once(&ended, 10).unwrap();
    drop(ended);
    assert!(answer.try_grow_to(20));
    drop(answer);
    let state = budget.0.lock();
    assert_eq!((state.held, state.left), (0, 0));
}

#[test]
fn bytes_are_held_as_long_as_one_part_of_them() {
    let budget = Budget::new(1500, 1000);
    let one = call(&budget, "a");
    let mut held = at_once(&one, 100).unwrap();
    let part = held.split(30);
    let rest = held.split(1000);
    assert_eq!((held.bytes(), part.bytes(), rest.bytes()), (0, 30, 70));
    assert_eq!(budget.load().held, 100);
    drop((held, rest));
    assert_eq!(budget.load().held, 30);
}

#[test]
fn what_goes_away_costs_nothing() {
    let budget = Budget::new(100, 50);
    let [one, two] = ["a", "b"].map(|name| call(&budget, name));
    let held = at_once(&one, 50).unwrap();
    let of_two = at_once(&two, 25).unwrap();
    let gone = waiting(&two, 20);
    assert_eq!(budget.load().waiting, 1);
    drop(gone);
    let given = waiting(&two, 20);
    drop((held, one));
    // It has come, and goes before it looks.
    assert_eq!(budget.load().held, 45);
    drop((given, of_two));
    assert_eq!(budget.load().held, 0);
    drop(two);
    let state = budget.0.lock();
    assert!(state.namespaces.is_empty() && state.accounts.is_empty());
}

#[test]
fn what_is_given_back_is_given_on() {
    let budget = Budget::new(100, 50);
    let one = call(&budget, "a");
    let two = call(&budget, "a");
    let mut held = at_once(&one, 50).unwrap();
    let of_two = at_once(&two, 25).unwrap();
    let mut next = waiting(&two, 10);
    held.shrink_to(10);
    assert!(there(&mut next).is_some());
    drop((held, of_two));
}

#[test]
fn one_call_that_waits_twice_is_served_in_its_order() {
    let budget = Budget::new(100, 50);
    let oldest = call(&budget, "a");
    let (mut first, mut second) = {
        let held = at_once(&oldest, 50).unwrap();
        let first = waiting(&oldest, 40);
        let second = waiting(&oldest, 10);
        drop(held);
        (first, second)
    };
    let held = there(&mut first).unwrap();
    assert!(there(&mut second).is_some());
    drop(held);
    assert_eq!(budget.load().held, 0);
}

#[test]
fn requests_of_one_namespace_leave_room_for_those_of_others() {
    let budget = Budget::new(1000, 100);
    let admit = |name: &str| {
        let account = call(&budget, name);
        let request = account.admit(10)?;
        Some((account, request))
    };
    let greedy: Vec<_> = std::iter::from_fn(|| admit("greedy")).collect();
    assert!((20..60).contains(&greedy.len()), "{}", greedy.len());
    assert!(admit("greedy").is_none());
    assert!(admit("newcomer").is_some());
}

#[test]
fn an_answer_that_nobody_reads_holds_its_bytes_alone() {
    let budget = Budget::new(100, 50);
    let [one, two] = ["a", "b"].map(|name| call(&budget, name));
    let answer = at_once(&one, 30).unwrap();
    drop(one);
    // The next one is the oldest meanwhile.
    assert!(at_once(&two, 50).is_some());
    assert_eq!(budget.load().held, 30);
    drop(answer);
    assert_eq!(budget.load().held, 0);
}

#[test]
fn what_is_shared_is_the_namespaces_until_the_last_has_ended() {
    let budget = Budget::new(1000, 100);
    let one = call(&budget, "a");
    let shared = one.try_share(100).unwrap();
    assert!(one.try_share(800).is_none());
    drop(one);
    assert_eq!(budget.load().held, 100);
    drop(shared);
    assert_eq!(budget.load().held, 0);
    assert!(budget.0.lock().namespaces.is_empty());
}

/// What one call does, step by step: so many bytes more, which it keeps, or gives back after so long.
#[derive(Clone, Debug)]
struct Step {
    bytes: usize,
    keeps: bool,
    pause: u64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (1..40_usize, any::<bool>(), 0..5_u64);
    let step = step.prop_map(|(bytes, keeps, pause)| Step {
        bytes,
        keeps,
        pause,
    });
    proptest::collection::vec(step, 1..8)
}

const TOTAL: usize = 640;
/// A request and eight steps of the largest.
const MOST: usize = 330;

/// One call from its message to its end, which may be in the middle.
async fn live(budget: Budget, name: usize, steps: Vec<Step>, patience: Option<u64>) {
    let living = async {
        let account = call(&budget, &name.to_string());
        let Some(request) = account.admit(steps.len()) else {
            return;
        };
        let mut kept = Held::nothing(&account);
        for step in steps {
            let held = account.take(step.bytes).await;
            tokio::time::sleep(Duration::from_millis(step.pause)).await;
            if step.keeps {
                kept.add(held);
            }
        }
        drop(request);
    };
    match patience {
        Some(patience) => {
            _ = tokio::time::timeout(Duration::from_millis(patience), living).await;
        }
        None => living.await,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn never_above_and_never_stuck(
        calls in proptest::collection::vec((0..4_usize, steps(), proptest::option::of(0..30_u64), 0..20_u64), 1..60),
        hanging in proptest::collection::vec((0..6_usize, 1..10_usize, 0..20_u64), 0..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let budget = Budget::new(TOTAL, MOST);
            let mut living = JoinSet::new();
            let mut others = JoinSet::new();
            for (name, bytes, comes) in hanging {
                let budget = budget.clone();
                others.spawn(async move {
                    tokio::time::sleep(Duration::from_millis(comes)).await;
                    let account = call(&budget, &name.to_string());
                    let _held = account.take(bytes).await;
                    std::future::pending::<()>().await;
                });
            }
            for (name, steps, patience, comes) in calls {
                let budget = budget.clone();
                living.spawn(async move {
                    tokio::time::sleep(Duration::from_millis(comes)).await;
                    live(budget, name, steps, patience).await;
                });
            }
            let all = async {
                while let Some(lived) = living.join_next().await {
                    lived.unwrap();
                    let load = budget.load();
                    assert!(load.held <= load.total, "{load:?}");
                }
            };
            let watch = async {
                loop {
                    let load = budget.load();
                    assert!(load.held <= load.total, "{load:?}");
                    tokio::time::sleep(Duration::from_micros(500)).await;
                }
            };
            // Sixty calls one after the other take less, whatever else hangs with few bytes.
            let all = tokio::time::timeout(Duration::from_secs(60), all);
            tokio::select! {
                ended = all => ended.expect("some call is stuck"),
                () = watch => {}
            }
            others.shutdown().await;
            assert_eq!(budget.load().held, 0);
            let state = budget.0.lock();
            assert!(state.namespaces.is_empty() && state.accounts.is_empty() && state.left == 0);
        });
    }
}
