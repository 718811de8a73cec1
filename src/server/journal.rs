//! [`Journal`], the line that each mount leaves in the log, and how loud it is.
//!
//! [`crate::server::service`] begins an [`Entry`] with each mount and says how it ends. The driver mounts every volume
//! again and again, with rotation about once a minute, and a node has a hundred of them: so what came out as it did
//! before is said at `debug`, what is new at `info`, and what failed at `warn`. How a volume came out before is
//! kept as hashes, of as many volumes as a node may have.

use std::fmt::Write as _;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, MutexGuard};
use time::OffsetDateTime;
use tokio::time::Instant;
use tonic::Code;
use tracing::Level;

use crate::class::asked::Asked;
use crate::class::identity::IdentityName;
use crate::class::object::ObjectVersion;
use crate::class::plan::Plan;
use crate::class::request::Pod;
use crate::explain::{CallError, Explanation, short};
use crate::mount::MountedFile;
use crate::observe::metrics::spelling;
use crate::observe::phases::{MountPhase, Phases, ReadSource};
use crate::observe::telemetry::FAILED_MOUNTS;
use crate::observe::traces::Trace;
use crate::shares::{Kept, Namespace, Weight};
use crate::text::excerpt::{causes, one_line, plain};

/// The most volumes of which it is known how they came out. The kubelet runs 110 pods by default.
const MAX_VOLUMES: usize = 4096;
/// The most objects that a line names.
const MAX_OBJECTS: usize = 20;
/// The most warnings that a mount leaves besides its line.
const MAX_WARNINGS: usize = 10;
/// The most characters of a failure's message, as in the answer.
const MAX_MESSAGE: usize = 3000;
/// The most characters of a name.
const MAX_NAME: usize = 253;
/// The most characters of an object's version, which has 32.
const MAX_VERSION: usize = 64;
/// The most characters of what is said of a chain: some names of certificates.
const MAX_ODDITY: usize = 1000;

/// What is known of how volumes came out.
#[derive(Debug)]
pub struct Journal {
    known: Mutex<Kept<u64, Last>>,
    /// The objects' versions of whose chains something has been said.
    said: Mutex<Kept<u64, Said>>,
    /// Nobody outside can tell what has which hash.
    hashes: RandomState,
}

/// How a volume last came out.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    /// The hash of what was mounted.
    mounted: Option<u64>,
    /// How often it has failed since.
    failures: u32,
}

impl Weight for Last {
    /// All weigh the same.
    fn weight(&self) -> usize {
        0
    }
}

/// Something has been said.
#[derive(Debug)]
struct Said;

impl Weight for Said {
    fn weight(&self) -> usize {
        0
    }
}

/// What a mount leaves on its way, for the line and the metrics at its end.
#[derive(Debug, Default)]
pub struct Notes {
    /// Where its time goes.
    pub phases: Arc<Phases>,
    /// The mount as a span.
    pub trace: Trace,
    planned: OnceLock<Planned>,
    warnings: OnceLock<Vec<String>>,
}

/// What a plan says that belongs into the line.
#[derive(Debug)]
struct Planned {
    identity: &'static str,
    identity_id: Option<String>,
    vault: String,
    objects: String,
}

impl Notes {
    /// The class may not mean what it says.
    pub fn warn(&self, warnings: impl Iterator<Item = String>) {
        _ = self.warnings.set(warnings.take(MAX_WARNINGS).collect());
    }

    /// This is going to be done.
    pub fn plan(&self, plan: &Plan) {
        let asked = Asked::by(plan, &plan.vault);
        let IdentityName { kind, id } = asked.identity;
        let id = id.as_str();
        let ids = plan.fetches.iter().map(|fetch| match &fetch.version {
            ObjectVersion::Latest => (fetch.id.as_str(), ""),
            ObjectVersion::Exact(version) => (fetch.id.as_str(), version.as_str()),
        });
        self.trace.record("identity", kind);
        self.trace.record("vault", asked.vault.as_str());
        _ = self.planned.set(Planned {
            identity: kind,
            // Of a resource ID, the name at its end.
            identity_id: id.map(|id| plain(&short(id.rsplit('/').next().unwrap_or_default()), 32)),
            vault: asked.vault,
            objects: listed(ids),
        });
    }
}

