//! [`Vault`], one Key Vault asked as one identity, by way of Azure's SDK. The only user of the Key Vault
//! crates.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};

use azure_core::credentials::TokenCredential;
use azure_core::error::ErrorKind;
use azure_core::http::ItemIterator;
use azure_core::http::pager::Page;
use azure_security_keyvault_certificates::models::CertificateClientGetCertificateOptions;
use azure_security_keyvault_certificates::{CertificateClient, CertificateClientOptions};
use azure_security_keyvault_keys::models::KeyClientGetKeyOptions;
use azure_security_keyvault_keys::{KeyClient, KeyClientOptions};
use azure_security_keyvault_secrets::models::SecretClientGetSecretOptions;
use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
use futures::future::try_join;
use futures::{FutureExt as _, TryStreamExt as _};
use time::OffsetDateTime;

use crate::azure::credential::{AtVault, Credential, TokenError};
use crate::azure::limiter::Limiter;
use crate::azure::vault::attributes::Attributes;
use crate::azure::vault::listing::{MAX_VERSIONS, Newest};
use crate::azure::vault::refusal::{Operation, VaultRefusal};
use crate::azure::vault::{
    Contents, ListedVersion, Owner, PublicJwk, VaultError, VaultObject, WaitingFor,
};
use crate::class::object::{ObjectKind, ObjectName, ObjectVersion};
use crate::observe::phases::Phases;
use crate::observe::traces::Trace;
use crate::text::excerpt::refusal_line;
use crate::transport::{Greeting, Refusal, Route, TransportError, in_chain};

/// The most pages of such a list, one after the other, that have nothing which the ones before had not. A
/// list that leads back to itself has no end otherwise.
const MAX_PAGES_WITHOUT_NEWS: u32 = 10;
/// The most characters of a secret's `contentType` that are kept. Only files count for the size of an answer.
///
/// Source: "Set Secret" of Key Vault's REST API: up to 255 characters.
const MAX_CONTENT_TYPE: usize = 255;
/// Of an object's id: a vault's host, a kind, and a name and a version of 127 characters at most.
const MAX_ID: usize = 512;
/// Of a word such as `EC-HSM` in a key.
const MAX_WORD: usize = 64;

/// One vault as one identity.
pub struct Vault {
    owner: Arc<Owner>,
    url: String,
    credential: AtVault,
    route: Arc<Route>,
    limiter: Arc<Limiter>,
    // Made when they are needed: most classes have secrets only.
    secrets: OnceLock<SecretClient>,
    keys: OnceLock<KeyClient>,
    certificates: OnceLock<CertificateClient>,
}

impl Vault {
    /// The owner's vault. Sends nothing yet.
    pub fn new(
        owner: Arc<Owner>,
        credential: AtVault,
        route: Arc<Route>,
        limiter: Arc<Limiter>,
    ) -> Self {
        Self {
            url: format!("https://{}", owner.0),
            owner,
            credential,
            route,
            limiter,
            secrets: OnceLock::new(),
            keys: OnceLock::new(),
            certificates: OnceLock::new(),
        }
    }

    fn secrets(&self) -> Result<&SecretClient, VaultError> {
        made(&self.secrets, || {
            let options = SecretClientOptions {
                client_options: self.route.client_options(),
                ..Default::default()
            };
            SecretClient::new(&self.url, self.sdk_credential(), Some(options))
        })
    }

    fn keys(&self) -> Result<&KeyClient, VaultError> {
        made(&self.keys, || {
            let options = KeyClientOptions {
                client_options: self.route.client_options(),
                ..Default::default()
            };
            KeyClient::new(&self.url, self.sdk_credential(), Some(options))
        })
    }

    fn certificates(&self) -> Result<&CertificateClient, VaultError> {
        made(&self.certificates, || {
            let options = CertificateClientOptions {
                client_options: self.route.client_options(),
                ..Default::default()
            };
            CertificateClient::new(&self.url, self.sdk_credential(), Some(options))
        })
    }

    fn sdk_credential(&self) -> Arc<dyn TokenCredential> {
        Arc::new(self.credential.clone())
    }

    /// Where it is, and as whom it is asked.
    pub fn owner(&self) -> &Arc<Owner> {
        &self.owner
    }

    /// How much may be asked of it.
    pub fn limiter(&self) -> &Arc<Limiter> {
        &self.limiter
    }

