//! [`Credentials`], from an [`Identity`] to the token that Key Vault takes.
//!
//! There is one credential per identity for the process's life, so that a token is fetched once and
//! serves every mount until it is about to expire. A workload identity is known by the assertion
//! itself (its digest), not by what the parameters claim: a pod that names another pod's client ID
//! gets a credential of its own, and Entra ID refuses it.

pub mod refusal;
pub mod token_proxy;

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_core::http::{ClientMethodOptions, ClientOptions};
use azure_identity::{
    ClientAssertion, ClientAssertionCredential, ClientAssertionCredentialOptions,
    ClientSecretCredential, ClientSecretCredentialOptions, ManagedIdentityCredential,
    ManagedIdentityCredentialOptions, UserAssignedId,
};
use futures::TryFutureExt as _;
use lru::LruCache;
use thiserror::Error;
use tokio::time::Instant;

use crate::cloud::Cloud;
use crate::credential::refusal::{EntraRefusal, ImdsRefusal};
use crate::credential::token_proxy::{TokenProxy, TokenProxyError};
use crate::identity::{Identity, ManagedIdentity};
use crate::parameters::TenantId;
use crate::retry::{Again, retry};
use crate::sensitive::Sensitive;
use crate::transport::{Transport, TransportError, in_chain};

/// How long a token may take, with every wait and retry. Below the mount's own deadline, so that the
/// message can say that it was the token.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(20);
/// The most identities that are kept. A node runs at most some hundreds of pods; the kubelet renews each
/// pod's assertion within the hour, which makes a new entry.
const MAX_IDENTITIES: NonZeroUsize = NonZeroUsize::new(2048).unwrap();

/// The credentials that this process has.
#[derive(Debug)]
pub struct Credentials {
    transport: Transport,
    token_proxy: Arc<TokenProxy>,
    known: Mutex<LruCache<IdentityKey, Arc<Credential>>>,
}

/// Whose token it is. Two identities with equal keys may share a token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IdentityKey {
    /// An identity that Entra ID, or a token proxy in its place, gives a token to.
    Entra {
        /// The kind of identity.
        kind: &'static str,
        /// The authority's URL.
        authority: String,
        /// The tenant.
        tenant: TenantId,
        /// The client ID.
        client_id: String,
        /// The SHA-256 digest of what proves who asks: the assertion or the client secret.
        proof: [u8; 32],
    },
    /// One of the node's.
    Managed(ManagedIdentity),
}

impl IdentityKey {
    /// The key of an identity.
    pub fn of(identity: &Identity, tenant: &TenantId, cloud: &Cloud) -> Self {
        let entra = |client_id: &str, proof: &Sensitive| Self::Entra {
            kind: identity.kind(),
            authority: cloud.authority().to_owned(),
            tenant: tenant.clone(),
            client_id: client_id.to_owned(),
            proof: sha256(proof.expose()),
        };
        match identity {
            Identity::Workload {
                client_id,
                assertion,
            }
            | Identity::Binding {
                client_id,
                assertion,
            } => entra(client_id, assertion),
            Identity::ServicePrincipal { client_id, secret } => entra(client_id, secret),
            Identity::Managed(managed) => Self::Managed(managed.clone()),
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
        /// The service.
        service: TokenService,
        /// What went wrong.
        #[source]
        source: TransportError,
    },
    /// No token in time.
    #[error("{service} gave no token within {} s", after.as_secs())]
    Timeout {
        /// The service.
        service: TokenService,
        /// The time it had.
        after: Duration,
    },
    /// An answer that has no token in it.
    #[error("{service} answered with something that is no token")]
    Unreadable {
        /// The service.
        service: TokenService,
    },
}

impl Credentials {
    /// No credentials yet.
    pub fn new(transport: Transport, token_proxy: TokenProxy) -> Self {
        Self {
            transport,
            token_proxy: Arc::new(token_proxy),
            known: Mutex::new(LruCache::new(MAX_IDENTITIES)),
        }
    }

    /// The credential of an identity, the same one for as long as it is in use.
    pub fn of(
        &self,
        identity: &Identity,
        tenant: &TenantId,
        cloud: &Cloud,
    ) -> azure_core::Result<Arc<Credential>> {
        let key = IdentityKey::of(identity, tenant, cloud);
        // A panic while the lock is held leaves a map that is whole all the same.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(credential) = known.get(&key) {
            return Ok(Arc::clone(credential));
        }
        let credential = Arc::new(self.build(identity, tenant, cloud, key.clone())?);
        known.put(key, Arc::clone(&credential));
        Ok(credential)
    }

