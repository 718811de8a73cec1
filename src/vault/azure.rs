//! [`Vault`], one Key Vault asked as one identity, by way of Azure's SDK. The only user of the Key Vault
//! crates.

use std::fmt;
use std::sync::Arc;

use azure_core::credentials::TokenCredential;
use azure_core::error::ErrorKind;
use azure_security_keyvault_secrets::models::SecretClientGetSecretOptions;
use azure_security_keyvault_secrets::{ResourceExt as _, SecretClient, SecretClientOptions};
use tokio::sync::OnceCell;

use crate::credential::{Credential, TokenError};
use crate::excerpt::one_line;
use crate::object::{ObjectName, ObjectVersion};
use crate::transport::{Refusal, Transport, TransportError, in_chain};
use crate::vault::refusal::VaultRefusal;
use crate::vault::{Secret, VaultError};

/// One vault as one identity.
pub struct Vault {
    credential: Arc<Credential>,
    secrets: SecretClient,
    /// Set by the first request that the vault has answered.
    introduced: OnceCell<()>,
}

impl Vault {
    /// The vault at this host. Sends nothing yet.
    pub fn new(
        host: &str,
        credential: Arc<Credential>,
        transport: &Transport,
    ) -> azure_core::Result<Self> {
        let options = SecretClientOptions {
            client_options: transport.for_vault(host),
            ..Default::default()
        };
        let token_source: Arc<dyn TokenCredential> = Arc::clone(&credential) as _;
        let secrets = SecretClient::new(&format!("https://{host}"), token_source, Some(options))?;
        Ok(Self {
            credential,
            secrets,
            introduced: OnceCell::new(),
        })
    }

    /// Whose token the vault is asked with.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// Gets a secret's value.
    ///
    /// The first request of all goes alone: it meets the vault's challenge, and the SDK would let every
    /// request that starts before the answer meet it too.
    pub async fn secret(
        &self,
        name: &ObjectName,
        version: &ObjectVersion,
    ) -> Result<Secret, VaultError> {
        let mut first = None;
        let introduced = self.introduced.get_or_try_init(async || {
            let result = self.get_secret(name, version).await;
            // A refusal is an answer too: the challenge has been met.
            let answered = matches!(result, Ok(_) | Err(VaultError::Refused(_)));
            first = Some(result);
            if answered { Ok(()) } else { Err(()) }
        });
        // An error says that this request was the first, which has its own result.
        _ = introduced.await;
        match first {
            Some(result) => result,
            None => self.get_secret(name, version).await,
        }
    }

    async fn get_secret(
        &self,
        name: &ObjectName,
        version: &ObjectVersion,
    ) -> Result<Secret, VaultError> {
        let options = SecretClientGetSecretOptions {
            secret_version: match version {
                ObjectVersion::Latest => None,
                ObjectVersion::Exact(version) => Some(version.as_str().to_owned()),
            },
            ..Default::default()
        };
        let response = self
            .secrets
            .get_secret(name.as_str(), Some(options))
            .await
            .map_err(|error| understand(&error))?;
        // The library's own words about a body that is not a secret may quote it.
        let unreadable = |missing| VaultError::Unreadable { missing };
        let secret = response
            .into_model()
            .map_err(|_| unreadable("a secret in the form of Key Vault"))?;
        let version = secret.resource_id().ok().and_then(|id| id.version);
        Ok(Secret {
            value: secret.value.ok_or(unreadable("the secret's value"))?.into(),
            version: version.ok_or(unreadable("the secret's version"))?,
        })
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("endpoint", &self.secrets.endpoint())
            .finish_non_exhaustive()
    }
}

/// Finds in the SDK's error what really happened.
fn understand(error: &azure_core::Error) -> VaultError {
    if let Some(error) = in_chain::<TokenError>(error) {
        return VaultError::Token(Box::new(error.clone()));
    }
    match in_chain::<TransportError>(error) {
        Some(TransportError::Refused(refusal)) => {
            return refused(refusal);
        }
        Some(error) => return VaultError::Transport(Box::new(error.clone())),
        None => {}
    }
    match error.kind() {
        // A 401 reaches the SDK as it is; the second one in a row comes back this way.
        ErrorKind::HttpResponse {
            status,
            raw_response: Some(response),
            ..
        } => refused(&Refusal {
            host: "the vault".to_owned(),
            status: (*status).into(),
            retry_after: None,
            body: response.body().as_ref().to_vec().into(),
        }),
        // A challenge that names another domain, mostly.
        _ => VaultError::Client {
            problem: one_line(&error.to_string(), 300),
        },
    }
}

fn refused(refusal: &Refusal) -> VaultError {
    VaultError::Refused(Box::new(VaultRefusal::read(refusal)))
}