    /// The way to it.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// As whom it is asked.
    pub fn credential(&self) -> &Credential {
        self.credential.credential()
    }

    /// What it says to who brings no token.
    pub async fn greeting(&self) -> Result<Greeting, VaultError> {
        self.route.greeting().await.map_err(unanswered)
    }

    /// The scope that its tokens are for.
    pub async fn scope(&self) -> Result<String, VaultError> {
        self.route.scope().await.map_err(unanswered)
    }

    /// Whom the mounts of this identity wait for now, and what goes on while that one is connected to.
    pub fn waiting_for(&self) -> WaitingFor {
        // A scope that is not known is what the vault is being asked for.
        let scope = self.route.known_scope();
        match scope.and_then(|scope| self.credential.pending(scope)) {
            Some((service, phase)) => WaitingFor::Token(service, phase),
            None => WaitingFor::Vault(self.route.connecting()),
        }
    }

    /// Whether the identity has proved who it is, by a token that serves and that the vault has not rejected.
    pub fn is_signed_in(&self) -> bool {
        self.credential.is_proved()
    }

    /// Sees to it that there are a token and a connection, both at once, so that the requests that follow
    /// find them.
    pub async fn sign_in(&self, phases: &Phases) -> Result<(), VaultError> {
        let _sign_in = phases.sign_in.run();
        let scope = self.scope().await?;
        let token = Trace::token().around(async {
            let _token = phases.token.run();
            self.credential.token(&scope).await
        });
        let (_, connected) = try_join(token, self.route.warm_up().map(Ok))
            .await
            .map_err(|error| VaultError::Token(Box::new(error)))?;
        match connected {
            Ok(true) => self.limiter.allow_streams(),
            // The requests would wait for as long once more.
            Err(error @ TransportError::Timeout { .. }) => {
                return Err(VaultError::Transport(Box::new(error)));
            }
            // Any other failure is left to the requests, which try again.
            Ok(false) | Err(_) => {}
        }
        Ok(())
    }

    /// Gets one version of an object.
    pub async fn get(
        &self,
        kind: ObjectKind,
        name: &ObjectName,
        version: &ObjectVersion,
    ) -> Result<VaultObject, VaultError> {
        let version = match version {
            ObjectVersion::Latest => None,
            ObjectVersion::Exact(version) => Some(version.as_str().to_owned()),
        };
        match kind {
            ObjectKind::Secret => self.secret(name.as_str(), version).await,
            ObjectKind::Key => self.key(name.as_str(), version).await,
            ObjectKind::Certificate => self.certificate(name.as_str(), version).await,
        }
    }

    async fn secret(&self, name: &str, version: Option<String>) -> Result<VaultObject, VaultError> {
        let options = SecretClientGetSecretOptions {
            secret_version: version,
            ..Default::default()
        };
        let response = self
            .secrets()?
            .get_secret(name, Some(options))
            .await
            .map_err(|error| got(&error))?;
        // The library's own words about a body that is not a secret may quote it.
        let secret = response
            .into_model()
            .map_err(|_| unreadable("a secret in the form of Key Vault"))?;
        let attributes = secret.attributes.unwrap_or_default();
        // An old storage account's secret has an id without a version.
        let changed = attributes.updated.or(attributes.created);
        let version = version_of(secret.id.as_deref())
            .or_else(|| version_of_change(secret.id.as_deref(), changed));
        Ok(VaultObject {
            version: version.ok_or(unreadable("the secret's version"))?,
            contents: Contents::Secret {
                value: secret.value.ok_or(unreadable("the secret's value"))?.into(),
                kid: beginning(secret.kid, MAX_ID),
                content_type: beginning(secret.content_type, MAX_CONTENT_TYPE),
            },
            attributes: Attributes {
                enabled: attributes.enabled != Some(false),
                not_before: attributes.not_before,
                expires: attributes.expires,
            },
        })
    }

