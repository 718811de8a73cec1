//! [`Vaults`], the Key Vaults that this process talks to, and what they say.
//!
//! [`crate::mount`] opens a vault and gets objects from it. Everything that is Azure's SDK stays in
//! [`azure`]; everything that is Key Vault's wire stays in [`refusal`].

pub mod attributes;
pub mod azure;
mod listing;
pub mod memory;
pub mod refusal;

use std::sync::Arc;

use parking_lot::Mutex;
use thiserror::Error;
use time::OffsetDateTime;

use crate::azure::credential::token_proxy::TokenProxy;
use crate::azure::credential::{AtVault, Credentials, IdentityKey, TokenError, TokenService};
use crate::azure::limiter::{Limiter, Limits, Overload};
use crate::azure::retry::{Again, Retriable};
use crate::azure::vault::attributes::Attributes;
use crate::azure::vault::azure::Vault;
use crate::azure::vault::refusal::VaultRefusal;
use crate::class::cloud::VaultName;
use crate::class::plan::Plan;
use crate::observe::metrics::{Cache, CacheMetrics, Metrics, Traffic};
use crate::os::clock::Clock;
use crate::shares::{Kept, Namespace, Weight};
use crate::text::sensitive::Sensitive;
use crate::transport::{MAX_CONNECTIONS, Phase, Transport, TransportError};

pub use self::listing::MAX_VERSIONS as MAX_LISTED;

/// Who asks what: a vault's host, and the identity that asks it. An identity's key has the digest of what proved it, so
/// that a client is used by nobody but its own.
pub type Owner = (String, IdentityKey);

/// The most bytes of pairs of vault and identity that are kept. One has 14 to 22 KB with its credential, and each pod's
/// is another one after an hour, as [`Credentials`] has it.
const MAX_BYTES: usize = 12 << 20;
/// What such a pair weighs beside its credential: the clients of the SDK, and the header with its token.
const FIXED: usize = 10 << 10;
/// The most hosts whose limits are kept.
const MAX_HOSTS: usize = 2048;

/// The vaults that this process has talked to, each as each identity: a vault tells once whose token it
/// takes, and the answer serves every later mount.
#[derive(Debug)]
pub struct Vaults {
    transport: Transport,
    credentials: Credentials,
    max_concurrent_requests: usize,
    clock: Clock,
    open: Mutex<Kept<Arc<Owner>, Arc<Vault>>>,
    open_metrics: CacheMetrics,
    /// By host, since a vault's limits are everyone's.
    limiters: Mutex<Kept<String, Arc<Limiter>>>,
}

impl Weight for Arc<Vault> {
    fn weight(&self) -> usize {
        FIXED + self.credential().weight()
    }
}

impl Weight for Arc<Limiter> {
    /// All weigh the same.
    fn weight(&self) -> usize {
        0
    }
}

/// One version of an object as the vault has it.
#[derive(Clone, Debug)]
pub struct VaultObject {
    /// The version's id.
    pub version: String,
    /// What is in it.
    pub contents: Contents,
    /// Whether and when it is meant to be used.
    pub attributes: Attributes,
}

/// What is in an object.
#[derive(Clone, Debug)]
pub enum Contents {
    Secret {
        value: Sensitive,
        /// `kid`, which only a certificate's secret has.
        kid: Option<String>,
        /// `contentType`
        content_type: Option<String>,
    },
    /// The public half of a key.
    Key(PublicJwk),
    /// A certificate in DER.
    Certificate(Vec<u8>),
}

/// The public members of a key, as the vault's JSON Web Key has them.
#[derive(Clone, Debug, Default)]
pub struct PublicJwk {
    /// `kty`
    pub kty: Option<String>,
    /// `crv`
    pub crv: Option<String>,
    /// `n`
    pub n: Option<Vec<u8>>,
    /// `e`
    pub e: Option<Vec<u8>>,
    /// `x`
    pub x: Option<Vec<u8>>,
    /// `y`
    pub y: Option<Vec<u8>>,
}

/// One entry in the list of an object's versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedVersion {
    /// The version's id.
    pub id: String,
    /// When it was made; the vault's clock has whole seconds.
    pub created: Option<OffsetDateTime>,
    /// Whether it can be fetched.
    pub enabled: bool,
}

