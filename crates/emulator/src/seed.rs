//! A seed: what a fresh emulator is to hold, written as JSON. The binary reads one from a file and
//! the control API takes one in a request; tests can use it too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::cloud::Cloud;
use crate::entra::{FederatedCredential, FederationErrors};
use crate::imds::ManagedIdentity;
use crate::state::State;
use crate::vault::{
    ApiVersion, CertificatePolicy, KeyType, NewSecret, Permissions, Recovery, Vault, VaultError,
};

/// A seed could not be planted.
#[derive(Debug, Error)]
pub enum SeedError {
    /// The JSON is not a seed.
    #[error("the seed is not valid")]
    Json(#[from] serde_json::Error),
    /// A certificate in it is not usable.
    #[error("certificate '{name}' of vault '{vault}'")]
    Certificate {
        vault: String,
        name: String,
        source: VaultError,
    },
}

/// Tenants, managed identities and vaults.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Seed {
    /// Tenants by id, with their applications by client id.
    pub tenants: BTreeMap<String, TenantSeed>,
    /// The managed identities of this machine.
    pub managed_identities: Vec<ManagedIdentity>,
    /// Vaults by name.
    pub vaults: BTreeMap<String, VaultSeed>,
    /// How assertions without a matching federated credential are refused.
    pub federation_errors: Option<FederationErrors>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct TenantSeed {
    /// Applications by client id.
    pub applications: BTreeMap<String, ApplicationSeed>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ApplicationSeed {
    /// The object id of its service principal; derived from the client id when it is not given.
    pub object_id: Option<String>,
    pub secrets: Vec<String>,
    /// Client secrets that have expired.
    pub expired_secrets: Vec<String>,
    pub federated_credentials: Vec<FederatedCredential>,
    /// The service accounts that the token proxy gives its tokens to.
    pub identity_bindings: Vec<ServiceAccountSeed>,
}

/// A service account of the cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceAccountSeed {
    pub namespace: String,
    pub name: String,
}

/// A vault. What is not given stays as it is in a vault that exists already.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct VaultSeed {
    pub tenant: Option<String>,
    pub cloud: Option<Cloud>,
    /// Whether refusals are worded for role assignments.
    pub rbac: Option<bool>,
    /// Whether its firewall refuses every client.
    pub firewall: Option<bool>,
    /// Whether it answers clients that do not come through its private endpoint.
    pub public_network_access: Option<bool>,
    /// The resource id of the private endpoint that every client comes through.
    pub private_endpoint: Option<String>,
    /// How long deleted objects can be recovered.
    pub recovery: Option<Recovery>,
    /// The newest version of the REST API that it knows.
    pub latest_api_version: Option<ApiVersion>,
    /// Its Azure region.
    pub location: Option<String>,
    /// Whether every identity of the tenant may do everything.
    pub allow_everyone: Option<bool>,
    /// Permissions by client id or object id.
    pub access: BTreeMap<String, Permissions>,
    /// Secrets by name; each adds a version.
    pub secrets: BTreeMap<String, SecretSeed>,
    /// Keys by name; each adds a version.
    pub keys: BTreeMap<String, KeySeed>,
    /// Certificates by name; each adds a version.
    pub certificates: BTreeMap<String, CertificateSeed>,
}

/// A secret: a value, a version with everything it can have, or several versions.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SecretSeed {
    Value(String),
    Version(NewSecret),
    /// Versions, the oldest first.
    Versions(Vec<NewSecret>),
}

/// A key: a kind to be made, or the public members of a JSON Web Key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum KeySeed {
    Make(KeyType),
    /// A JSON Web Key.
    Jwk(Map<String, Value>),
}

/// A certificate: imported, made and self-signed, or pending.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CertificateSeed {
    /// PEM, or PFX in base64.
    Import {
        value: String,
        /// The PFX's password.
        #[serde(default)]
        password: Option<String>,
        /// The content type of its secret; that of the import when it is not given.
        #[serde(default, rename = "contentType")]
        content_type: Option<String>,
    },
    /// One that is not issued yet.
    Pending {
        /// What it is to become.
        pending: CertificatePolicy,
    },
    /// What to make.
    Make(CertificatePolicy),
}

impl Seed {
    /// Reads the JSON of a seed.
    pub fn from_json(json: &[u8]) -> Result<Self, SeedError> {
        Ok(serde_json::from_slice(json)?)
    }

