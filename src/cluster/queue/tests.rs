use super::*;
use crate::cluster::event::{EventReason, PodName};
use crate::cluster::note::Note;

fn event(namespace: &str, pod: usize) -> PodEvent {
    PodEvent {
        pod: PodName {
            namespace: namespace.to_owned(),
            name: format!("p-{pod}"),
            uid: format!("u-{pod}"),
        },
        reason: EventReason::SecretRotationFailed,
        note: Note::new(&"x".repeat(1000), ""),
        key: String::new(),
    }
}

fn at(second: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(second).unwrap()
}

/// The pod that is written next, as `NAMESPACE/NAME`, or how long to wait.
fn next(queue: &mut Queue, now: Instant) -> Result<String, Option<Duration>> {
    match queue.next(now) {
        Next::Write(waiting) => {
            let pod = &waiting.event.pod;
            Ok(format!("{}/{}", pod.namespace, pod.name))
        }
        Next::Wait(until) => Err(Some(until - now)),
        Next::Nothing => Err(None),
    }
}

#[test]
fn a_node_writes_some_at_once_and_then_one_by_one() {
    let start = Instant::now();
    let mut queue = Queue::new(start);
    for pod in 0..60 {
        queue.tell(event(&format!("n-{pod}"), pod), at(0));
    }
    for pod in 0..10 {
        assert_eq!(next(&mut queue, start), Ok(format!("n-{pod}/p-{pod}")));
    }
    let mut now = start;
    for pod in 10..60 {
        let wait = next(&mut queue, now).unwrap_err().unwrap();
        assert_eq!(wait, OF_NODE.1);
        now += wait;
        assert_eq!(next(&mut queue, now), Ok(format!("n-{pod}/p-{pod}")));
    }
    assert_eq!(next(&mut queue, now), Err(None));
    assert_eq!(now - start, OF_NODE.1 * 50);
}

#[test]
fn a_namespace_with_much_to_tell_holds_up_none_but_its_own() {
    let start = Instant::now();
    let mut queue = Queue::new(start);
    for pod in 0..100 {
        queue.tell(event("attacker", pod), at(0));
    }
    let mut now = start;
    let mut written = 0;
    // Until its own pace is what it waits for, which is a namespace's rather than the node's.
    loop {
        match next(&mut queue, now) {
            Ok(_) => written += 1,
            Err(Some(wait)) if wait > OF_NODE.1 => break,
            Err(wait) => now += wait.unwrap(),
        }
    }
    assert!((30..40).contains(&written), "{written}");
    // Who comes late is next, as soon as the node may write.
    now += OF_NODE.1;
    queue.tell(event("victim", 1), at(0));
    assert_eq!(next(&mut queue, now), Ok("victim/p-1".to_owned()));
    // The rest comes at the namespace's pace.
    let first = now;
    for _ in 0..5 {
        while let Err(Some(wait)) = next(&mut queue, now) {
            now += wait;
        }
    }
    assert!(now - first > OF_NAMESPACE.1 * 4, "{:?}", now - first);
    // Nothing is remembered of who has not written for long.
    next(&mut queue, now + OF_NAMESPACE.1 * 100).unwrap();
    assert_eq!(queue.namespaces.len(), 1);
}

#[test]
fn namespaces_take_turns() {
    let now = Instant::now();
    let mut queue = Queue::new(now);
    for (namespace, pod) in [("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 2), ("c", 1)] {
        queue.tell(event(namespace, pod), at(0));
    }
    let order: Vec<_> = std::iter::from_fn(|| next(&mut queue, now).ok()).collect();
    assert_eq!(
        order,
        ["a/p-1", "b/p-1", "c/p-1", "a/p-2", "b/p-2", "a/p-3"]
    );
}

#[test]
fn a_full_queue_leaves_out_what_the_largest_namespace_tells() {
    let now = Instant::now();
    let mut queue = Queue::new(now);
    queue.tell(event("victim", 0), at(0));
    let gone: usize = (0..5000)
        .map(|pod| queue.tell(event("attacker", pod), at(0)))
        .sum();
    assert_eq!(queue.waiting.len() + gone, 5001);
    assert!(queue.waiting.len() > 200 && queue.waiting.bytes() <= MAX_BYTES);
    assert_eq!(next(&mut queue, now), Ok("victim/p-0".to_owned()));
}

#[test]
fn what_is_told_again_waits_once() {
    let now = Instant::now();
    let mut queue = Queue::new(now);
    queue.tell(event("n", 1), at(1));
    queue.tell(event("n", 2), at(2));
    let again = PodEvent {
        note: Note::new("later", ""),
        ..event("n", 1)
    };
    queue.tell(again, at(3));
    let Next::Write(mut tried) = queue.next(now) else {
        panic!("an event waits");
    };
    assert_eq!((tried.first, tried.last, tried.times), (at(1), at(3), 2));
    assert_eq!(tried.event.note.as_str(), "later");
    // It fails, is told once more meanwhile, and stands before the other again.
    tried.tries = 1;
    let number = tried.number;
    queue.tell(event("n", 1), at(4));
    queue.put_back(*tried);
    let Next::Write(back) = queue.next(now) else {
        panic!("an event waits");
    };
    assert_eq!(back.event.pod.name, "p-1");
    assert_eq!((back.first, back.last, back.times), (at(1), at(4), 3));
    assert_eq!((back.tries, back.number), (1, number));
    assert_eq!(next(&mut queue, now), Ok("n/p-2".to_owned()));
    assert_eq!(next(&mut queue, now), Err(None));
}
