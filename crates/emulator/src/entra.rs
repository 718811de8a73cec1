//! Microsoft Entra ID: tenants, their applications with secrets and federated credentials, and the
//! access tokens that it issues and Key Vault checks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::clock::Clock;
use crate::faults::{Service, Subject, Verbatim, interpose};
use crate::settings::Settings;
use crate::state::{Ask, State};
use crate::{body, identifier};

mod access_token;
mod assertion;
mod errors;
mod metadata;
mod token_endpoint;

pub(crate) use access_token::{Caller, Grant, Rejection};
pub(crate) use errors::error_for_status;
use errors::{REQUEST_ID, Refusal};
pub(crate) use token_endpoint::resource_exists;

/// The issuer of the service account tokens that [`crate::Emulator::service_account_token`] makes.
pub const SERVICE_ACCOUNT_ISSUER: &str = "https://cluster.oic.azure-emulator.test/";

/// The audience of tokens that Entra ID exchanges (Workload identity federation).
pub const TOKEN_EXCHANGE_AUDIENCE: &str = "api://AzureADTokenExchange";

/// The audience of tokens that the token proxy of an AKS cluster exchanges (identity bindings).
pub const IDENTITY_BINDING_AUDIENCE: &str = "api://AKSIdentityBinding";

/// A federated credential: whose tokens stand for the application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FederatedCredential {
    /// The `iss` claim, compared exactly.
    pub issuer: String,
    /// The `sub` claim, compared exactly: `system:serviceaccount:NAMESPACE:NAME`.
    pub subject: String,
    /// The `aud` claim.
    #[serde(default = "token_exchange_audience")]
    pub audience: String,
}

fn token_exchange_audience() -> String {
    TOKEN_EXCHANGE_AUDIENCE.to_owned()
}

/// How an assertion without a matching federated credential is refused. Entra ID has used both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FederationErrors {
    /// `AADSTS70021`, which tells issuer, subject and audience together.
    #[default]
    Combined,
    /// `AADSTS700211` for the issuer and `AADSTS700213` for the subject.
    Split,
}

#[derive(Clone, Debug, Default)]
struct Registration {
    object_id: String,
    secrets: Vec<String>,
    expired_secrets: Vec<String>,
    federated: Vec<FederatedCredential>,
    /// What the token proxy knows in place of federated credentials: the cluster's own service accounts.
    bindings: Vec<FederatedCredential>,
}

#[derive(Debug, Default)]
struct Directory {
    /// By tenant, then by client id; both lower case.
    tenants: BTreeMap<String, BTreeMap<String, Registration>>,
    federation_errors: FederationErrors,
}

/// Entra ID's tenants and applications; clones share them.
#[derive(Clone, Debug)]
pub struct Entra {
    directory: Arc<Mutex<Directory>>,
    signer: Arc<access_token::Signer>,
    clock: Arc<Clock>,
}

impl Entra {
    pub(crate) fn new(settings: &Settings, clock: Arc<Clock>) -> Self {
        let entra = Self {
            directory: Arc::default(),
            signer: Arc::new(access_token::Signer::new(
                settings.token_lifetime,
                clock.clone(),
            )),
            clock,
        };
        entra.add_tenant(&settings.tenant);
        entra
    }

    /// Makes a tenant known.
    pub fn add_tenant(&self, tenant: &str) {
        let mut directory = self.directory.lock();
        directory
            .tenants
            .entry(tenant.to_ascii_lowercase())
            .or_default();
    }

    /// Forgets a tenant and its applications.
    pub fn remove_tenant(&self, tenant: &str) -> bool {
        let mut directory = self.directory.lock();
        directory
            .tenants
            .remove(&tenant.to_ascii_lowercase())
            .is_some()
    }

    /// The known tenants and their applications' client ids.
    pub fn tenants(&self) -> BTreeMap<String, Vec<String>> {
        let directory = self.directory.lock();
        let names = |apps: &BTreeMap<String, Registration>| apps.keys().cloned().collect();
        directory
            .tenants
            .iter()
            .map(|(tenant, apps)| (tenant.clone(), names(apps)))
            .collect()
    }

    /// The application of this client id, registered (with its tenant) when it is not known yet.
    pub fn application(&self, tenant: &str, client_id: &str) -> Application {
        let application = Application {
            directory: self.directory.clone(),
            tenant: tenant.to_ascii_lowercase(),
            client_id: client_id.to_ascii_lowercase(),
        };
        application.change(|registration| {
            if registration.object_id.is_empty() {
                registration.object_id = identifier::guid_for(client_id);
            }
        });
        application
    }

    /// Forgets an application; its tokens stay valid until they expire.
    pub fn remove_application(&self, tenant: &str, client_id: &str) -> bool {
        let mut directory = self.directory.lock();
        directory
            .tenants
            .get_mut(&tenant.to_ascii_lowercase())
            .and_then(|apps| apps.remove(&client_id.to_ascii_lowercase()))
            .is_some()
    }

