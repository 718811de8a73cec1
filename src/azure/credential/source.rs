//! [`Source`], where the tokens of one identity come from: the SDK's credential, with our patience, our
//! limits and our errors.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::{AccessToken, TokenCredential};
use azure_core::http::{ClientMethodOptions, ClientOptions};
use azure_identity::{
    ClientAssertion, ClientAssertionCredential, ClientAssertionCredentialOptions,
    ClientSecretCredential, ClientSecretCredentialOptions, ManagedIdentityCredential,
    ManagedIdentityCredentialOptions, UserAssignedId,
};
use futures::TryFutureExt as _;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::azure::credential::imds::ImdsQueue;
use crate::azure::credential::refusal::{EntraRefusal, ImdsRefusal};
use crate::azure::credential::token_proxy::{TokenProxy, TokenProxyError};
use crate::azure::credential::{TOKEN_TIMEOUT, TokenError, TokenService};
use crate::azure::limiter::{Limiter, Limits, Turn};
use crate::azure::retry::retry;
use crate::class::cloud::Cloud;
use crate::class::identity::{Identity, IdentityId};
use crate::class::parameters::TenantId;
use crate::observe::metrics::Traffic;
use crate::shares::Waiters;
use crate::text::sensitive::Sensitive;
use crate::transport::{Phase, Route, Transport, TransportError, in_chain};

/// Where the tokens of one identity come from.
pub(super) struct Source {
    identity: Identity,
    tenant: TenantId,
    authority: String,
    service: Service,
    line: Line,
    /// Whether there was a token for it.
    has_worked: AtomicBool,
    /// When what proves the identity expires, where it does.
    proof_end: Option<OffsetDateTime>,
}

/// What a request waits in.
enum Line {
    /// What one identity is refused for is no reason for others to wait.
    Own(Arc<Limiter>),
    /// The machine's, whichever identity asks.
    Imds(Arc<ImdsQueue>, IdentityId),
}

/// The service that gives the tokens.
enum Service {
    Entra(Arc<Route>),
    Imds(Arc<Route>),
    TokenProxy(Arc<TokenProxy>),
}

impl Service {
    fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(match self {
            Self::Entra(route) | Self::Imds(route) => route.traffic(),
            Self::TokenProxy(proxy) => proxy.traffic(),
        })
    }
}

impl Source {
    /// The source for an identity. Sends nothing yet.
    pub(super) fn new(
        identity: &Identity,
        tenant: &TenantId,
        cloud: &Cloud,
        transport: &Transport,
        token_proxy: &Arc<TokenProxy>,
        imds_queue: &Arc<ImdsQueue>,
    ) -> Result<Self, TokenError> {
        let service = match identity {
            Identity::Workload { .. } | Identity::ServicePrincipal { .. } => {
                let route = transport.to_entra(cloud.authority());
                Service::Entra(route.map_err(|error| TokenError::Client {
                    problem: error.to_string(),
                })?)
            }
            Identity::Binding { .. } => Service::TokenProxy(Arc::clone(token_proxy)),
            Identity::Managed(_) => Service::Imds(transport.to_imds()),
        };
        let line = match identity {
            Identity::Managed(id) => Line::Imds(Arc::clone(imds_queue), id.clone()),
            _ => Line::Own(Limiter::new(Limits::of_identity(), service.traffic())),
        };
        let source = Self {
            identity: identity.clone(),
            tenant: tenant.clone(),
            authority: cloud.authority().to_owned(),
            service,
            line,
            has_worked: AtomicBool::new(false),
            proof_end: identity.proof_end(),
        };
        // What the SDK does not take is better known now.
        source
            .credential()
            .map_err(|error| source.understand(&error))?;
        Ok(source)
    }

    /// The bytes of what proves the identity.
    pub(super) fn proof_length(&self) -> usize {
        match &self.identity {
            Identity::Workload { assertion, .. } | Identity::Binding { assertion, .. } => {
                assertion.len()
            }
            Identity::ServicePrincipal { secret, .. } => secret.len(),
            Identity::Managed(_) => 0,
        }
    }

    /// When that expires, where it does.
    pub(super) fn proof_end(&self) -> Option<OffsetDateTime> {
        self.proof_end
    }

    /// Whether the service has asked for a pause that is not over.
    pub(super) fn is_paused(&self) -> bool {
        match &self.line {
            Line::Own(limiter) => limiter.is_paused(),
            Line::Imds(queue, _) => queue.is_paused(),
        }
    }

    pub(super) fn service(&self) -> TokenService {
        match self.service {
            Service::Entra(_) => TokenService::Entra,
            Service::Imds(_) => TokenService::Imds,
            Service::TokenProxy(_) => TokenService::TokenProxy,
        }
    }

    /// The way to the service.
    pub(super) async fn way(&self) -> Result<Arc<Route>, TokenError> {
        match &self.service {
            Service::Entra(route) | Service::Imds(route) => Ok(Arc::clone(route)),
            Service::TokenProxy(proxy) => proxy.route().await.map_err(TokenError::NoTokenProxy),
        }
    }

