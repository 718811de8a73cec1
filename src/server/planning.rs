//! From a request to the plan of its mount: what is shared with the mounts of the same class, what a worker reads, and what the
//! policy says. [`crate::server::service`] calls it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;

use crate::class::object::yaml;
use crate::class::parameters::Draft;
use crate::class::plan::Plan;
use crate::class::request::Request;
use crate::explain::CallError;
use crate::server::classes::{Common, Digest, Entries, Text};
use crate::server::journal::Notes;
use crate::server::service::{Service, bytes};
use crate::shares::{Account, Held, Payer, Stop, Weight};

/// The most bytes of a request that is there before there are bytes for it.
const MAX_WAITING: usize = 16 << 10;
/// What reading `objects` takes, in the length of its text.
const READING: usize = 8;

/// The bytes of a request, for as long as there is one.
pub(super) struct Admitted {
    /// Of what is long.
    pub(super) digest: Option<Digest>,
    _bytes: Held,
    _text: Option<Arc<Text>>,
}

/// What is going to be done, and the bytes of it that are this mount's own.
pub(super) struct Planned {
    pub(super) plan: Plan,
    _bytes: Held,
    _entries: Option<Arc<Common<Entries>>>,
}

impl Service {
    /// Takes the bytes of the request. A short one can wait for them. What is long has a digest, and
    /// is shared with the mounts that brought the same.
    pub(super) async fn admit(
        &self,
        request: &mut Request,
        account: &Account,
        deadline: Instant,
    ) -> Result<Admitted, CallError> {
        let weight = request.weight();
        let digest = (!Draft::is_small(request)).then(|| Digest::of(request));
        let text = digest.and_then(|digest| self.classes.find_text(digest, request));
        let whole = match &text {
            Some(_) => weight,
            None => weight + request.objects.len(),
        };
        let mut held = if whole <= MAX_WAITING {
            bytes(account, whole, deadline).await?
        } else {
            account
                .admit(whole)
                .ok_or(CallError::Crowded { bytes: whole })?
        };
        let text = text.or_else(|| {
            let text = self.classes.keep_text(digest?, request, account)?;
            held.shrink_to(weight);
            Some(text)
        });
        Ok(Admitted {
            digest,
            _bytes: held,
            _text: text,
        })
    }

    /// The plan, by a worker where that may take long.
    pub(super) async fn planned(
        &self,
        request: Request,
        digest: Option<Digest>,
        payer: &Payer,
        account: &Arc<Account>,
        deadline: Instant,
        notes: &Arc<Notes>,
    ) -> Result<Planned, CallError> {
        let draft = Draft::without_objects(&request);
        // What is longer is refused, and not read.
        let whole = match request.objects.len() {
            length if length > yaml::MAX_BYTES => 0,
            length => READING * length,
        };
        let Some(digest) = digest else {
            let bytes = bytes(account, whole, deadline).await?;
            let draft = draft.with_objects(&request, &Stop::default());
            let plan = self.plan(draft, &request, notes, None)?;
            return Ok(Planned::new(plan, bytes, None));
        };
        let start = Instant::now();
        let _class = notes.phases.class.run();
        let draft = self.refuse_early(&request, draft)?;
        // What others have read need not be read again, while it is held here.
        let known = self.classes.find(digest);
        let unread = if known.is_some() { 0 } else { whole };
        let bytes = bytes(account, unread, deadline).await?;
        let (service, notes) = (self.clone(), Arc::clone(notes));
        let account = Arc::clone(account);
        let has_begun = Arc::new(AtomicBool::new(false));
        let begins = Arc::clone(&has_begun);
        let planning =
            self.provider
                .workers()
                .run(payer, "reading the class's objects", move |stop| {
                    begins.store(true, Ordering::Relaxed);
                    service.plan_of_class(&request, draft, &notes, stop, (digest, &account, bytes))
                });
        tokio::time::timeout_at(deadline, planning)
            .await
            .unwrap_or_else(|_| {
                Err(CallError::Unread {
                    after: start.elapsed(),
                    has_begun: has_begun.load(Ordering::Relaxed),
                })
            })
    }

    /// Refuses what the policy refuses whatever the objects are, which need not be read then.
    fn refuse_early(&self, request: &Request, draft: Draft) -> Result<Draft, CallError> {
        let Some(policy) = &self.policy else {
            return Ok(draft);
        };
        let Some(question) = draft.question() else {
            return Err(draft.finish().err().unwrap_or_default().into());
        };
        let cloud = self.environment_files.resolve(question.cloud.clone())?;
        let default_cloud = &self.environment_files.default;
        policy
            .current()
            .check_question(&request.pod, question, &cloud, default_cloud)?;
        Ok(draft)
    }

    /// The plan of a class that others may have read already, and that others may have from then on.
    fn plan_of_class(
        &self,
        request: &Request,
        draft: Draft,
        notes: &Notes,
        stop: &Stop,
        (digest, account, bytes): (Digest, &Account, Held),
    ) -> Result<Planned, CallError> {
        if let Some(entries) = self.classes.find(digest) {
            let plan = self.plan(draft, request, notes, Some(entries.value()))?;
            return Ok(Planned::new(plan, bytes, Some(entries)));
        }
        let draft = draft.with_objects(request, stop);
        let warnings = draft.warnings.iter().map(ToString::to_string).collect();
        let plan = self.plan(draft, request, notes, None)?;
        let fetches = Arc::clone(&plan.fetches);
        let entries = Entries { fetches, warnings };
        let entries = self.classes.keep(digest, entries, weight(&plan), account);
        Ok(Planned::new(plan, bytes, entries))
    }

    /// What the class asks for, if the policy allows it.
    fn plan(
        &self,
        draft: Draft,
        request: &Request,
        notes: &Notes,
        known: Option<&Entries>,
    ) -> Result<Plan, CallError> {
        let parameters = draft.finish()?;
        match known {
            Some(known) => notes.warn(known.warnings.iter().cloned()),
            None => notes.warn(parameters.warnings.iter().map(ToString::to_string)),
        }
        let cloud = self.environment_files.resolve(parameters.cloud.clone())?;
        let mut plan = Plan::new(parameters, cloud, self.conventions, request.default_mode)?;
        if let Some(known) = known {
            plan.fetches = Arc::clone(&known.fetches);
        }
        notes.plan(&plan);
        if let Some(policy) = &self.policy {
            let default_cloud = &self.environment_files.default;
            policy.current().check(&request.pod, &plan, default_cloud)?;
        }
        Ok(plan)
    }
}

impl Planned {
    /// What is going to be done. Its entries are others' too, or the mount's own.
    fn new(plan: Plan, mut bytes: Held, entries: Option<Arc<Common<Entries>>>) -> Self {
        let own = if entries.is_some() { 0 } else { weight(&plan) };
        bytes.shrink_to(own);
        Self {
            plan,
            _bytes: bytes,
            _entries: entries,
        }
    }
}

fn weight(plan: &Plan) -> usize {
    plan.fetches.iter().map(Weight::weight).sum()
}