    fn build(
        &self,
        identity: &Identity,
        tenant: &TenantId,
        cloud: &Cloud,
        key: IdentityKey,
    ) -> azure_core::Result<Credential> {
        let assertion_credential = |client_id: &String, assertion: &Sensitive, client_options| {
            ClientAssertionCredential::new(
                tenant.as_str().to_owned(),
                client_id.clone(),
                ServiceAccountToken(assertion.clone()),
                Some(ClientAssertionCredentialOptions { client_options }),
            )
        };
        let (service, source): (_, Arc<dyn TokenCredential>) = match identity {
            Identity::Workload {
                client_id,
                assertion,
            } => (
                TokenService::Entra,
                assertion_credential(
                    client_id,
                    assertion,
                    authority(cloud, self.transport.for_entra()),
                )?,
            ),
            Identity::Binding {
                client_id,
                assertion,
            } => (
                TokenService::TokenProxy,
                assertion_credential(
                    client_id,
                    assertion,
                    authority(cloud, self.token_proxy.for_credential()),
                )?,
            ),
            Identity::ServicePrincipal { client_id, secret } => {
                let options = ClientSecretCredentialOptions {
                    client_options: authority(cloud, self.transport.for_entra()),
                };
                let secret = secret.expose_str().unwrap_or_default().to_owned();
                let credential = ClientSecretCredential::new(
                    tenant.as_str(),
                    client_id.clone(),
                    secret.into(),
                    Some(options),
                )?;
                (TokenService::Entra, credential)
            }
            Identity::Managed(managed) => {
                let options = ManagedIdentityCredentialOptions {
                    user_assigned_id: match managed {
                        ManagedIdentity::SystemAssigned => None,
                        ManagedIdentity::ClientId(id) => Some(UserAssignedId::ClientId(id.clone())),
                        ManagedIdentity::ObjectId(id) => Some(UserAssignedId::ObjectId(id.clone())),
                        ManagedIdentity::ResourceId(id) => {
                            Some(UserAssignedId::ResourceId(id.clone()))
                        }
                    },
                    client_options: self.transport.for_imds(),
                };
                (
                    TokenService::Imds,
                    ManagedIdentityCredential::new(Some(options))?,
                )
            }
        };
        Ok(Credential {
            key,
            service,
            source,
            waiting: AtomicUsize::new(0),
        })
    }
}

/// The options with the cloud's Entra ID.
fn authority(cloud: &Cloud, options: ClientOptions) -> ClientOptions {
    let mut configuration = CustomConfiguration::default();
    cloud
        .authority()
        .clone_into(&mut configuration.authority_host);
    ClientOptions {
        cloud: Some(Arc::new(CloudConfiguration::Custom(configuration))),
        ..options
    }
}

/// One identity's credential: the SDK's, with our patience and our errors.
pub struct Credential {
    key: IdentityKey,
    service: TokenService,
    source: Arc<dyn TokenCredential>,
    /// How many callers wait for a token now.
    waiting: AtomicUsize,
}

impl Credential {
    /// Whose it is.
    pub fn key(&self) -> &IdentityKey {
        &self.key
    }

    /// The service that somebody waits for now.
    pub fn pending(&self) -> Option<TokenService> {
        (self.waiting.load(Ordering::Relaxed) > 0).then_some(self.service)
    }

