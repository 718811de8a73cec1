//! [`Workers`], threads for what takes CPU, beside those of the runtime and fair between namespaces.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

use super::{Namespace, Places, Rank};
use crate::text::excerpt::plain;

/// The most processors that are counted. The runtime has as many threads at most.
const MAX_PROCESSORS: usize = 4;
/// The work of one mount that is worth a line in the log before it ends.
const LONG: Duration = Duration::from_secs(1);
/// The most characters of a name in the log.
const MAX_NAME: usize = 253;

/// What runs jobs that take CPU. Those that answer calls, probes and signals never wait for one.
#[derive(Clone, Debug)]
pub struct Workers {
    places: Arc<Places>,
}

/// The mount that pays for jobs; by default one that no pod asks for.
#[derive(Debug, Default)]
pub struct Payer {
    namespace: Namespace,
    pod: String,
    class: String,
    /// How long its jobs have taken that have ended.
    nanoseconds: AtomicU64,
    is_told: AtomicBool,
}

/// Tells a job that nobody waits for it any longer.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Whether the job may end without a result.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Ends the job when it next looks.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sets a [`Stop`] however its caller ends.
struct StopAtEnd(Stop);

impl Drop for StopAtEnd {
    fn drop(&mut self) {
        self.0.set();
    }
}

impl Payer {
    /// This pod's mount of this class.
    pub fn new(namespace: &str, pod: &str, class: &str) -> Self {
        Self {
            namespace: Namespace::new(namespace),
            pod: pod.to_owned(),
            class: class.to_owned(),
            nanoseconds: AtomicU64::new(0),
            is_told: AtomicBool::new(false),
        }
    }

    /// How much longer its jobs may take before somebody is told.
    fn left(&self) -> Duration {
        let taken = Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed));
        LONG.saturating_sub(taken)
    }

    fn add(&self, taken: Duration) {
        let nanoseconds = u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Says once what takes so long.
    fn tell(&self, what: &'static str) {
        if self.is_told.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::warn!(
            namespace = plain(self.namespace.as_str(), MAX_NAME),
            pod = plain(&self.pod, MAX_NAME),
            class = plain(&self.class, MAX_NAME),
            "this mount keeps a processor busy for more than {} s: {what}; it goes on, and its line at its end says how \
             long it took",
            LONG.as_secs(),
        );
    }
}

impl Default for Workers {
    /// As the processors are.
    fn default() -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self::new(processors)
    }
}

impl Workers {
    /// One more than there are processors, so that a namespace that is alone has all of these, and leaves a thread to the
    /// next one.
    pub fn new(processors: usize) -> Self {
        let processors = processors.clamp(1, MAX_PROCESSORS);
        Self {
            places: Places::new(processors + 1, processors),
        }
    }

    /// Runs a job when it is the payer's turn, and says what it is if it takes long.
    ///
    /// If this is dropped, the job is told to stop, and its place is free as soon as it has.
    pub async fn run<T: Send + 'static>(
        &self,
        payer: &Payer,
        what: &'static str,
        job: impl FnOnce(&Stop) -> T + Send + 'static,
    ) -> T {
        let place = self.places.take(&payer.namespace, Rank::default()).await;
        let stop = Stop::default();
        let _stop_at_end = StopAtEnd(stop.clone());
        let start = Instant::now();
        let mut job = spawn_blocking(move || {
            let _place = place;
            job(&stop)
        });
        let result = if let Ok(result) = timeout(payer.left(), &mut job).await {
            result
        } else {
            payer.tell(what);
            job.await
        };
        payer.add(start.elapsed());
        match result {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The runtime ends, and nobody waits any longer.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn payer(namespace: &str) -> Payer {
        Payer::new(namespace, "pod", "class")
    }

    #[tokio::test]
    async fn a_second_namespace_finds_a_place_and_one_that_goes_gives_its_own_back() {
        let workers = Workers::new(1);
        let (started, mut has_started) = tokio::sync::mpsc::unbounded_channel();
        let greedy = |started: tokio::sync::mpsc::UnboundedSender<()>| {
            let workers = workers.clone();
            tokio::spawn(async move {
                let job = move |stop: &Stop| {
                    started.send(()).unwrap();
                    while !stop.is_set() {
                        std::thread::yield_now();
                    }
                };
                workers.run(&payer("greedy"), "spinning", job).await;
            })
        };
        let jobs = [greedy(started.clone()), greedy(started)];
        has_started.recv().await.unwrap();
        assert_eq!(workers.run(&payer("other"), "adding", |_| 1 + 1).await, 2);
        // The second one has waited all the time, and its turn comes when the caller of the first goes away.
        assert!(has_started.try_recv().is_err());
        jobs[0].abort();
        jobs[1].abort();
        while workers.places.load() != (0, 0) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_namespace_alone_has_all_processors() {
        for processors in 1..=MAX_PROCESSORS {
            let workers = Workers::new(processors);
            let all = std::sync::Barrier::new(processors);
            let all = Arc::new(all);
            let payer = payer("alone");
            let jobs = (0..processors).map(|_| {
                let all = Arc::clone(&all);
                // Each ends once all have begun.
                workers.run(&payer, "waiting", move |_| all.wait().is_leader())
            });
            let leaders = futures::future::join_all(jobs).await;
            assert_eq!(leaders.iter().filter(|is_leader| **is_leader).count(), 1);
        }
    }

    #[tokio::test]
    async fn a_panic_is_the_callers() {
        let workers = Workers::new(1);
        let run = tokio::spawn({
            let workers = workers.clone();
            async move {
                workers
                    .run(&payer("n"), "failing", |_| panic!("canary"))
                    .await;
            }
        });
        let error = run.await;
        assert!(error.unwrap_err().is_panic());
        assert_eq!(workers.places.load(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_long_is_told_once() {
        let (workers, payer) = (Workers::new(1), payer("n"));
        assert_eq!(payer.left(), LONG);
        let (end, ended) = mpsc::channel::<()>();
        let job = workers.run(&payer, "waiting", move |_| ended.recv());
        let ending = async {
            while !payer.is_told.load(Ordering::Relaxed) {
                tokio::time::advance(LONG).await;
            }
            end.send(()).unwrap();
        };
        tokio::join!(job, ending).0.unwrap();
        assert_eq!(payer.left(), Duration::ZERO);
    }
}