    async fn key(&self, name: &str, version: Option<String>) -> Result<VaultObject, VaultError> {
        let options = KeyClientGetKeyOptions {
            key_version: version,
            ..Default::default()
        };
        let response = self
            .keys()?
            .get_key(name, Some(options))
            .await
            .map_err(|error| got(&error))?;
        let key = response
            .into_model()
            .map_err(|_| unreadable("a key in the form of Key Vault"))?;
        let attributes = key.attributes.unwrap_or_default();
        let jwk = key.key.ok_or(unreadable("the key"))?;
        Ok(VaultObject {
            version: version_of(jwk.kid.as_deref()).ok_or(unreadable("the key's version"))?,
            contents: Contents::Key(PublicJwk {
                kty: beginning(jwk.kty.map(|kty| kty.as_ref().to_owned()), MAX_WORD),
                crv: beginning(jwk.crv.map(|crv| crv.as_ref().to_owned()), MAX_WORD),
                n: jwk.n,
                e: jwk.e,
                x: jwk.x,
                y: jwk.y,
            }),
            attributes: Attributes {
                enabled: attributes.enabled != Some(false),
                not_before: attributes.not_before,
                expires: attributes.expires,
            },
        })
    }

    async fn certificate(
        &self,
        name: &str,
        version: Option<String>,
    ) -> Result<VaultObject, VaultError> {
        let options = CertificateClientGetCertificateOptions {
            certificate_version: version,
            ..Default::default()
        };
        let response = self
            .certificates()?
            .get_certificate(name, Some(options))
            .await
            .map_err(|error| got(&error))?;
        let certificate = response
            .into_model()
            .map_err(|_| unreadable("a certificate in the form of Key Vault"))?;
        let attributes = certificate.attributes.unwrap_or_default();
        let version = version_of(certificate.id.as_deref());
        let version = version.ok_or(unreadable("the certificate's version"))?;
        // One that is issued has a secret and a key, and so their ids.
        let is_issued = certificate.sid.is_some() || certificate.kid.is_some();
        let Some(der) = certificate.cer else {
            return Err(if is_issued {
                unreadable("the certificate")
            } else {
                VaultError::Pending
            });
        };
        Ok(VaultObject {
            version,
            contents: Contents::Certificate(der),
            attributes: Attributes {
                enabled: attributes.enabled != Some(false),
                not_before: attributes.not_before,
                expires: attributes.expires,
            },
        })
    }

