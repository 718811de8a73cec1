use tempfile::TempDir;

use super::*;
use crate::cluster::event::{EventReason, PodName};
use crate::cluster::note::Note;
use crate::cluster::test_server::{self, Fault};
use crate::transport::{Transport, TransportSettings};

/// A node that tells its pods something.
struct Node {
    server: test_server::ApiServer,
    events: PodEvents,
    _folder: TempDir,
    writing: tokio::task::JoinHandle<()>,
}

impl Node {
    async fn start() -> Self {
        let server = test_server::ApiServer::start().await;
        let folder = tempfile::tempdir().unwrap();
        let metrics = Metrics::default();
        let transport = Transport::new(&TransportSettings::default(), &metrics).unwrap();
        let kubeconfig = server.kubeconfig(folder.path());
        let api = ApiServer::from_kubeconfig(&transport, &kubeconfig).unwrap();
        let events = PodEvents::new(api, "node-1", &metrics, Clock::of_tokio());
        let writer = events.clone();
        let writing = tokio::spawn(async move { match writer.write().await {} });
        Self {
            server,
            events,
            _folder: folder,
            writing,
        }
    }

    fn counted(&self, outcome: EventOutcome) -> u64 {
        self.events.0.metrics.counted(outcome)
    }

    /// Waits until so many events came to this end.
    async fn once_counted(&self, outcome: EventOutcome, count: u64) {
        self.server.once(|_| self.counted(outcome) >= count).await;
        assert_eq!(self.counted(outcome), count);
    }

    /// The methods of the requests that came, by their first letters.
    fn methods(&self) -> String {
        let requests = self.server.requests();
        requests.iter().map(|seen| &seen.method[..2]).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.writing.abort();
    }
}

fn event(pod: &str, reason: EventReason, key: &str) -> PodEvent {
    PodEvent {
        pod: PodName {
            namespace: "shop".to_owned(),
            name: pod.to_owned(),
            uid: format!("uid-of-{}", cut(pod, 100)),
        },
        reason,
        note: Note::new(&format!("{} of {pod}", reason.as_str()), key),
        key: key.to_owned(),
    }
}

fn failed(pod: &str) -> PodEvent {
    event(pod, EventReason::SecretRotationFailed, "k")
}

#[tokio::test]
async fn a_pod_has_its_event() {
    let node = Node::start().await;
    let reasons = [
        (EventReason::SecretRotationFailed, "Warning"),
        (EventReason::SecretRotationRecovered, "Normal"),
        (EventReason::SecretRotationComplete, "Normal"),
    ];
    for (reason, _) in reasons {
        node.events.tell(event("web-0", reason, "k"));
    }
    let long = format!("{}.{}", "x".repeat(240), "y".repeat(12));
    node.events.tell(failed(&long));
    let events = node.server.events_once_there_are(4).await;
    for (event, (reason, kind)) in events.iter().zip(reasons) {
        let found = (
            &*event.namespace,
            &*event.pod,
            &*event.uid,
            &*event.instance,
        );
        assert_eq!(found, ("shop", "web-0", "uid-of-web-0", "node-1"));
        assert_eq!((&*event.kind, &*event.reason), (kind, reason.as_str()));
        assert_eq!(event.note, format!("{} of web-0 k", reason.as_str()));
        assert!(event.name.starts_with("web-0."), "{}", event.name);
        assert_eq!((event.count, &event.first), (1, &event.last));
    }
    assert_eq!(events[3].pod, long);
    node.once_counted(EventOutcome::Created, 4).await;
    assert_eq!(
        (&*node.methods(), node.server.connections()),
        ("POPOPOPO", 1)
    );
}