    pub(crate) fn plant(&self, state: &State) -> Result<(), SeedError> {
        for (tenant, seed) in &self.tenants {
            state.entra.add_tenant(tenant);
            for (client_id, seed) in &seed.applications {
                seed.plant(state, tenant, client_id);
            }
        }
        for identity in &self.managed_identities {
            state.imds.assign(identity.clone());
        }
        if let Some(errors) = self.federation_errors {
            state.entra.set_federation_errors(errors);
        }
        for (name, seed) in &self.vaults {
            seed.plant(&state.vault(name))?;
        }
        Ok(())
    }
}

impl ApplicationSeed {
    pub(crate) fn plant(&self, state: &State, tenant: &str, client_id: &str) {
        let mut application = state.entra.application(tenant, client_id);
        if let Some(object_id) = &self.object_id {
            application = application.with_object_id(object_id);
        }
        for secret in &self.secrets {
            application = application.with_secret(secret);
        }
        for secret in &self.expired_secrets {
            application = application.with_expired_secret(secret);
        }
        for credential in &self.federated_credentials {
            application = application.with_federated(credential.clone());
        }
        for account in &self.identity_bindings {
            application = application.with_identity_binding(&account.namespace, &account.name);
        }
    }
}

impl VaultSeed {
    pub(crate) fn plant(&self, vault: &Vault) -> Result<(), SeedError> {
        if let Some(tenant) = &self.tenant {
            vault.set_tenant(tenant);
        }
        if let Some(cloud) = self.cloud {
            vault.set_cloud(cloud);
        }
        if let Some(rbac) = self.rbac {
            vault.set_rbac(rbac);
        }
        if let Some(firewall) = self.firewall {
            vault.set_firewall(firewall);
        }
        if let Some(open) = self.public_network_access {
            vault.set_public_network_access(open);
        }
        if let Some(id) = &self.private_endpoint {
            vault.set_private_endpoint(Some(id.clone()).filter(|id| !id.is_empty()));
        }
        if let Some(recovery) = self.recovery {
            vault.set_recovery(recovery);
        }
        if let Some(latest) = self.latest_api_version {
            vault.set_latest_api_version(latest);
        }
        if let Some(location) = &self.location {
            vault.set_location(location);
        }
        match self.allow_everyone {
            Some(true) => vault.allow_everyone(),
            Some(false) => vault.allow_only_granted(),
            None => {}
        }
        for (identity, permissions) in &self.access {
            vault.grant(identity, permissions.clone());
        }
        for (name, seed) in &self.secrets {
            seed.plant(vault, name);
        }
        for (name, seed) in &self.keys {
            seed.plant(vault, name);
        }
        for (name, seed) in &self.certificates {
            seed.plant(vault, name)
                .map_err(|source| SeedError::Certificate {
                    vault: vault.name().to_owned(),
                    name: name.clone(),
                    source,
                })?;
        }
        Ok(())
    }
}

impl SecretSeed {
    /// Gives the newest version.
    pub(crate) fn plant(&self, vault: &Vault, name: &str) -> String {
        match self {
            Self::Value(value) => vault.set_secret(name, value),
            Self::Version(version) => vault.set_secret_with(name, version.clone()),
            Self::Versions(versions) => {
                let mut newest = String::new();
                for version in versions {
                    newest = vault.set_secret_with(name, version.clone());
                }
                newest
            }
        }
    }
}

impl KeySeed {
    /// Gives the version.
    pub(crate) fn plant(&self, vault: &Vault, name: &str) -> String {
        match self {
            Self::Make(kind) => vault.create_key(name, *kind),
            Self::Jwk(jwk) => vault.set_key(name, jwk.clone()),
        }
    }
}

impl CertificateSeed {
    /// Gives the version.
    pub(crate) fn plant(&self, vault: &Vault, name: &str) -> Result<String, VaultError> {
        match self {
            Self::Import {
                value,
                password,
                content_type,
            } => vault.import_certificate_as(
                name,
                value.as_bytes(),
                password.as_deref(),
                content_type.as_deref(),
            ),
            Self::Pending { pending } => vault.create_pending_certificate(name, pending),
            Self::Make(policy) => vault.create_certificate(name, policy),
        }
    }
}