    /// Lists the enabled versions of an object across all pages, the newest first: at most so many, or all.
    pub async fn versions(
        &self,
        kind: ObjectKind,
        name: &ObjectName,
        most: Option<NonZeroU32>,
    ) -> Result<Vec<ListedVersion>, VaultError> {
        let name = name.as_str();
        let most = most.map_or(MAX_VERSIONS, |most| most.get() as usize);
        let newest = Newest::new(most);
        let listed = match kind {
            ObjectKind::Secret => {
                let pages = self.secrets()?.list_secret_properties_versions(name, None);
                let listed = |item: azure_security_keyvault_secrets::models::SecretProperties| {
                    let attributes = item.attributes?;
                    listed(item.id, attributes.created, attributes.enabled)
                };
                collect(pages.map_err(|error| listing(&error))?, listed, newest).await
            }
            ObjectKind::Key => {
                let pages = self.keys()?.list_key_properties_versions(name, None);
                let listed = |item: azure_security_keyvault_keys::models::KeyProperties| {
                    let attributes = item.attributes?;
                    listed(item.kid, attributes.created, attributes.enabled)
                };
                collect(pages.map_err(|error| listing(&error))?, listed, newest).await
            }
            ObjectKind::Certificate => {
                let pages = self
                    .certificates()?
                    .list_certificate_properties_versions(name, None);
                let listed =
                    |item: azure_security_keyvault_certificates::models::CertificateProperties| {
                        let attributes = item.attributes?;
                        listed(item.id, attributes.created, attributes.enabled)
                    };
                collect(pages.map_err(|error| listing(&error))?, listed, newest).await
            }
        };
        let newest = listed?;
        // An object that is there has a version. Of one that is not, the vault lists none, with status 200.
        if newest.is_empty() {
            return Err(VaultError::Absent);
        }
        Ok(newest.into_versions())
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// The client in this cell.
fn made<T>(
    cell: &OnceLock<T>,
    make: impl FnOnce() -> azure_core::Result<T>,
) -> Result<&T, VaultError> {
    if let Some(client) = cell.get() {
        return Ok(client);
    }
    let client = make().map_err(|error| VaultError::Client {
        problem: error.to_string(),
    })?;
    Ok(cell.get_or_init(|| client))
}

/// An item of a list; one without attributes or version is passed over, as in the Go provider.
fn listed(
    id: Option<String>,
    created: Option<OffsetDateTime>,
    enabled: Option<bool>,
) -> Option<ListedVersion> {
    let id = id?;
    Some(ListedVersion {
        id: version_of(Some(&id))?,
        created,
        enabled: enabled != Some(false),
    })
}

async fn collect<P: Page + Send>(
    items: ItemIterator<P>,
    listed: impl Fn(P::Item) -> Option<ListedVersion>,
    mut newest: Newest,
) -> Result<Newest, VaultError> {
    let mut pages = items.into_pages();
    let mut pages_without_news = 0;
    while !newest.is_full()
        && let Some(page) = pages.try_next().await.map_err(|error| listing(&error))?
    {
        let page = page.into_items().await.map_err(|error| listing(&error))?;
        pages_without_news = if newest.add(page.filter_map(&listed)) {
            0
        } else {
            pages_without_news + 1
        };
        if pages_without_news == MAX_PAGES_WITHOUT_NEWS {
            return Err(unreadable("an end to a list of versions"));
        }
    }
    Ok(newest)
}

/// The version in an object's id, `https://HOST/secrets/NAME/VERSION`. It goes into the answer and into messages
/// as it is.
fn version_of(id: Option<&str>) -> Option<String> {
    let version = ObjectName::new(parts_of(id?)?.nth(2)?)?;
    Some(version.as_str().to_owned())
}

/// What stands for the version of an object whose id has none: when it was last changed. The driver takes an object
/// whose version stays for one that has not changed.
fn version_of_change(id: Option<&str>, changed: Option<OffsetDateTime>) -> Option<String> {
    let has_no_version = parts_of(id?)?.count() == 2;
    let changed = changed.filter(|_| has_no_version)?;
    Some(format!("updated-{}", changed.unix_timestamp()))
}

/// The kind, the name and the version in an object's id.
fn parts_of(id: &str) -> Option<impl Iterator<Item = &str>> {
    let (_, path) = id.split_once("://")?.1.split_once('/')?;
    let path = path.split(['?', '#']).next()?;
    Some(path.split('/').filter(|part| !part.is_empty()))
}

/// What is kept of a text that comes with a value: so many characters. The allocation of the rest goes too.
fn beginning(text: Option<String>, max_chars: usize) -> Option<String> {
    let text = text?;
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => Some(text[..end].to_owned()),
        None => Some(text),
    }
}

fn unreadable(missing: &'static str) -> VaultError {
    VaultError::Unreadable { missing }
}

fn got(error: &azure_core::Error) -> VaultError {
    understand(error, Operation::Get)
}

fn listing(error: &azure_core::Error) -> VaultError {
    understand(error, Operation::List)
}

/// Why it does not say what it says to everyone.
fn unanswered(error: TransportError) -> VaultError {
    match error {
        TransportError::Refused(refusal) => {
            VaultError::Refused(Box::new(VaultRefusal::read(&refusal, Operation::Get)))
        }
        error => VaultError::Transport(Box::new(error)),
    }
}

/// Finds in the SDK's error what really happened.
fn understand(error: &azure_core::Error, operation: Operation) -> VaultError {
    let refused =
        |refusal: &Refusal| VaultError::Refused(Box::new(VaultRefusal::read(refusal, operation)));
    if let Some(error) = in_chain::<TokenError>(error) {
        return VaultError::Token(Box::new(error.clone()));
    }
    match in_chain::<TransportError>(error) {
        Some(TransportError::Refused(refusal)) => return refused(refusal),
        Some(error) => return VaultError::Transport(Box::new(error.clone())),
        None => {}
    }
    match error.kind() {
        // A 401 reaches the SDK as it is where there is another token; the second one in a row comes back this way.
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
        // A body that is no JSON; the library's words may quote it.
        ErrorKind::DataConversion => unreadable(match operation {
            Operation::Get => "an object in the form of Key Vault",
            Operation::List => "a list in the form of Key Vault",
        }),
        // Its token was dropped by another request's 401 between being put there and being taken: a race in
        // the SDK's `BearerTokenAuthorizationPolicy` (azure_core 1.1), which a new client's first requests
        // can lose.
        ErrorKind::Credential => VaultError::LostToken,
        // A challenge that names another domain, mostly.
        _ => VaultError::Client {
            problem: refusal_line(&error.to_string(), 300),
        },
    }
}

#[cfg(test)]
mod tests;
