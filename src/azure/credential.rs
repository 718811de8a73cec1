//! [`Credentials`], from an [`Identity`] to the token that Key Vault takes.
//!
//! There is one credential per identity for the process's life, so that a token is fetched once and
//! serves every mount until it is about to expire. A workload identity is known by the assertion
//! itself (its digest), not by what the parameters claim: a pod that names another pod's client ID
//! gets a credential of its own, and Entra ID refuses it.

mod at_vault;
mod imds;
mod known;
pub mod refusal;
mod source;
pub mod token_proxy;
mod tokens;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use azure_core::credentials::AccessToken;
use thiserror::Error;
use time::OffsetDateTime;

use crate::azure::credential::imds::ImdsQueue;
use crate::azure::credential::known::{Keeping, Known};
use crate::azure::credential::refusal::{EntraRefusal, ImdsRefusal};
use crate::azure::credential::source::Source;
use crate::azure::credential::token_proxy::{TokenProxy, TokenProxyError};
use crate::azure::credential::tokens::{Digest, Step, Tokens};
use crate::azure::limiter::{Limiter, Limits, Overload};
use crate::azure::retry::{Again, Retriable};
use crate::class::cloud::Cloud;
use crate::class::identity::{Identity, IdentityName};
use crate::class::parameters::TenantId;
use crate::observe::metrics::{AzureService, Metrics};
use crate::os::clock::Clock;
use crate::shares::{Namespace, Waiters};
use crate::transport::{Phase, Route, Transport, TransportError};

pub use self::at_vault::AtVault;

/// How long a token may take, with every wait and retry. Below the mount's own deadline, so that the
/// message can say that it was the token, and long enough for most pauses that a service asks for.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(45);

/// The credentials that this process has.
#[derive(Debug)]
pub struct Credentials {
    transport: Transport,
    token_proxy: Arc<TokenProxy>,
    clock: Clock,
    imds_queue: Arc<ImdsQueue>,
    known: Arc<Known>,
}

/// Whose token it is. Two identities with equal keys may share a token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdentityKey {
    pub identity: IdentityName,
    /// Where it is known; nothing for one of the node's, which IMDS knows.
    pub realm: Option<Realm>,
    /// The SHA-256 digest of what proves who asks: the assertion or the client secret.
    proof: Option<[u8; 32]>,
}

/// Where Entra ID, or a token proxy in its place, knows an identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Realm {
    /// The authority's URL.
    pub authority: String,
    pub tenant: TenantId,
}

impl IdentityKey {
    /// The key of an identity.
    pub fn of(identity: &Identity, tenant: &TenantId, cloud: &Cloud) -> Self {
        let proof = match identity {
            Identity::Workload { assertion, .. } | Identity::Binding { assertion, .. } => {
                Some(assertion)
            }
            Identity::ServicePrincipal { secret, .. } => Some(secret),
            Identity::Managed(_) => None,
        };
        Self {
            identity: identity.name(),
            realm: proof.map(|_| Realm {
                authority: cloud.authority().to_owned(),
                tenant: tenant.clone(),
            }),
            proof: proof.map(|proof| sha256(proof.expose())),
        }
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let mut array = [0; 32];
    array.copy_from_slice(digest.as_ref());
    array
}

/// The service that gives tokens to an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenService {
    /// Microsoft Entra ID.
    Entra,
    /// The Azure Instance Metadata Service of the node.
    Imds,
    /// The token proxy of the AKS cluster.
    TokenProxy,
}

impl fmt::Display for TokenService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Entra => "Entra ID",
            Self::Imds => "IMDS",
            Self::TokenProxy => "the AKS token proxy",
        })
    }
}