    /// How assertions that match no federated credential are refused from now on.
    pub fn set_federation_errors(&self, errors: FederationErrors) {
        self.directory.lock().federation_errors = errors;
    }

    /// Key Vault refuses every token issued so far.
    pub fn revoke_tokens(&self) {
        self.signer.renew();
    }

    /// How long the tokens issued from now on live.
    pub fn set_token_lifetime(&self, lifetime: Duration) {
        self.signer.set_lifetime(lifetime);
    }

    /// A service account token as a cluster of this issuer would project it. Its signature is
    /// random: Entra ID's check of it against the issuer's keys is not emulated.
    pub fn service_account_token(
        &self,
        issuer: &str,
        namespace: &str,
        name: &str,
        audience: &str,
        lifetime: Duration,
    ) -> String {
        let lifetime = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX / 2);
        assertion::service_account_token(
            self.clock.unix(),
            issuer,
            namespace,
            name,
            audience,
            lifetime,
        )
    }

    /// Issues an access token.
    pub(crate) fn issue(&self, grant: &Grant<'_>) -> access_token::Issued {
        self.signer.issue(grant)
    }

    /// Who a token stands for, as Key Vault checks it.
    pub(crate) fn verify(
        &self,
        token: &str,
        resources: &[String],
        tenant: &str,
        issuer_host: &str,
    ) -> Result<Caller, Rejection> {
        self.signer.verify(token, resources, tenant, issuer_host)
    }
}

/// An application registration (or a user-assigned identity that is used by federation).
#[derive(Clone, Debug)]
pub struct Application {
    directory: Arc<Mutex<Directory>>,
    tenant: String,
    client_id: String,
}

impl Application {
    /// The object id of the application's service principal in its tenant.
    pub fn object_id(&self) -> String {
        let directory = self.directory.lock();
        directory
            .tenants
            .get(&self.tenant)
            .and_then(|apps| apps.get(&self.client_id))
            .map_or_else(String::new, |registration| registration.object_id.clone())
    }

    /// Sets the object id; otherwise it is derived from the client id.
    #[expect(clippy::return_self_not_must_use, reason = "it changes the directory")]
    pub fn with_object_id(self, object_id: &str) -> Self {
        self.change(|registration| object_id.clone_into(&mut registration.object_id));
        self
    }

    /// Adds a client secret.
    #[expect(clippy::return_self_not_must_use, reason = "it changes the directory")]
    pub fn with_secret(self, secret: &str) -> Self {
        self.change(|registration| registration.secrets.push(secret.to_owned()));
        self
    }

    /// Adds a client secret that has expired (`AADSTS7000222`).
    #[expect(clippy::return_self_not_must_use, reason = "it changes the directory")]
    pub fn with_expired_secret(self, secret: &str) -> Self {
        self.change(|registration| registration.expired_secrets.push(secret.to_owned()));
        self
    }

    /// Adds a federated credential for [`TOKEN_EXCHANGE_AUDIENCE`].
    #[expect(clippy::return_self_not_must_use, reason = "it changes the directory")]
    pub fn with_federated_credential(self, issuer: &str, subject: &str) -> Self {
        self.with_federated(FederatedCredential {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            audience: token_exchange_audience(),
        })
    }

    /// Adds a federated credential for a service account of [`SERVICE_ACCOUNT_ISSUER`].
    #[expect(clippy::return_self_not_must_use, reason = "it changes the directory")]
    pub fn with_service_account(self, namespace: &str, name: &str) -> Self {
        let subject = format!("system:serviceaccount:{namespace}:{name}");
        self.with_federated_credential(SERVICE_ACCOUNT_ISSUER, &subject)
    }

    /// Adds a federated credential.
    #[expect(clippy::return_self_not_must_use, reason = "it changes the directory")]
    pub fn with_federated(self, credential: FederatedCredential) -> Self {
        self.change(|registration| registration.federated.push(credential));
        self
    }

    /// Binds it to a service account of [`SERVICE_ACCOUNT_ISSUER`], for the token proxy only.
    #[expect(clippy::return_self_not_must_use, reason = "it changes the directory")]
    pub fn with_identity_binding(self, namespace: &str, name: &str) -> Self {
        let binding = FederatedCredential {
            issuer: SERVICE_ACCOUNT_ISSUER.to_owned(),
            subject: format!("system:serviceaccount:{namespace}:{name}"),
            audience: IDENTITY_BINDING_AUDIENCE.to_owned(),
        };
        self.change(|registration| registration.bindings.push(binding));
        self
    }

    /// Removes all secrets, federated credentials and identity bindings.
    pub fn remove_credentials(&self) {
        self.change(|registration| {
            registration.secrets.clear();
            registration.expired_secrets.clear();
            registration.federated.clear();
            registration.bindings.clear();
        });
    }