/// Why a vault gave no object.
#[derive(Clone, Debug, Error)]
pub enum VaultError {
    /// There was no token to ask with.
    #[error("no token for the vault")]
    Token(#[source] Box<TokenError>),
    /// The vault answered with an error of its own.
    #[error("the vault refused the request")]
    Refused(#[source] Box<VaultRefusal>),
    /// The vault could not be asked, or did not answer.
    #[error("the vault cannot be asked")]
    Transport(#[source] Box<TransportError>),
    /// A successful answer that does not have what it should.
    #[error("the vault answered without {missing}")]
    Unreadable {
        /// What is missing.
        missing: &'static str,
    },
    /// A certificate that has been asked for and is not issued yet.
    #[error("the certificate is not issued yet")]
    Pending,
    /// An object of which there is no version.
    #[error("there is no such object")]
    Absent,
    /// The vault's limits leave no time for the request.
    #[error("there is no time left to wait for the vault")]
    Overload(#[source] Overload),
    /// It is not known what the vault gave before.
    #[error("there is nothing in memory")]
    Forgotten,
    /// The SDK lost the token that it had just been given.
    #[error("the client lost its token")]
    LostToken,
    /// The SDK refuses to go on, in its own words.
    #[error("the client gave up: {problem}")]
    Client { problem: String },
}

impl VaultError {
    /// In a word, for the Go provider's metric of requests.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => match refusal.status {
                401 => "401",
                403 => "403",
                404 => "404",
                429 => "429",
                400..500 => "4xx",
                _ => "5xx",
            },
            Self::Absent => "404",
            Self::Token(_) | Self::LostToken => "no_token",
            Self::Transport(_) => "no_answer",
            Self::Overload(_) => "no_time",
            Self::Unreadable { .. } | Self::Pending | Self::Forgotten | Self::Client { .. } => {
                "unreadable"
            }
        }
    }
}

/// Whom a mount waits for, and what goes on while that one is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitingFor {
    /// The service that gives the token.
    Token(TokenService, Option<Phase>),
    Vault(Option<Phase>),
}

impl Retriable for VaultError {
    fn again(&self) -> Again {
        match self {
            Self::Refused(refusal) => refusal.again(),
            Self::Transport(error) if error.is_transient() => Again::Soon,
            Self::LostToken => Again::Now,
            // A token has had its own retries.
            _ => Again::No,
        }
    }

    fn overloaded(overload: Overload, last: Option<Self>) -> Self {
        match last {
            // It is out of order rather than overloaded, and has said so.
            Some(Self::Refused(refusal)) if refusal.status != 429 => Self::Refused(refusal),
            Some(Self::Transport(error)) => Self::Transport(error),
            _ => Self::Overload(overload),
        }
    }
}

impl VaultError {
    /// Whether the vault is out of order, rather than saying no.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Refused(refusal) => matches!(refusal.status, 408 | 429 | 500..),
            Self::Transport(error) => error.is_outage(),
            Self::Overload(_) => true,
            _ => false,
        }
    }

    /// Whether the vault itself does not give what was asked for, which is not a matter of time.
    pub fn is_denial(&self) -> bool {
        matches!(self, Self::Absent)
            || matches!(self, Self::Refused(refusal)
                if matches!(refusal.status, 403 | 404) && refusal.is_genuine())
    }

    /// Whether it says something about the one object that was asked for, not about the vault.
    pub fn concerns_one_object(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.concerns_one_object())
            || matches!(self, Self::Unreadable { .. } | Self::Pending | Self::Absent)
    }
}

impl Vaults {
    /// No vaults yet.
    pub fn new(
        transport: Transport,
        token_proxy: TokenProxy,
        max_concurrent_requests: usize,
        clock: Clock,
        metrics: &Metrics,
    ) -> Self {
        Self {
            credentials: Credentials::new(transport.clone(), token_proxy, clock, metrics),
            transport,
            max_concurrent_requests,
            clock,
            open: Mutex::new(Kept::new(MAX_BYTES)),
            open_metrics: metrics.weighed_cache(Cache::Vaults, MAX_BYTES),
            limiters: Mutex::new(Kept::for_entries(MAX_HOSTS)),
        }
    }

