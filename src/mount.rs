//! [`Provider::mount`], the main job: from a [`Plan`] to the files that the driver writes.
//!
//! A mount answers all of its files or none. A failure that concerns single objects (not found, not
//! allowed) names every one of them; one that concerns the vault or the identity ends the mount at once.

use std::pin::pin;

use futures::FutureExt as _;
use futures::stream::{self, StreamExt as _};
use thiserror::Error;
use tokio::time::{Duration, Instant};

use crate::assertion::Claims;
use crate::credential::TokenService;
use crate::file_mode::FileMode;
use crate::identity::Identity;
use crate::object::FilePath;
use crate::plan::{Fetch, Plan};
use crate::retry::retry;
use crate::sensitive::Sensitive;
use crate::transport::Transport;
use crate::vault::azure::Vault;
use crate::vault::{VaultError, Vaults};

/// How many objects of one mount are fetched side by side.
const CONCURRENT_FETCHES: usize = 16;

/// What serves every mount of this process.
#[derive(Debug)]
pub struct Provider {
    vaults: Vaults,
}

/// One file of the answer.
#[derive(Debug)]
pub struct MountedFile {
    /// Its path in the volume.
    pub path: FilePath,
    /// Its mode.
    pub mode: FileMode,
    /// Its bytes.
    pub contents: Sensitive,
    /// The id of the object it comes from.
    pub id: String,
    /// The version of the object in the vault.
    pub version: String,
}

/// Why a mount failed: what was asked by whom, and what went wrong.
#[derive(Debug, Error)]
#[error("the mount failed")]
pub struct MountError {
    /// Who asked which vault.
    pub asked: Asked,
    /// What went wrong.
    #[source]
    pub failure: Failure,
}

/// Who asked which vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The vault's name.
    pub vault: String,
    /// The vault's host.
    pub host: String,
    /// The tenant.
    pub tenant: String,
    /// The kind of identity.
    pub identity: &'static str,
    /// Its client ID, where the class names one.
    pub client_id: Option<String>,
    /// What the pod's token says, for a workload identity.
    pub claims: Option<Claims>,
}

/// What went wrong.
#[derive(Debug, Error)]
pub enum Failure {
    /// Some of the objects cannot be had; at least one.
    #[error("{} of the objects cannot be had", .0.len())]
    Objects(Vec<ObjectFailure>),
    /// The vault or the identity, so that no object can be had.
    #[error("the vault cannot be used")]
    Whole(#[source] VaultError),
    /// The caller's time, or ours, ran out.
    #[error("time ran out after {} ms", after.as_millis())]
    Deadline {
        /// How much time there was.
        after: Duration,
        /// Who was being waited for: the service that gives tokens, or else the vault.
        waiting_for: Option<TokenService>,
    },
}

/// One object that cannot be had.
#[derive(Debug, Error)]
#[error("{} {}", fetch.kind.as_str(), fetch.name.as_str())]
pub struct ObjectFailure {
    /// What was wanted.
    pub fetch: Fetch,
    /// Why it cannot be had.
    #[source]
    pub error: VaultError,
}

impl Provider {
    /// A provider that has talked to nobody yet.
    pub fn new(transport: Transport) -> Self {
        Self {
            vaults: Vaults::new(transport),
        }
    }

    /// Fetches everything that the plan names, in its order.
    pub async fn mount(
        &self,
        plan: &Plan,
        deadline: Instant,
    ) -> Result<Vec<MountedFile>, Box<MountError>> {
        let start = Instant::now();
        let result = match self.vaults.open(plan) {
            Ok(vault) => {
                // Pinned here, so that it is still waiting when it is asked for whom.
                let mut work = pin!(fetch_all(&vault, plan, deadline));
                match tokio::time::timeout_at(deadline, work.as_mut()).await {
                    Ok(result) => result,
                    Err(_) => Err(Failure::Deadline {
                        after: start.elapsed(),
                        waiting_for: vault.credential().pending(),
                    }),
                }
            }
            Err(error) => Err(Failure::Whole(error)),
        };
        result.map_err(|failure| {
            Box::new(MountError {
                asked: Asked::by(plan),
                failure,
            })
        })
    }
}

/// Fetches side by side and puts the files in order.
async fn fetch_all(
    vault: &Vault,
    plan: &Plan,
    deadline: Instant,
) -> Result<Vec<MountedFile>, Failure> {
    let fetches = plan.fetches.iter().enumerate();
    let fetches: Vec<_> = fetches
        .map(|(index, fetch)| fetch_one(vault, fetch, deadline).map(move |result| (index, result)))
        .collect();
    let mut fetches = stream::iter(fetches).buffer_unordered(CONCURRENT_FETCHES);
    let mut files = Vec::with_capacity(plan.fetches.len());
    let mut failures = Vec::new();
    while let Some((index, result)) = fetches.next().await {
        match result {
            Ok(file) => files.push((index, file)),
            Err(error) if error.concerns_one_object() => failures.push((index, error)),
            // Dropping the stream ends the requests that are under way.
            Err(error) => return Err(Failure::Whole(error)),
        }
    }
    if failures.is_empty() {
        files.sort_by_key(|(index, _)| *index);
        return Ok(files.into_iter().map(|(_, file)| file).collect());
    }
    failures.sort_by_key(|(index, _)| *index);
    let failures = failures.into_iter().map(|(index, error)| ObjectFailure {
        fetch: plan.fetches[index].clone(),
        error,
    });
    Err(Failure::Objects(failures.collect()))
}

async fn fetch_one(
    vault: &Vault,
    fetch: &Fetch,
    deadline: Instant,
) -> Result<MountedFile, VaultError> {
    let secret = retry(deadline, VaultError::again, || {
        vault.secret(&fetch.name, &fetch.version)
    })
    .await?;
    Ok(MountedFile {
        path: fetch.path.clone(),
        mode: fetch.mode,
        contents: secret.value,
        id: fetch.id.clone(),
        version: secret.version,
    })
}

impl Asked {
    fn by(plan: &Plan) -> Self {
        Self {
            vault: plan.vault.as_str().to_owned(),
            host: plan.cloud.vault_host(&plan.vault),
            tenant: plan.tenant.as_str().to_owned(),
            identity: plan.identity.kind(),
            client_id: plan.identity.client_id().map(str::to_owned),
            claims: match &plan.identity {
                Identity::Workload { assertion, .. } => Claims::of(assertion),
                Identity::Managed(_) => None,
            },
        }
    }
}
