//! One entry of a class by itself, for `doctor`, which goes on where a mount ends.

use std::sync::Arc;

use tokio::time::Instant;

use super::{FromVault, MountedFile, ObjectProblem, Objects, Provider, Source, Workshop};
use crate::azure::vault::VaultError;
use crate::azure::vault::azure::Vault;
use crate::class::plan::{Fetch, Plan};
use crate::observe::phases::Phases;
use crate::shares::{Account, Payer};

impl Provider {
    /// The plan's vault as the plan's identity. Sends nothing yet.
    pub fn vault(&self, plan: &Plan) -> Result<Arc<Vault>, VaultError> {
        self.vaults.open(plan, &plan.vault)
    }

    /// The files that one entry of the plan becomes.
    pub async fn files_of(
        &self,
        vault: &Arc<Vault>,
        plan: &Plan,
        fetch: &Fetch,
        payer: &Payer,
        deadline: Instant,
    ) -> Result<Vec<MountedFile>, ObjectProblem> {
        let (phases, account) = (Phases::default(), Account::unbounded());
        let source = Source::Vault(FromVault {
            namespace: plan.namespace.clone(),
            vault,
            member: None,
            memory: None,
            is_remount: false,
            patience: deadline,
            deadline,
            turn: Arc::default(),
            requests: &self.requests,
            counts: &phases.reads,
        });
        let workshop = Workshop::new(&self.workers, payer, &account, &phases);
        let objects = Objects::new(&source, &workshop, self.max_answer_size);
        objects.files_of(fetch).await
    }
}
