//! [`Class`], a SecretProviderClass with the pod that mounts it; and the names of everyone and everything in the
//! attacks.

use std::time::Duration;

use azure_emulator::{DEFAULT_TENANT, Emulator, TOKEN_EXCHANGE_AUDIENCE};
use serde_json::{Map, Value, json};

use crate::pod::Pod;

/// The victim's vault.
pub const VICTIMS: &str = "victim-kv";
/// The attacker's vault, whose every object anyone in the tenant may read.
pub const ATTACKERS: &str = "attacker-kv";
/// The namespace of the attacker.
pub const ATTACKER: &str = "attacker";
/// The namespace of the victim.
pub const VICTIM: &str = "victim";
/// The secret that is in every vault.
pub const SECRET: &str = "secret";
/// The name of the victim's class.
pub const VICTIMS_CLASS: &str = "victims-class";

/// How many vaults are asked for the first time while an attack goes on.
pub const FRESH: usize = 64;
/// How many vaults an attacker asks, besides its own.
pub const MANY: usize = 200;

/// A vault of a victim that comes anew.
pub fn fresh_vault(number: usize) -> String {
    format!("fresh-{}", number % FRESH)
}

/// One of many vaults that an attacker asks.
pub fn one_of_many(number: usize) -> String {
    format!("many-{}", number % MANY)
}

/// The names of all vaults that can be looked up.
pub fn vaults() -> impl Iterator<Item = String> {
    let fresh = (0..FRESH).map(fresh_vault);
    let many = (0..MANY).map(one_of_many);
    let named = [VICTIMS, ATTACKERS].map(str::to_owned);
    named.into_iter().chain(fresh).chain(many)
}

/// An application's client ID, or an identity's.
pub fn client_id(number: usize) -> String {
    format!("{number:08x}-a77a-4c3b-bf8a-31c785e24c67")
}

/// A class, and the pod that mounts it.
#[derive(Clone, Debug)]
pub struct Class {
    attributes: Map<String, Value>,
    secrets: Value,
    files: usize,
}

impl Class {
    /// The secret that is in every vault, from the attacker's, for a pod in this namespace.
    pub fn new(namespace: &str) -> Self {
        Self {
            attributes: Map::new(),
            secrets: json!({}),
            files: 0,
        }
        .with("csi.storage.k8s.io/pod.name", "pod")
        .with("csi.storage.k8s.io/pod.namespace", namespace)
        .with("csi.storage.k8s.io/pod.uid", "0b1c2d3e")
        .with("csi.storage.k8s.io/serviceAccount.name", "account")
        .with("secretProviderClass", "class")
        .with("tenantId", DEFAULT_TENANT)
        .vault(ATTACKERS)
        .secrets([SECRET])
    }

    /// With an attribute more, or another value for one.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        let value = Value::String(value.into());
        self.attributes.insert(name.to_owned(), value);
        self
    }

    /// From this vault.
    pub fn vault(self, name: &str) -> Self {
        self.with("keyvaultName", name)
    }

    /// As an application of its own, by its service account's token. What is in there may read nothing yet.
    pub fn workload(self, azure: &Emulator, client_id: &str) -> Self {
        let namespace = self.attributes["csi.storage.k8s.io/pod.namespace"].clone();
        let namespace = namespace.as_str().unwrap_or_default();
        azure
            .entra()
            .application(DEFAULT_TENANT, client_id)
            .with_service_account(namespace, "account");
        let hour = Duration::from_secs(3600);
        let audience = TOKEN_EXCHANGE_AUDIENCE;
        let token = azure.service_account_token(namespace, "account", audience, hour);
        self.assertion(client_id, &token)
    }

    /// As an application, by a text that is given out for a service account's token.
    pub fn assertion(self, client_id: &str, token: &str) -> Self {
        let tokens = json!({
            TOKEN_EXCHANGE_AUDIENCE: {
                "token": token,
                "expirationTimestamp": "2036-01-01T00:00:00Z",
            },
        });
        self.with("clientID", client_id).with(
            "csi.storage.k8s.io/serviceAccount.tokens",
            tokens.to_string(),
        )
    }

    /// As an application, by a client secret of `nodePublishSecretRef`.
    pub fn principal(mut self, tenant: &str, client_id: &str, secret: &str) -> Self {
        self.secrets = json!({ "clientid": client_id, "clientsecret": secret });
        self.with("tenantId", tenant)
    }

    /// As a managed identity of the node.
    pub fn managed(self, client_id: &str) -> Self {
        self.with("useVMManagedIdentity", "true")
            .with("userAssignedIdentityID", client_id)
    }

    /// With these secrets.
    pub fn secrets<T: AsRef<str>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        let entries: Vec<String> = names
            .into_iter()
            .map(|name| {
                let name = name.as_ref();
                format!("  - |\n    objectName: {name}\n    objectType: secret\n")
            })
            .collect();
        self.files = entries.len();
        self.with("objects", format!("array:\n{}", entries.concat()))
    }

    /// With so many files of one secret, or folders of so many of its versions.
    pub fn copies(mut self, name: &str, count: usize, versions: usize) -> Self {
        let entries = (0..count).map(|number| {
            format!(
                "  - |\n    objectName: {name}\n    objectType: secret\n    objectAlias: copy-{number}\n    \
                 objectVersionHistory: {versions}\n"
            )
        });
        let entries: String = entries.collect();
        self.files = count * versions;
        self.with("objects", format!("array:\n{entries}"))
    }

    /// What the driver hands over.
    pub fn pod(&self) -> Pod {
        Pod {
            attributes: Value::Object(self.attributes.clone()).to_string(),
            secrets: self.secrets.to_string(),
            files: self.files,
        }
    }
}