/// A mount under way. One that is dropped without a word was left by its caller.
#[derive(Debug)]
#[must_use]
pub struct Entry<'a> {
    journal: &'a Journal,
    notes: Arc<Notes>,
    start: Instant,
    volume: Option<u64>,
    /// What pays for what is kept of it.
    payer: Namespace,
    namespace: Option<String>,
    pod: Option<String>,
    class: Option<String>,
    has_ended: bool,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            known: Mutex::new(Kept::for_entries(MAX_VOLUMES)),
            said: Mutex::new(Kept::for_entries(MAX_VOLUMES)),
            hashes: RandomState::new(),
        }
    }
}

impl Journal {
    /// A mount begins.
    pub fn begin(&self) -> Entry<'_> {
        Entry {
            journal: self,
            notes: Arc::new(Notes {
                trace: Trace::mount(),
                ..Notes::default()
            }),
            start: Instant::now(),
            volume: None,
            payer: Namespace::default(),
            namespace: None,
            pod: None,
            class: None,
            has_ended: false,
        }
    }

    /// Puts down how a volume came out, and gives how it did before.
    fn put(
        &self,
        payer: &Namespace,
        volume: Option<u64>,
        change: impl FnOnce(Last) -> Last,
    ) -> Last {
        let Some(volume) = volume else {
            return Last::default();
        };
        let mut known = self.known();
        let last = known.get(payer, &volume).copied().unwrap_or_default();
        known.put(payer, volume, change(last));
        last
    }

    fn known(&self) -> MutexGuard<'_, Kept<u64, Last>> {
        self.known.lock()
    }
}

/// Writes the line of an entry: whom and what it was about, how long it took, and what else is said.
macro_rules! line {
    ($entry:expr, $target:expr, $level:expr, $code:expr, $objects:expr, { $($more:tt)* }, $($message:tt)+) => {{
        let (entry, phases) = ($entry, &$entry.notes.phases);
        let planned = entry.notes.planned.get();
        let took = |phase| phases.taken(phase).map(milliseconds);
        let came_from = |source| Some(phases.reads.of(source)).filter(|objects| *objects > 0);
        tracing::event!(
            target: $target,
            $level,
            namespace = entry.namespace.as_deref(),
            pod = entry.pod.as_deref(),
            class = entry.class.as_deref(),
            identity = planned.map(|planned| planned.identity),
            identity_id = planned.and_then(|planned| planned.identity_id.as_deref()),
            vault = planned.map(|planned| planned.vault.as_str()),
            objects = $objects,
            milliseconds = milliseconds(entry.start.elapsed()),
            class_ms = phases.class.read().map(milliseconds),
            connect_ms = took(MountPhase::Connect),
            token_ms = took(MountPhase::Token),
            limiter_ms = took(MountPhase::Limiter),
            vault_ms = took(MountPhase::Vault),
            render_ms = took(MountPhase::Render),
            shared = came_from(ReadSource::Shared),
            memory = came_from(ReadSource::Memory),
            code = spelling($code),
            $($more)*
            $($message)+
        );
    }};
}

/// The target of the lines of mounts that came out.
const MOUNTS: &str = "provider_azure_rs::mounts";