    /// What goes on while the service is connected to.
    pub(super) fn connecting(&self) -> Option<Phase> {
        match &self.service {
            Service::Entra(route) | Service::Imds(route) => route.connecting(),
            Service::TokenProxy(proxy) => proxy.connecting(),
        }
    }

    /// Asks for a new token, which these wait for.
    pub(super) async fn token(
        &self,
        scope: &str,
        waiters: &Waiters,
    ) -> Result<AccessToken, TokenError> {
        // A fresh one, since the SDK's own cache would give the last token again.
        let credential = self.credential().map_err(|error| self.understand(&error))?;
        let scopes = [scope];
        let deadline = Instant::now() + TOKEN_TIMEOUT;
        let attempt = || {
            credential
                .get_token(&scopes, None)
                .map_err(|error| self.understand(&error))
                .and_then(|token| ready(self.check(token)))
        };
        let attempts = async {
            match &self.line {
                Line::Own(limiter) => retry(limiter, &Turn::default(), deadline, attempt).await,
                Line::Imds(queue, id) => {
                    let is_proved = self.has_worked.load(Ordering::Relaxed);
                    queue.ask(id, is_proved, waiters, deadline, attempt).await
                }
            }
        };
        let result = tokio::time::timeout_at(deadline, attempts).await;
        if matches!(result, Ok(Ok(_))) {
            self.has_worked.store(true, Ordering::Relaxed);
        }
        result.unwrap_or(Err(TokenError::Timeout {
            service: self.service(),
            after: TOKEN_TIMEOUT,
            phase: self.connecting().unwrap_or(Phase::Answer),
        }))
    }

    /// The SDK takes any JSON object for an answer with a token, which is then empty, and any text for a token.
    fn check(&self, token: AccessToken) -> Result<AccessToken, TokenError> {
        if !is_sendable(token.token.secret()) {
            let service = self.service();
            return Err(TokenError::Unreadable { service });
        }
        Ok(token)
    }

    /// The SDK's credential for the identity.
    fn credential(&self) -> azure_core::Result<Arc<dyn TokenCredential>> {
        Ok(match &self.identity {
            Identity::Workload {
                client_id,
                assertion,
            }
            | Identity::Binding {
                client_id,
                assertion,
            } => ClientAssertionCredential::new(
                self.tenant.as_str().to_owned(),
                client_id.clone(),
                ServiceAccountToken(assertion.clone()),
                Some(ClientAssertionCredentialOptions {
                    client_options: self.client_options(),
                }),
            )?,
            Identity::ServicePrincipal { client_id, secret } => ClientSecretCredential::new(
                self.tenant.as_str(),
                client_id.clone(),
                secret.expose_str().unwrap_or_default().to_owned().into(),
                Some(ClientSecretCredentialOptions {
                    client_options: self.client_options(),
                }),
            )?,
            Identity::Managed(managed) => {
                ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
                    user_assigned_id: user_assigned(managed),
                    client_options: self.client_options(),
                }))?
            }
        })
    }

    fn client_options(&self) -> ClientOptions {
        let options = match &self.service {
            Service::Entra(route) => route.client_options(),
            Service::TokenProxy(proxy) => proxy.client_options(),
            Service::Imds(route) => return route.client_options(),
        };
        let mut configuration = CustomConfiguration::default();
        self.authority.clone_into(&mut configuration.authority_host);
        ClientOptions {
            cloud: Some(Arc::new(CloudConfiguration::Custom(configuration))),
            ..options
        }
    }

    /// Finds in the SDK's error what really happened.
    fn understand(&self, error: &azure_core::Error) -> TokenError {
        let service = self.service();
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

fn user_assigned(managed: &IdentityId) -> Option<UserAssignedId> {
    match managed {
        IdentityId::SystemAssigned => None,
        IdentityId::ClientId(id) => Some(UserAssignedId::ClientId(id.clone())),
        IdentityId::ObjectId(id) => Some(UserAssignedId::ObjectId(id.clone())),
        IdentityId::ResourceId(id) => Some(UserAssignedId::ResourceId(id.clone())),
    }
}

/// Whether a request can have this token. Servers reset a stream whose header ends in white space, which would look like an
/// outage of theirs.
fn is_sendable(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
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

    #[test]
    fn a_credential_does_not_show_its_assertion() {
        let token = ServiceAccountToken("canary".to_owned().into());
        assert!(!format!("{token:?}").contains("canary"));
    }

    #[test]
    fn a_token_that_no_header_can_have_is_none() {
        assert!(is_sendable("eyJ0.eyJh-_.c2ln"));
        for token in ["", "a\nb", "a\0", "a ", "a b", "a\tb", "\u{e9}"] {
            assert!(!is_sendable(token), "{token:?}");
        }
    }
}