    /// The HTTP client.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// A vault as the plan's identity, the same client for as long as it is in use, once it is [kept](Self::keep).
    /// Sends nothing yet.
    pub fn open(&self, plan: &Plan, vault: &VaultName) -> Result<Arc<Vault>, VaultError> {
        let host = plan.cloud.vault_host(vault);
        let key = IdentityKey::of(&plan.identity, &plan.tenant, &plan.cloud);
        let owner = Arc::new((host, key));
        if plan.identity.proof_has_expired(self.clock.now()) {
            // Whether it is still good enough is for Entra ID to say, not for what was earned with it.
            return self.connect(plan, owner).map(Arc::new);
        }
        if let Some(vault) = self.open.lock().get(&plan.namespace, &owner) {
            return Ok(Arc::clone(vault));
        }
        self.connect(plan, owner).map(Arc::new)
    }

    /// Keeps an open vault for later mounts, where its identity has proved who it is.
    pub fn keep(&self, plan: &Plan, vault: &Arc<Vault>) {
        let now = self.clock.now();
        if plan.identity.proof_has_expired(now) || !vault.is_signed_in() {
            return;
        }
        let mut open = self.open.lock();
        if open.get(&plan.namespace, vault.owner()).is_some() {
            return;
        }
        // Nobody gets those any more.
        open.retain(|_, vault| vault.credential().proof_end().is_none_or(|end| now < end));
        let owner = Arc::clone(vault.owner());
        let gone = open.put(&plan.namespace, owner, Arc::clone(vault));
        self.open_metrics.evicted(gone.len());
        self.open_metrics.size(open.len(), open.bytes());
    }

    fn connect(&self, plan: &Plan, owner: Arc<Owner>) -> Result<Vault, VaultError> {
        let credential = self
            .credentials
            .get_or_build(
                &plan.namespace,
                &plan.identity,
                &plan.tenant,
                &plan.cloud,
                &owner.1,
            )
            .map_err(|error| VaultError::Token(Box::new(error)))?;
        let credential = AtVault::new(credential);
        let resource = plan.cloud.vault_resource();
        let tokens = Arc::new(credential.clone());
        let route = self
            .transport
            .to_vault(&plan.namespace, &owner.0, resource.as_deref(), tokens);
        let route = route.map_err(|error| VaultError::Client {
            problem: error.to_string(),
        })?;
        let limiter = self.limiter_of(&plan.namespace, &owner.0, route.traffic());
        Ok(Vault::new(owner, credential, route, limiter))
    }

    /// What one namespace asks for ends no pause of another one's vaults.
    fn limiter_of(
        &self,
        namespace: &Namespace,
        host: &str,
        traffic: &Arc<Traffic>,
    ) -> Arc<Limiter> {
        let limits = Limits::of_vault(self.max_concurrent_requests, MAX_CONNECTIONS);
        let mut limiters = self.limiters.lock();
        let host = host.to_owned();
        if let Some(limiter) = limiters.get(namespace, &host) {
            return Arc::clone(limiter);
        }
        let limiter = Limiter::new(limits, Arc::clone(traffic));
        limiters.put(namespace, host, Arc::clone(&limiter));
        limiter
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::azure::credential::token_proxy::TokenProxySettings;
    use crate::observe::metrics::AzureService;
    use crate::transport::TransportSettings;

    #[tokio::test]
    async fn no_namespace_ends_another_ones_pause_by_naming_vaults() {
        let metrics = Metrics::default();
        let transport = Transport::new(&TransportSettings::default(), &metrics).unwrap();
        let traffic = metrics.traffic(AzureService::Vault);
        let settings = TokenProxySettings {
            url: "https://proxy".parse().unwrap(),
            server_name: None,
            ca_file: None,
            api_server_address: None,
            api_server_port: 443,
        };
        let token_proxy = TokenProxy::new(settings, &transport, Arc::clone(&traffic));
        let vaults = Vaults::new(transport, token_proxy, 200, Clock::default(), &metrics);
        let limiter = |namespace: &str, host: &str| {
            vaults.limiter_of(&Namespace::new(namespace), host, &traffic)
        };
        let victims = limiter("victim", "good");
        assert!(
            Arc::ptr_eq(&victims, &limiter("other", "good")),
            "a vault's limits are everyone's"
        );
        for number in 0..2 * MAX_HOSTS {
            limiter("attacker", &format!("junk-{number}"));
        }
        assert!(Arc::ptr_eq(&victims, &limiter("victim", "good")));
        assert_eq!(vaults.limiters.lock().len(), MAX_HOSTS);
    }
}
