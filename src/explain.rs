//! [`Explanation`], what the caller reads when a mount fails: a gRPC code, a reason code that stays the
//! same from release to release, the cause, and the fix.
//!
//! The only place in the tree that decides codes. The message is one line, because it is what
//! `kubectl describe pod` shows: `[REASON] cause. Fix: fix`.
//!
//! Which gRPC codes: the driver retries `UNAVAILABLE` within the same call, up to three times, and the
//! kubelet retries everything in its own time. So `UNAVAILABLE` is only used where a second call at once
//! would reach a provider that works (see docs/decisions/0004).

mod denial;
mod ids;
mod reason;
mod rejected;
mod rights;
mod token;
mod transport;
mod vault;

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use crate::azure::vault::WaitingFor;
use crate::class::asked::Asked;
use crate::class::cloud::environment_file::EnvironmentFileError;
use crate::class::identity::IdentityError;
use crate::class::parameters::ParameterError;
use crate::class::plan::PlanError;
use crate::class::problems::Problems;
use crate::class::request::RequestError;
use crate::class::service_account_tokens::TokensError;
use crate::mount::{Failure, Full, MountError, ObjectFailure, Work};
use crate::policy::Refusal;
use crate::text::excerpt::Excerpt;
use crate::transport::Phase;

pub use self::ids::short;
pub use self::reason::Reason;
pub use self::rights::RIGHTS;