#[tokio::test]
async fn the_same_event_goes_on_and_another_is_another() {
    let node = Node::start().await;
    node.events.tell(failed("web-0"));
    node.once_counted(EventOutcome::Created, 1).await;
    let later = PodEvent {
        note: Note::new("in other words", ""),
        ..failed("web-0")
    };
    node.events.tell(later);
    node.once_counted(EventOutcome::Refreshed, 1).await;
    node.events.tell(failed("web-1"));
    node.events
        .tell(event("web-0", EventReason::SecretRotationFailed, "other"));
    node.once_counted(EventOutcome::Created, 3).await;
    let events = node.server.events();
    let counts: Vec<_> = events
        .iter()
        .map(|event| (&*event.pod, event.count))
        .collect();
    assert_eq!(counts, [("web-0", 2), ("web-1", 1), ("web-0", 1)]);
    // Nobody may change its text.
    assert_eq!(events[0].note, "SecretRotationFailed of web-0 k");
    assert!(events[0].first < events[0].last);
    assert_eq!(node.methods(), "POPAPOPO");
    // It expires, and goes on as what it was.
    node.server.forget_events();
    node.events.tell(failed("web-0"));
    node.once_counted(EventOutcome::Created, 4).await;
    let again = node.server.events();
    assert_eq!((again.len(), again[0].count), (1, 3));
    assert_eq!(again[0].first, events[0].first);
    node.events.tell(failed("web-0"));
    node.once_counted(EventOutcome::Refreshed, 2).await;
    assert_eq!(node.methods(), "POPAPOPOPAPOPA");
}

#[tokio::test]
async fn what_fails_is_tried_again_and_what_is_refused_is_not() {
    let node = Node::start().await;
    node.server.fail(1, None, Fault::LoseAnswer);
    node.events.tell(failed("web-0"));
    node.once_counted(EventOutcome::Created, 1).await;
    // It was there already.
    assert_eq!((node.server.events().len(), &*node.methods()), (1, "POPO"));
    for status in [403, 404, 422] {
        node.server.fail(1, None, Fault::Answer(status));
    }
    for pod in ["web-1", "web-2", "web-3"] {
        node.events.tell(failed(pod));
    }
    node.once_counted(EventOutcome::Refused, 3).await;
    assert_eq!(
        (node.server.events().len(), &*node.methods()),
        (1, "POPOPOPOPO")
    );
    node.events.tell(failed("web-4"));
    node.once_counted(EventOutcome::Created, 2).await;
    assert_eq!(node.counted(EventOutcome::Failed), 0);
}

#[tokio::test]
async fn a_pod_that_cannot_be_is_told_nothing() {
    let node = Node::start().await;
    let good = failed("web-0").pod;
    for pod in [
        PodName {
            namespace: "../x".to_owned(),
            ..good.clone()
        },
        PodName {
            name: String::new(),
            ..good.clone()
        },
        PodName {
            uid: "x".repeat(1_000_000),
            ..good.clone()
        },
        PodName {
            uid: "a\"b".to_owned(),
            ..good
        },
    ] {
        node.events.tell(PodEvent {
            pod,
            ..failed("web-0")
        });
    }
    assert_eq!(node.counted(EventOutcome::Refused), 4);
    node.events.tell(failed("web-0"));
    node.once_counted(EventOutcome::Created, 1).await;
    assert_eq!(node.methods(), "PO");
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_hangs_costs_events_and_nothing_else() {
    let node = Node::start().await;
    node.server.fail(usize::MAX, None, Fault::Hang);
    for pod in 0..2000 {
        node.events.tell(failed(&format!("web-{pod}")));
    }
    assert!(node.counted(EventOutcome::Dropped) > 1000);
    tokio::time::sleep(Duration::from_secs(120)).await;
    let requests = node.server.requests().len();
    assert!(
        (1..12).contains(&requests),
        "{requests} requests in two minutes"
    );
    assert!(node.server.events().is_empty());
    node.server.mend();
    let waiting = node.counted(EventOutcome::Dropped);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(
        node.server.events().len() > 20,
        "{:?}",
        node.server.events().len()
    );
    assert_eq!(node.counted(EventOutcome::Dropped), waiting);
}

#[test]
fn pauses_grow_and_obey_the_api_server() {
    let seconds = |failures, error: &ClusterError| pause(failures, error).as_secs_f64();
    for (failures, least, most) in [
        (1, 0.5, 1.0),
        (2, 1.0, 2.0),
        (4, 4.0, 8.0),
        (99, 30.0, 60.0),
    ] {
        let found = seconds(failures, &ClusterError::Broken(500));
        assert!((least..=most).contains(&found), "{failures}: {found}");
    }
    for (asked, least, most) in [(20, 20.5, 21.0), (1_000_000, 300.5, 301.0)] {
        let throttled = ClusterError::Throttled {
            status: 429,
            retry_after: Some(Duration::from_secs(asked)),
        };
        let found = seconds(1, &throttled);
        assert!((least..=most).contains(&found), "{asked}: {found}");
    }
}
