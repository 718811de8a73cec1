use std::sync::mpsc;

use futures::future::join_all;

use super::*;

/// A resolver whose lookups end when the test says so.
struct Resolver {
    names: Names,
    /// The lookups that have begun, and were not answered yet.
    asked: Arc<Mutex<Vec<Asked>>>,
    hosts: tempfile::NamedTempFile,
}

struct Asked {
    name: String,
    answer: mpsc::Sender<Answer>,
}

fn address(last: u8) -> IpAddr {
    [127, 0, 0, last].into()
}

fn refused(temporary: bool) -> Answer {
    Err(DnsError {
        temporary,
        problem: "refused".to_owned(),
    })
}

/// The names that begin with this hang until they are answered; all others have an address at once.
const HANGING: &str = "hanging";

impl Resolver {
    fn new() -> Self {
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let hosts = tempfile::NamedTempFile::new().unwrap();
        let of_lookups = Arc::clone(&asked);
        let resolve = move |name: &str| {
            if !name.starts_with(HANGING) {
                return Ok(vec![address(1)]);
            }
            let (answer, answered) = mpsc::channel();
            of_lookups.lock().push(Asked {
                name: name.to_owned(),
                answer,
            });
            answered.recv().unwrap_or_else(|_| refused(true))
        };
        let metrics = Metrics::default();
        Self {
            names: Names::with(resolve, hosts.path().to_owned(), &metrics),
            asked,
            hosts,
        }
    }

    /// A mount in this namespace that waits for a name.
    fn wait(&self, namespace: &str, name: &str) -> tokio::task::JoinHandle<Answer> {
        let (names, name) = (self.names.clone(), name.to_owned());
        let looking_up = async move { names.look_up(&name).await };
        tokio::spawn(Namespace::new(namespace).around(looking_up))
    }

    fn begun(&self) -> usize {
        self.asked.lock().len()
    }

    /// Waits until so many lookups have begun.
    async fn begin(&self, count: usize) {
        while self.begun() < count {
            tokio::task::yield_now().await;
        }
    }

    /// Answers a lookup of this name.
    fn answer(&self, name: &str, answer: Answer) {
        let mut asked = self.asked.lock();
        let index = asked.iter().position(|asked| asked.name == name).unwrap();
        asked.remove(index).answer.send(answer).unwrap();
    }

    fn fallbacks(&self) -> u64 {
        self.names.0.metrics.outages().addresses.get()
    }
}

#[tokio::test]
async fn a_flood_of_hanging_names_delays_no_other_kind_of_name() {
    let resolver = Resolver::new();
    let found_before = resolver.wait("victim", "known").await.unwrap();
    assert_eq!(found_before.unwrap(), [address(1)]);
    std::fs::write(resolver.hosts.path(), "127.0.0.1 in-hosts").unwrap();
    let flood: Vec<_> = (0..600)
        .map(|n| resolver.wait(&format!("attacker-{}", n % 20), &format!("{HANGING}-{n}")))
        .collect();
    resolver.begin(UNHEARD_OF.0).await;
    // All places for unheard-of names are taken. What is known by now would be asked for again.
    resolver
        .names
        .0
        .state
        .lock()
        .found
        .get_mut(&Namespace::default(), &"known".to_owned())
        .unwrap()
        .fresh_until = Instant::now();
    for name in ["known", "in-hosts"] {
        let answer = resolver.wait("victim", name).await.unwrap();
        assert_eq!(answer.unwrap(), [address(1)], "{name}");
    }
    // Nobody waits for them any more, and they have their places all the same.
    flood.iter().for_each(tokio::task::JoinHandle::abort);
    join_all(flood).await;
    assert_eq!(resolver.names.0.unheard_of.load(), (UNHEARD_OF.0, 0));
    assert_eq!(resolver.begun(), UNHEARD_OF.0);
}

#[tokio::test]
async fn one_namespace_leaves_places_to_the_others() {
    let resolver = Resolver::new();
    let _flood: Vec<_> = (0..600)
        .map(|n| resolver.wait("attacker", &format!("{HANGING}-{n}")))
        .collect();
    resolver.begin(UNHEARD_OF.1).await;
    let answer = resolver.wait("victim", "new").await.unwrap();
    assert_eq!(answer.unwrap(), [address(1)]);
    assert_eq!(resolver.begun(), UNHEARD_OF.1);
}

#[tokio::test]
async fn one_namespace_alone_looks_up_several_new_names_side_by_side() {
    let resolver = Resolver::new();
    let waiting: Vec<_> = (0..10)
        .map(|n| resolver.wait("alone", &format!("{HANGING}-{n}")))
        .collect();
    resolver.begin(10).await;
    for n in 0..10 {
        resolver.answer(&format!("{HANGING}-{n}"), Ok(vec![address(2)]));
    }
    for answer in join_all(waiting).await {
        assert_eq!(answer.unwrap().unwrap(), [address(2)]);
    }
}