impl Entry<'_> {
    /// What the mount leaves on its way.
    pub fn notes(&self) -> &Arc<Notes> {
        &self.notes
    }

    /// It is this pod's volume at this path of the node.
    pub fn set_volume(&mut self, pod: &Pod, path: &str) {
        let name = |name: &str| (!name.is_empty()).then(|| plain(name, MAX_NAME));
        self.volume = Some(self.journal.hashes.hash_one((pod, path)));
        self.payer = Namespace::new(&pod.namespace);
        self.namespace = name(&pod.namespace);
        self.pod = name(&pod.name);
        self.class = name(&pod.class);
        let trace = &self.notes.trace;
        trace.record("k8s.namespace.name", self.namespace.as_deref());
        trace.record("k8s.pod.name", self.pod.as_deref());
        trace.record("class", self.class.as_deref());
    }

    /// It came out.
    pub fn mounted(mut self, files: &[MountedFile]) {
        self.has_ended = true;
        self.notes.trace.record("code", spelling(Code::Ok));
        let warnings = self.warnings(files);
        let versions = files
            .iter()
            .map(|file| (file.id.as_str(), file.version.as_str()));
        let result = self
            .journal
            .hashes
            .hash_one((&warnings, versions.clone().collect::<Vec<_>>()));
        let last = self.journal.put(&self.payer, self.volume, |_| Last {
            mounted: Some(result),
            failures: 0,
        });
        let objects = listed(versions);
        let objects = objects.as_str();
        let failures = (last.failures > 0).then_some(last.failures);
        if last.mounted == Some(result) && failures.is_none() {
            line!(
                &self,
                MOUNTS,
                Level::DEBUG,
                Code::Ok,
                objects,
                {},
                "mounted again, unchanged"
            );
            return;
        }
        let what = match (last.mounted, failures) {
            (_, Some(_)) => "mounted again after failures",
            (Some(_), None) => "mounted again, changed",
            (None, None) => "mounted",
        };
        line!(&self, MOUNTS, Level::INFO, Code::Ok, objects, { failures, }, "{what}");
        self.say(&warnings);
        self.say(&self.chain_oddities(files));
    }

    pub fn failed(mut self, explanation: &Explanation, error: &CallError) {
        let (reason, causes) = (explanation.reason, causes(error));
        self.notes.trace.record("reason", reason.as_str());
        let last = self.fail(
            reason.code(),
            Some((reason.as_str(), causes.as_str())),
            &one_line(&explanation.to_string(), MAX_MESSAGE),
        );
        if last.failures == 0 {
            self.say(&self.warnings(&[]));
        }
    }

    /// Writes a failure's line, and gives how the volume came out before.
    fn fail(&mut self, code: Code, why: Option<(&str, &str)>, message: &str) -> Last {
        self.has_ended = true;
        self.notes.trace.record("code", spelling(code));
        self.notes.trace.record("otel.status_code", "ERROR");
        let last = self.journal.put(&self.payer, self.volume, |last| Last {
            failures: last.failures.saturating_add(1),
            ..last
        });
        let planned = self.notes.planned.get();
        let objects = planned.map(|planned| planned.objects.as_str());
        let (reason, causes) = (why.map(|why| why.0), why.map(|why| why.1));
        line!(&*self, FAILED_MOUNTS, Level::WARN, code, objects, { reason, causes, }, "{message}");
        last
    }

    /// What there is to say besides: of the class, and of objects that are served though they are not meant
    /// to be used.
    fn warnings(&self, files: &[MountedFile]) -> Vec<String> {
        let of_class = self.notes.warnings.get().into_iter().flatten();
        let of_class =
            of_class.map(|warning| format!("the class may not mean what it says: {warning}"));
        let now = OffsetDateTime::now_utc();
        let of_objects = files.iter().flat_map(|file| {
            file.oddities(now).map(|oddity| {
                let (id, version) = (plain(&file.id, MAX_NAME), plain(&file.version, MAX_VERSION));
                format!(
                    "{id} version {version} {oddity}; it is served all the same, as the vault serves it"
                )
            })
        });
        let mut warnings: Vec<String> = of_class.chain(of_objects).take(MAX_WARNINGS).collect();
        // An object may have several files.
        warnings.dedup();
        warnings
    }

    /// What is odd about chains of certificates, once for each version of an object: other pods have it too, and it does
    /// not change.
    fn chain_oddities(&self, files: &[MountedFile]) -> Vec<String> {
        let vault = self.notes.planned.get().map(|planned| &planned.vault);
        let mut said = self.journal.said.lock();
        let new = files.iter().filter_map(|file| {
            let oddity = file.chain_oddity.as_ref()?;
            let object = (vault, &file.id, &file.version, oddity);
            let object = self.journal.hashes.hash_one(object);
            if said.get(&self.payer, &object).is_some() {
                return None;
            }
            said.put(&self.payer, object, Said);
            let (id, version) = (plain(&file.id, MAX_NAME), plain(&file.version, MAX_VERSION));
            Some(format!(
                "{id} version {version}: the chain of the certificate is not whole: {}; it is served all the same, as \
                 the vault has it",
                plain(oddity, MAX_ODDITY)
            ))
        });
        new.take(MAX_WARNINGS).collect()
    }

    fn say(&self, warnings: &[String]) {
        let (namespace, pod) = (self.namespace.as_deref(), self.pod.as_deref());
        let class = self.class.as_deref();
        for warning in warnings {
            tracing::warn!(namespace, pod, class, "{warning}");
        }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            let message = "the caller went away before the mount ended";
            self.fail(Code::Cancelled, None, message);
        }
    }
}