    fn understand(&self, error: &azure_core::Error) -> TokenError {
        let service = self.service;
        // Before the failure of a request, which may be what it is made of.
        if let Some(error) = in_chain::<TokenProxyError>(error) {
            return TokenError::NoTokenProxy(error.clone());
        }
        match in_chain::<TransportError>(error) {
            Some(TransportError::Refused(refusal)) => {
                let of_entra = EntraRefusal::read(refusal);
                match service {
                    TokenService::Entra => TokenError::Entra(of_entra),
                    TokenService::TokenProxy => TokenError::TokenProxy(of_entra),
                    // IMDS asks Entra ID in its turn, and passes on what that one says.
                    TokenService::Imds if of_entra.code.is_some() => TokenError::Entra(of_entra),
                    TokenService::Imds => TokenError::Imds(ImdsRefusal::read(refusal)),
                }
            }
            Some(error) => TokenError::Transport {
                service,
                source: error.clone(),
            },
            // The SDK's own words may quote the answer, which may hold a token.
            None => TokenError::Unreadable { service },
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl TokenCredential for Credential {
    async fn get_token(
        &self,
        scopes: &[&str],
        options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let _waiting = Waiting::count(&self.waiting);
        let again = |error: &TokenError| match error {
            TokenError::Entra(refusal) | TokenError::TokenProxy(refusal) => refusal.again(),
            TokenError::Imds(refusal) => refusal.again(),
            TokenError::Transport { source, .. } if source.is_transient() => Again::Soon,
            TokenError::NoTokenProxy(error) if error.is_transient() => Again::Soon,
            _ => Again::No,
        };
        let attempts = retry(Instant::now() + TOKEN_TIMEOUT, again, || {
            self.source
                .get_token(scopes, options.clone())
                .map_err(|error| self.understand(&error))
        });
        let result = tokio::time::timeout(TOKEN_TIMEOUT, attempts)
            .await
            .unwrap_or(Err(TokenError::Timeout {
                service: self.service,
                after: TOKEN_TIMEOUT,
            }));
        result.map_err(|error| azure_core::Error::new(ErrorKind::Credential, error))
    }
}

/// Counts one caller for as long as it lives, also when its future is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn count(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The pod's token as the proof of who asks.
#[derive(Debug)]
struct ServiceAccountToken(Sensitive);

#[async_trait]
impl ClientAssertion for ServiceAccountToken {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        // Only ASCII gets this far; see `request`.
        Ok(self.0.expose_str().unwrap_or_default().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::CloudChoice;
    use crate::credential::token_proxy::TokenProxySettings;
    use crate::transport::TransportSettings;

    fn workload(client_id: &str, assertion: &str) -> Identity {
        Identity::Workload {
            client_id: client_id.into(),
            assertion: assertion.to_owned().into(),
        }
    }

    #[test]
    fn identities_share_a_credential_only_with_themselves() {
        let transport = Transport::new(&TransportSettings::default()).unwrap();
        let token_proxy = TokenProxy::new(
            TokenProxySettings {
                url: "https://proxy".parse().unwrap(),
                server_name: None,
                ca_file: None,
                api_server_address: None,
                api_server_port: 443,
            },
            &transport,
        );
        let credentials = Credentials::new(transport, token_proxy);
        let (cloud, tenant) = (Cloud::public(), TenantId::new("t").unwrap());
        let of = |identity: &Identity, tenant: &TenantId, cloud: &Cloud| {
            credentials.of(identity, tenant, cloud).unwrap()
        };
        let Ok(CloudChoice::Known(china)) = CloudChoice::new("AzureChinaCloud", "") else {
            panic!("China has a cloud");
        };
        let binding = Identity::Binding {
            client_id: "c".into(),
            assertion: "a.b.c".to_owned().into(),
        };
        let principal = Identity::ServicePrincipal {
            client_id: "c".into(),
            secret: "a.b.c".to_owned().into(),
        };
        let first = of(&workload("c", "a.b.c"), &tenant, &cloud);
        assert!(Arc::ptr_eq(
            &first,
            &of(&workload("c", "a.b.c"), &tenant, &cloud)
        ));
        let others = [
            of(&workload("c", "a.b.d"), &tenant, &cloud),
            of(&workload("d", "a.b.c"), &tenant, &cloud),
            of(&binding, &tenant, &cloud),
            of(&principal, &tenant, &cloud),
            of(
                &workload("c", "a.b.c"),
                &TenantId::new("u").unwrap(),
                &cloud,
            ),
            of(&workload("c", "a.b.c"), &tenant, &china),
            of(
                &Identity::Managed(ManagedIdentity::SystemAssigned),
                &tenant,
                &cloud,
            ),
            of(
                &Identity::Managed(ManagedIdentity::ClientId("c".into())),
                &tenant,
                &cloud,
            ),
        ];
        for (index, other) in others.iter().enumerate() {
            assert!(!Arc::ptr_eq(&first, other));
            assert!(
                others[..index]
                    .iter()
                    .all(|earlier| earlier.key() != other.key())
            );
        }
    }

    #[test]
    fn a_credential_does_not_show_its_assertion() {
        let token = ServiceAccountToken("canary".to_owned().into());
        assert!(!format!("{token:?}").contains("canary"));
    }
}