/// Why there is no token.
#[derive(Clone, Debug, Error)]
pub enum TokenError {
    /// Entra ID answered with an error of its own.
    #[error("Entra ID refused the identity")]
    Entra(#[source] EntraRefusal),
    /// IMDS answered with an error of its own.
    #[error("IMDS refused the identity")]
    Imds(#[source] ImdsRefusal),
    /// The token proxy answered with an error: one of Entra ID's, which it relays, or one of its own, which
    /// has no code.
    #[error("the AKS token proxy refused the identity")]
    TokenProxy(#[source] EntraRefusal),
    /// The token proxy is not known well enough to be asked.
    #[error("the AKS token proxy cannot be found")]
    NoTokenProxy(#[source] TokenProxyError),
    /// The service could not be asked, or did not answer.
    #[error("{service} cannot be asked for a token")]
    Transport {
        service: TokenService,
        /// What went wrong.
        #[source]
        source: TransportError,
    },
    /// No token in time.
    #[error("{service} gave no token within {} s: it took too long to {phase}", after.as_secs())]
    Timeout {
        service: TokenService,
        /// The time it had.
        after: Duration,
        /// What went on last.
        phase: Phase,
    },
    /// The service's limits leave no time for it.
    #[error("there is no time left to wait for a token")]
    Overload(#[source] Overload),
    /// The SDK refuses to ask, in its own words.
    #[error("the client gave up: {problem}")]
    Client { problem: String },
    /// An answer that has no token in it.
    #[error("{service} answered with something that is no token")]
    Unreadable { service: TokenService },
}

impl Retriable for TokenError {
    fn again(&self) -> Again {
        match self {
            Self::Entra(refusal) | Self::TokenProxy(refusal) => refusal.again(),
            Self::Imds(refusal) => refusal.again(),
            Self::Transport { source, .. } if source.is_transient() => Again::Soon,
            Self::NoTokenProxy(error) if error.is_transient() => Again::Soon,
            _ => Again::No,
        }
    }

    fn overloaded(overload: Overload, last: Option<Self>) -> Self {
        match last {
            // It is out of order rather than overloaded, and has said so.
            Some(last) if last.status() != Some(429) => last,
            _ => Self::Overload(overload),
        }
    }
}

impl TokenError {
    /// The HTTP status, if the service answered.
    fn status(&self) -> Option<u16> {
        match self {
            Self::Entra(refusal) | Self::TokenProxy(refusal) => Some(refusal.status),
            Self::Imds(refusal) => Some(refusal.status),
            _ => None,
        }
    }
}

impl Credentials {
    /// No credentials yet.
    pub fn new(
        transport: Transport,
        token_proxy: TokenProxy,
        clock: Clock,
        metrics: &Metrics,
    ) -> Self {
        Self {
            transport,
            token_proxy: Arc::new(token_proxy),
            clock,
            imds_queue: Arc::new(ImdsQueue::new(Limiter::new(
                Limits::of_imds(),
                metrics.traffic(AzureService::Imds),
            ))),
            known: Arc::new(Known::new(clock, metrics)),
        }
    }

    /// The credential of the identity that has this key, the same one for as long as it is in use, and longer where it
    /// has had a token, for which the namespace pays. One whose proof has expired gets another one, which has no token
    /// yet.
    pub fn get_or_build(
        &self,
        namespace: &Namespace,
        identity: &Identity,
        tenant: &TenantId,
        cloud: &Cloud,
        key: &IdentityKey,
    ) -> Result<Credential, TokenError> {
        if identity.proof_has_expired(self.clock.now()) {
            return self.build(identity, tenant, cloud, None);
        }
        self.known.get_or_build(namespace, key, || {
            let keeping = Keeping {
                known: Arc::downgrade(&self.known),
                namespace: namespace.clone(),
                key: key.clone(),
            };
            self.build(identity, tenant, cloud, Some(keeping))
        })
    }

    fn build(
        &self,
        identity: &Identity,
        tenant: &TenantId,
        cloud: &Cloud,
        keeping: Option<Keeping>,
    ) -> Result<Credential, TokenError> {
        Ok(Credential(Arc::new(Inner {
            keeping,
            source: Source::new(
                identity,
                tenant,
                cloud,
                &self.transport,
                &self.token_proxy,
                &self.imds_queue,
            )?,
            tokens: Tokens::new(self.clock),
        })))
    }
}

/// One identity's credential. Clones share everything.
#[derive(Clone)]
pub struct Credential(Arc<Inner>);

struct Inner {
    /// Where it is kept; nothing for one that is not.
    keeping: Option<Keeping>,
    source: Source,
    tokens: Tokens,
}

impl Inner {
    /// Whether a token may not be asked for at once, since one was refused a moment ago.
    fn must_wait(&self) -> bool {
        self.tokens.must_wait() || self.source.is_paused()
    }
}

impl Credential {
    /// What it weighs in memory.
    pub fn weight(&self) -> usize {
        self.0.weight()
    }

    /// When what proves the identity expires, where it does.
    pub fn proof_end(&self) -> Option<OffsetDateTime> {
        self.0.source.proof_end()
    }

    /// The service that gives its tokens.
    pub fn service(&self) -> TokenService {
        self.0.source.service()
    }

    /// The way to that service.
    pub async fn way(&self) -> Result<Arc<Route>, TokenError> {
        self.0.source.way().await
    }

    /// A token for this scope: the known one, or one that is asked for once, however many wait for it.
    pub async fn token(&self, scope: &str) -> Result<AccessToken, TokenError> {
        self.token_without(scope, &[]).await
    }

    /// The same for a vault that has rejected these; one of them only where there is no other.
    async fn token_without(
        &self,
        scope: &str,
        rejected: &[Digest],
    ) -> Result<AccessToken, TokenError> {
        let service = self.0.source.service();
        let token = self
            .0
            .tokens
            .get(scope, rejected, |waiters| self.asking(scope, waiters));
        // A panic in there is a bug, whose place is in the log.
        let token = token.await;
        token.unwrap_or(Err(TokenError::Unreadable { service }))
    }

    /// Asks for another token for a vault that has rejected these, and says whether there is one.
    async fn replace(&self, scope: &str, rejected: &[Digest], step: &Step) -> bool {
        let ask = |waiters| self.asking(scope, waiters);
        self.0.tokens.replace(scope, rejected, step, ask).await
    }

    fn asking(
        &self,
        scope: &str,
        waiters: Waiters,
    ) -> impl Future<Output = Result<AccessToken, TokenError>> + Send + 'static {
        let (this, scope) = (Arc::clone(&self.0), scope.to_owned());
        async move {
            let result = this.source.token(&scope, &waiters).await;
            if let Some(keeping) = &this.keeping {
                keeping.ended(&this, result.as_ref().ok());
            }
            result
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("service", &self.0.source.service())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