    fn change(&self, change: impl FnOnce(&mut Registration)) {
        let mut directory = self.directory.lock();
        let apps = directory.tenants.entry(self.tenant.clone()).or_default();
        change(apps.entry(self.client_id.clone()).or_default());
    }
}

/// Answers a request to a login host, or to the token proxy that stands in for one.
pub(crate) async fn answer(state: &State, ask: &Ask, service: Service) -> Response<Body> {
    let segments = ask.segments();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let tenant = segments.first().copied();
    let form = token_endpoint::form(&ask.body);
    let client = form.get("client_id").map(String::as_str);
    let subject = Subject {
        service,
        vault: None,
        object: None,
        tenant,
        client,
        authenticated: false,
    };
    if matches!(segments[..], [_, "oauth2", "v2.0", "token"]) {
        state.counters.count(|counts| {
            let client = client.unwrap_or("(none)").to_owned();
            *counts
                .tokens(service)
                .token_requests
                .entry(client)
                .or_default() += 1;
        });
    }
    let effects = state.with_latency(state.faults.take(&subject));
    let mut response = interpose(service, effects, ask.asked(), async {
        match (ask.method.as_str(), &segments[..]) {
            ("POST", [tenant, "oauth2", "v2.0", "token"]) => {
                token_endpoint::answer(state, ask, service, tenant, &form)
                    .unwrap_or_else(|refusal| refusal.response(&state.clock, &ask.host))
            }
            // The token proxy gives tokens and nothing else.
            _ if service == Service::TokenProxy => not_here(ask, "the token proxy"),
            ("GET", [tenant, "v2.0", ".well-known", "openid-configuration"]) => {
                metadata::of_tenant(state, ask, tenant)
                    .unwrap_or_else(|refusal| refusal.response(&state.clock, &ask.host))
            }
            ("GET", [_, "discovery", "instance"]) => metadata::of_clouds(ask),
            ("GET", [_, "discovery", "v2.0", "keys"]) => {
                body::json(StatusCode::OK, &json!({ "keys": [] }))
            }
            _ => not_here(ask, "Entra ID"),
        }
    })
    .await;
    if response.extensions().get::<Verbatim>().is_none() {
        label(ask, &mut response);
    }
    response
}

/// The headers that every answer of Entra ID has, in the order of recorded ones.
fn label(ask: &Ask, response: &mut Response<Body>) {
    let own = std::mem::take(response.headers_mut());
    let headers = response.headers_mut();
    let mut add = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.append(name, value);
        }
    };
    let token = ask.path.ends_with("/token");
    let cache = if token {
        "no-store, no-cache"
    } else {
        "max-age=86400, private"
    };
    add(header::CACHE_CONTROL, cache);
    if token {
        add(header::PRAGMA, "no-cache");
        add(header::EXPIRES, "-1");
    }
    add(
        header::STRICT_TRANSPORT_SECURITY,
        "max-age=31536000; includeSubDomains",
    );
    add(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    add(
        HeaderName::from_static("p3p"),
        "CP=\"DSP CUR OTPi IND OTRi ONL FIN\"",
    );
    if let Some(id) = ask.header("client-request-id") {
        add(HeaderName::from_static("client-request-id"), id);
    }
    if !own.contains_key(REQUEST_ID) {
        add(REQUEST_ID, &identifier::guid());
    }
    add(
        HeaderName::from_static("x-ms-ests-server"),
        "2.1.12651.7 - SCUS ProdSlices",
    );
    add(header::X_XSS_PROTECTION, "0");
    for cookie in [
        format!(
            "fpc={}; expires=Fri, 01-Jan-2038 00:00:00 GMT; path=/; secure; HttpOnly; SameSite=None",
            URL_SAFE_NO_PAD.encode(identifier::random::<17>())
        ),
        "x-ms-gateway-slice=estsfd; path=/; secure; samesite=none; httponly".to_owned(),
        "stsservicecookie=estsfd; path=/; secure; samesite=none; httponly".to_owned(),
    ] {
        add(header::SET_COOKIE, &cookie);
    }
    headers.extend(own);
}

fn not_here(ask: &Ask, whom: &str) -> Response<Body> {
    body::text(
        StatusCode::NOT_FOUND,
        format!(
            "azure-emulator: {whom} here has no {} {}",
            ask.method, ask.path
        ),
    )
}

/// The tenant as it is kept, or `AADSTS90002`.
fn known_tenant(state: &State, tenant: &str) -> Result<String, Refusal> {
    let key = tenant.to_ascii_lowercase();
    if state.entra.directory.lock().tenants.contains_key(&key) {
        return Ok(key);
    }
    // Anything that is neither a GUID nor a domain is refused before it is looked up.
    let plausible = tenant.contains('.') || tenant.len() == 36;
    Err(if plausible {
        Refusal::tenant_not_found(tenant)
    } else {
        Refusal::malformed_tenant(tenant)
    })
}