#[tokio::test]
async fn a_name_that_waits_in_one_line_is_looked_up_from_another() {
    let resolver = Resolver::new();
    let _flood: Vec<_> = (0..UNHEARD_OF.1)
        .map(|n| resolver.wait("attacker", &format!("{HANGING}-{n}")))
        .collect();
    resolver.begin(UNHEARD_OF.1).await;
    // It was the attacker who asked for it first.
    let first = resolver.wait("attacker", "shared");
    tokio::task::yield_now().await;
    let second = resolver.wait("victim", "shared");
    assert_eq!(second.await.unwrap().unwrap(), [address(1)]);
    assert_eq!(first.await.unwrap().unwrap(), [address(1)]);
}

#[tokio::test]
async fn a_name_is_looked_up_once_whoever_waits() {
    let resolver = Resolver::new();
    let waiting: Vec<_> = (0..100)
        .map(|n| resolver.wait(&format!("namespace-{}", n % 7), HANGING))
        .collect();
    resolver.begin(1).await;
    resolver.answer(HANGING, Ok(vec![address(2)]));
    for answer in join_all(waiting).await {
        assert_eq!(answer.unwrap().unwrap(), [address(2)]);
    }
    assert_eq!(resolver.begun(), 0);
    assert!(resolver.names.0.state.lock().flights.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_last_addresses_serve_while_the_resolver_cannot_say() {
    let resolver = Resolver::new();
    let first = resolver.wait("a", HANGING);
    resolver.begin(1).await;
    resolver.answer(HANGING, Ok(vec![address(2)]));
    assert_eq!(first.await.unwrap().unwrap(), [address(2)]);
    // It does not answer, and nobody waits for it again and again.
    tokio::time::advance(FRESH).await;
    let start = Instant::now();
    let answer = resolver.wait("a", HANGING).await.unwrap();
    assert_eq!(answer.unwrap(), [address(2)]);
    assert_eq!((start.elapsed(), resolver.fallbacks()), (PATIENCE, 1));
    let again = resolver.wait("b", HANGING).await.unwrap();
    assert_eq!(again.unwrap(), [address(2)]);
    assert_eq!((start.elapsed(), resolver.fallbacks()), (PATIENCE, 1));
    // It says that it cannot say.
    tokio::time::advance(OUTAGE_PAUSE).await;
    resolver.begin(1).await;
    resolver.answer(HANGING, refused(true));
    let state = || resolver.names.0.state.lock();
    while !state().flights.is_empty() {
        tokio::task::yield_now().await;
    }
    // After some hours they are too old.
    tokio::time::advance(MAX_AGE).await;
    let late = resolver.wait("a", HANGING);
    resolver.begin(1).await;
    resolver.answer(HANGING, refused(true));
    assert!(late.await.unwrap().unwrap_err().temporary);
}

#[tokio::test]
async fn an_answer_is_an_answer() {
    for (temporary, serves) in [(true, true), (false, false)] {
        let resolver = Resolver::new();
        for answer in [Ok(vec![address(2)]), refused(temporary)] {
            let waiting = resolver.wait("a", HANGING);
            resolver.begin(1).await;
            resolver.answer(HANGING, answer.clone());
            let found = waiting.await.unwrap();
            assert_eq!(found.is_ok(), answer.is_ok() || serves);
            if let Some(known) = resolver
                .names
                .0
                .state
                .lock()
                .found
                .get_mut(&Namespace::default(), &HANGING.to_owned())
            {
                known.fresh_until = Instant::now();
            }
        }
        // What is said not to be there is known no longer.
        let found = &mut resolver.names.0.state.lock().found;
        assert_eq!(
            found
                .get(&Namespace::default(), &HANGING.to_owned())
                .is_some(),
            serves
        );
    }
}

#[test]
fn the_resolvers_errors_have_kinds() {
    // As Linux numbers them: EAI_NONAME, EAI_AGAIN, EAI_FAIL, EAI_NODATA, EAI_MEMORY.
    for (number, temporary) in [
        (-2, false),
        (-3, true),
        (-4, true),
        (-5, false),
        (-10, true),
    ] {
        let error = DnsError::from(LookupError::new(number));
        assert_eq!(error.temporary, temporary, "{error}");
        assert!(error.to_string().starts_with("failed to lookup"), "{error}");
    }
    assert!(resolve("127.0.0.1").unwrap() == [address(1)]);
}