/// Why a call got no files.
#[derive(Debug, Error)]
pub enum CallError {
    /// The call is not one that a driver makes.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The class cannot be served.
    #[error(transparent)]
    Parameters(#[from] Problems<ParameterError>),
    /// The class's cloud is not known.
    #[error(transparent)]
    Cloud(#[from] EnvironmentFileError),
    /// The class's files cannot be in one volume.
    #[error(transparent)]
    Plan(#[from] Problems<PlanError>),
    /// No rule of the operator's allows it.
    #[error(transparent)]
    Policy(#[from] Box<Refusal>),
    /// Azure gave no objects.
    #[error(transparent)]
    Mount(#[from] Box<MountError>),
    /// Time ran out before there was a place to work on it.
    #[error("time ran out after {} ms, before it was this mount's turn", after.as_millis())]
    NoPlace {
        /// How much time there was.
        after: Duration,
    },
    /// Time ran out before there were bytes to go on with.
    #[error("time ran out after {} ms, before there was memory for this mount", after.as_millis())]
    NoBytes {
        /// How much time there was.
        after: Duration,
    },
    /// The requests of the namespace hold all that they may.
    #[error("there is no memory for this request, which takes {bytes} bytes")]
    Crowded {
        /// What it would hold.
        bytes: usize,
    },
    /// Time ran out before the class was read.
    #[error("time ran out after {} ms, before the objects of the class were read", after.as_millis())]
    Unread {
        /// How much time there was.
        after: Duration,
        /// Whether a worker had begun to read them.
        has_begun: bool,
    },
    /// The process ends.
    #[error("the provider is stopping")]
    ShuttingDown,
    /// A bug.
    #[error("the mount panicked")]
    Panicked,
}

/// What the caller reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The stable word.
    pub reason: Reason,
    /// What happened, as a sentence without its full stop.
    pub cause: String,
    /// What to do about it, if possible a command that can be pasted.
    pub fix: String,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = self.cause.trim_end_matches('.');
        write!(f, "[{}] {cause}. Fix: {}", self.reason.as_str(), self.fix)
    }
}

/// Where a class is corrected: the driver lays the pod's own attributes over it.
const IN_THE_CLASS: &str =
    "correct it in the SecretProviderClass (or in the pod's volumeAttributes, which override it)";
/// What tokens are that the driver did not send.
const TOKENS_OF_THE_KUBELET: &str = "take csi.storage.k8s.io/serviceAccount.tokens out of the pod's volumeAttributes, and \
    let the CSIDriver object's spec.tokenRequests ask for the tokens";
/// Why a job has not begun.
const WORKERS_ARE_BUSY: &str = "other mounts kept the provider's processors busy";
/// Why there is no memory for a mount.
const OTHERS_HOLD_MEMORY: &str =
    "other mounts on the node hold what this namespace may have of the provider's --memory-budget";
const MORE_MEMORY: &str = "see in the provider's log what the others wait for, or raise --memory-budget with the container's \
    memory limit; the kubelet tries again by itself";
const LATER: &str = "the kubelet tries again by itself";
/// What helps when a service of Azure is out of order.
const OUTAGE: &str =
    "the kubelet tries again by itself; see https://azure.status.microsoft for an outage";

impl Explanation {
    /// Explains why a call got no files.
    pub fn of(error: &CallError) -> Self {
        match error {
            CallError::Request(error) => Self {
                reason: Reason::InvalidRequest,
                cause: error.to_string(),
                fix: "use the Secrets Store CSI Driver v1.1 or newer, with the CSIDriver object that its chart installs"
                    .to_owned(),
            },
            CallError::Parameters(problems) => Self {
                cause: problems.to_string(),
                ..problems.first().map_or_else(Self::of_nothing, Self::of_parameter)
            },
            CallError::Cloud(error) => Self {
                reason: Reason::InvalidParameter,
                cause: error.to_string(),
                fix: format!(
                    "{IN_THE_CLASS}, or let the provider's --cloud-env-dir name the folder that the file is in"
                ),
            },
            CallError::Plan(problems) => Self {
                cause: problems.to_string(),
                ..problems.first().map_or_else(Self::of_nothing, Self::of_plan)
            },
            CallError::Policy(refusal) => Self {
                reason: Reason::PolicyDenied,
                cause: refusal.to_string(),
                fix: format!(
                    "{IN_THE_CLASS}, or ask the platform team, whose file of the provider's --policy decides"
                ),
            },
            CallError::Mount(error) => of_mount(error),
            CallError::NoPlace { .. } => Self {
                reason: Reason::Timeout,
                cause: format!(
                    "{error}: as many mounts as this namespace may have at once were under way on the node, and none of \
                     them ended"
                ),
                fix: format!("see in the provider's log what the others wait for; {LATER}"),
            },
            CallError::NoBytes { .. } => Self {
                reason: Reason::Timeout,
                cause: format!("{error}: {OTHERS_HOLD_MEMORY}"),
                fix: MORE_MEMORY.to_owned(),
            },
            CallError::Crowded { .. } => Self {
                reason: Reason::Timeout,
                cause: format!("{error}: {OTHERS_HOLD_MEMORY}"),
                fix: format!("spread the objects over several classes; {LATER}"),
            },
            CallError::Unread { has_begun: false, .. } => Self {
                reason: Reason::Timeout,
                cause: format!("{error}: {WORKERS_ARE_BUSY}"),
                fix: LATER.to_owned(),
            },
            CallError::Unread { has_begun: true, .. } => Self {
                reason: Reason::Timeout,
                cause: format!("{error}: reading them takes so long"),
                fix: format!("spread the objects over several classes; {LATER}"),
            },
            CallError::ShuttingDown => Self {
                reason: Reason::ShuttingDown,
                cause: "the provider is stopping, and this mount did not end in time".to_owned(),
                fix: "none needed: the driver asks the next provider by itself".to_owned(),
            },
            CallError::Panicked => Self {
                reason: Reason::Internal,
                cause: "the provider has a bug that this mount met; other mounts go on".to_owned(),
                fix: "report it with the provider's log around this moment".to_owned(),
            },
        }
    }

    /// Explains why one parameter is refused.
    pub fn of_parameter(error: &ParameterError) -> Self {
        let (reason, fix) = match error {
            ParameterError::Identity(IdentityError::None) => {
                (Reason::IdentityMissing, IN_THE_CLASS.to_owned())
            }
            ParameterError::Identity(IdentityError::Tokens(TokensError::Absent {
                audience,
                found,
                ..
            })) => (
                Reason::TokenAudienceMissing,
                token_requests(audience, found),
            ),
            ParameterError::Identity(IdentityError::Tokens(TokensError::TooLong { .. })) => {
                (Reason::InvalidParameter, TOKENS_OF_THE_KUBELET.to_owned())
            }
            ParameterError::Identity(IdentityError::TooLong { key, .. }) => {
                (Reason::InvalidParameter, in_the_secret(key))
            }
            _ => (Reason::InvalidParameter, IN_THE_CLASS.to_owned()),
        };
        Self {
            reason,
            cause: error.to_string(),
            fix,
        }
    }

    /// Explains why two entries of a class do not go together.
    pub fn of_plan(error: &PlanError) -> Self {
        Self {
            reason: Reason::PathConflict,
            cause: error.to_string(),
            fix: IN_THE_CLASS.to_owned(),
        }
    }

    /// Explains a failure of which no cause is known, which is a bug.
    fn of_nothing() -> Self {
        Self {
            reason: Reason::Internal,
            cause: "the mount failed, and no cause is known".to_owned(),
            fix: "report it with the provider's log around this moment".to_owned(),
        }
    }
}

/// Where a client ID or a client secret is corrected.
fn in_the_secret(key: &str) -> String {
    format!(
        "write the {} alone into the key {key} of the Secret that the pod's nodePublishSecretRef names",
        if key == "clientid" {
            "application's client ID"
        } else {
            "value of the client secret"
        }
    )
}

/// The command that makes the driver send tokens for an audience too. Those that it sends already belong
/// to somebody, and stay.
fn token_requests(audience: &str, found: &str) -> String {
    let patch = if found == "none" {
        format!(
            "merge --patch '{{\"spec\":{{\"tokenRequests\":[{{\"audience\":\"{audience}\"}}]}}}}'"
        )
    } else {
        format!(
            "json --patch '[{{\"op\":\"add\",\"path\":\"/spec/tokenRequests/-\",\"value\":{{\"audience\":\"{audience}\"}}}}]'"
        )
    };
    format!("kubectl patch csidriver secrets-store.csi.k8s.io --type {patch}")
}

fn of_mount(error: &MountError) -> Explanation {
    let MountError { asked, failure } = error;
    match failure {
        Failure::Objects(failures) => of_objects(asked, failures),
        Failure::Whole(error) => vault::of_vault(asked, error, None),
        Failure::SamePath(path) => Explanation {
            reason: Reason::PathConflict,
            cause: format!(
                "two objects both write the file {} (a certificate gives a .crt and a .key file too)",
                Excerpt(path)
            ),
            fix: format!("give one of them another objectAlias: {IN_THE_CLASS}"),
        },
        Failure::Full(full) => of_full(*full),
        Failure::Rendering { work, .. } => {
            let (cause, fix) = match work {
                Work::Waiting => (format!("{failure}: {WORKERS_ARE_BUSY}"), LATER.to_owned()),
                Work::Pem => (
                    failure.to_string(),
                    format!("spread the certificates over several classes; {LATER}"),
                ),
                Work::Pfx => (
                    format!(
                        "{failure}: deriving the keys of PFX files takes the longer, the higher their iteration counts are"
                    ),
                    "import the certificates again with 10000 iterations or fewer, or spread them over several classes"
                        .to_owned(),
                ),
            };
            Explanation {
                reason: Reason::Timeout,
                cause,
                fix,
            }
        }
        Failure::NoBytes { .. } => Explanation {
            reason: Reason::Timeout,
            cause: format!("{failure}: {OTHERS_HOLD_MEMORY}"),
            fix: MORE_MEMORY.to_owned(),
        },
        Failure::Deadline { after, waiting_for } => {
            let (whom, phase) = match waiting_for {
                WaitingFor::Token(service, phase) => (format!("a token from {service}"), phase),
                WaitingFor::Vault(phase) => (
                    format!("Key Vault {:?} ({})", asked.vault, asked.host),
                    phase,
                ),
            };
            Explanation {
                reason: Reason::Timeout,
                cause: format!(
                    "no answer within {:.1} s; waiting for {whom} to {}",
                    after.as_secs_f64(),
                    phase.unwrap_or(Phase::Answer)
                ),
                fix: format!("check that the nodes reach it; {LATER}"),
            }
        }
    }
}

/// An answer has no room for what the class asks for.
fn of_full(full: Full) -> Explanation {
    let (cause, fix) = match full {
        Full::Bytes(_) => (
            format!("{full}, which is all that the driver takes in one answer"),
            "spread the objects over several classes, or start the driver with a larger --max-call-recv-msg-size, and \
             then the provider with a larger --max-answer-size",
        ),
        Full::Versions => (
            full.to_string(),
            "ask for shorter ones by objectVersionHistory, or spread the objects over several classes",
        ),
    };
    Explanation {
        reason: Reason::AnswerTooLarge,
        cause,
        fix: fix.to_owned(),
    }
}

/// Several objects may fail for several reasons: the first one's is the answer's, and the others follow.
fn of_objects(asked: &Asked, failures: &[ObjectFailure]) -> Explanation {
    const MAX_NAMED: usize = 10;
    let explained: Vec<_> = failures
        .iter()
        .map(|failure| vault::of_object(asked, failure))
        .collect();
    let Some(first) = explained.first() else {
        return Explanation {
            reason: Reason::Internal,
            cause: "objects failed, and none is known".to_owned(),
            fix: "report it with the provider's log around this moment".to_owned(),
        };
    };
    let mut cause = first.cause.clone();
    if failures.len() > 1 {
        let others: Vec<_> = failures
            .iter()
            .zip(&explained)
            .skip(1)
            .take(MAX_NAMED)
            .map(|(failure, why)| {
                if why.reason == first.reason {
                    ids::named(failure)
                } else {
                    format!("{} [{}]", ids::named(failure), why.reason.as_str())
                }
            })
            .collect();
        let unnamed = failures.len() - 1 - others.len();
        cause = format!(
            "{}; also failed: {}",
            cause.trim_end_matches('.'),
            others.join(", ")
        );
        if unnamed > 0 {
            cause = format!("{cause} and {unnamed} more");
        }
    }
    let fix = denial::fix_of_all(asked, first.reason, failures);
    Explanation {
        cause,
        fix: fix.unwrap_or_else(|| first.fix.clone()),
        ..first.clone()
    }
}

#[cfg(test)]
mod tests;