fn milliseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// `secret/A=VERSION, key/B`, and how many more.
fn listed<'a>(objects: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut list = String::new();
    let mut before = None;
    let mut named = 0;
    let mut more = 0;
    for object in objects {
        // The files of one object follow each other.
        if before.replace(object) == Some(object) {
            continue;
        }
        if named == MAX_OBJECTS {
            more += 1;
            continue;
        }
        let (id, version) = object;
        let comma = if named == 0 { "" } else { ", " };
        _ = write!(list, "{comma}{}", plain(id, MAX_NAME));
        if !version.is_empty() {
            _ = write!(list, "={}", plain(version, MAX_VERSION));
        }
        named += 1;
    }
    if more > 0 {
        _ = write!(list, " and {more} more");
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_objects_is_bounded() {
        let few = [("secret/a", "1"), ("secret/a", "1"), ("key/b", "")];
        assert_eq!(listed(few.into_iter()), "secret/a=1, key/b");
        assert_eq!(listed(std::iter::empty()), "");
        let many: Vec<_> = (0..30).map(|n| format!("secret/{n}\n")).collect();
        let long = "7".repeat(100_000);
        let list = listed(many.iter().map(|id| (id.as_str(), long.as_str())));
        assert!(list.starts_with(r"secret/0\n=777"), "{list}");
        assert!(list.ends_with("… and 10 more"), "{list}");
        assert!(list.len() < 2500 && !list.contains('\n'), "{list}");
    }

    #[test]
    fn the_volumes_of_one_namespace_push_out_no_others() {
        let journal = Journal::default();
        let drop_one = |namespace: &str, uid: usize| {
            let mut entry = journal.begin();
            let pod = Pod {
                namespace: namespace.to_owned(),
                uid: uid.to_string(),
                ..Pod::default()
            };
            entry.set_volume(&pod, "/volume");
            let volume = entry.volume;
            drop(entry);
            volume
        };
        let of_victim = drop_one("victim", 0).unwrap();
        for uid in 0..2 * MAX_VOLUMES {
            drop_one("attacker", uid);
        }
        let victim = Namespace::new("victim");
        let mut known = journal.known();
        assert!(known.get(&victim, &of_victim).is_some());
    }

    #[test]
    fn what_is_known_of_volumes_is_bounded() {
        let journal = Journal::default();
        for n in 0..10_000 {
            let mut entry = journal.begin();
            let pod = Pod {
                uid: format!("{n}"),
                ..Pod::default()
            };
            entry.set_volume(&pod, "/volume");
            drop(entry);
        }
        assert_eq!(journal.known().len(), MAX_VOLUMES);
        // Without a pod there is nothing to know.
        drop(journal.begin());
        assert_eq!(journal.known().len(), MAX_VOLUMES);
    }
}
