//! [`Pod`], who mounts what: the attributes that the driver hands over for it.

use std::time::Duration;

use azure_emulator::{Emulator, TOKEN_EXCHANGE_AUDIENCE};
use serde_json::json;

/// The vault that all mounts are from.
pub const VAULT: &str = "bench-kv";
/// The namespace of all pods.
pub const NAMESPACE: &str = "bench";
/// The node's identity.
pub const NODE: &str = "e502213f-1f15-4f03-9fb4-b546f51aafe9";
/// How many secrets have a history.
pub const HISTORIES: usize = 3;
/// How many versions each of them has.
pub const HISTORY: usize = 10;

/// As whom pods mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Each pod as an application of its own, by its own service account's token.
    Workload,
    /// All as one managed identity of the node.
    Managed,
}

/// Which objects a pod mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Objects {
    /// How many secrets.
    pub count: usize,
    /// How many versions of each: the current one alone, or a whole history.
    pub versions: usize,
}

impl Objects {
    /// How many files come of them.
    pub fn files(self) -> usize {
        self.count * self.versions
    }

    /// The names of the secrets.
    pub fn secrets(self) -> impl Iterator<Item = String> {
        (0..self.count).map(move |number| secret(number, self.versions))
    }

    /// The parameter `objects` of a class.
    fn parameter(self) -> String {
        let history = match self.versions {
            1 => String::new(),
            versions => format!("    objectVersionHistory: {versions}\n"),
        };
        let entry =
            |name| format!("  - |\n    objectName: {name}\n    objectType: secret\n{history}");
        let entries: Vec<String> = self.secrets().map(entry).collect();
        format!("array:\n{}", entries.concat())
    }
}

/// The name of a secret with so many versions.
pub fn secret(number: usize, versions: usize) -> String {
    match versions {
        1 => format!("secret-{number}"),
        _ => format!("history-{number}"),
    }
}

/// The name of a pod, and of its service account.
pub fn name(number: usize) -> String {
    format!("bench-{number}")
}

/// The application as which a pod mounts by workload identity.
pub fn client_id(number: usize) -> String {
    format!("{number:08x}-1f15-4f03-9fb4-b546f51aafe9")
}

/// A pod that is about to mount.
#[derive(Clone, Debug)]
pub struct Pod {
    /// The attributes in JSON.
    pub attributes: String,
    /// The Secret of `nodePublishSecretRef` in JSON; `{}` where there is none.
    pub secrets: String,
    /// How many files it is to get.
    pub files: usize,
}

impl Pod {
    /// The pod of this number.
    pub fn new(azure: &Emulator, number: usize, identity: Identity, objects: Objects) -> Self {
        let name = name(number);
        let mut attributes = json!({
            "csi.storage.k8s.io/pod.name": name,
            "csi.storage.k8s.io/pod.namespace": NAMESPACE,
            "csi.storage.k8s.io/serviceAccount.name": name,
            "keyvaultName": VAULT,
            "tenantId": azure_emulator::DEFAULT_TENANT,
            "objects": objects.parameter(),
        });
        match identity {
            Identity::Workload => {
                let hour = Duration::from_secs(3600);
                let token =
                    azure.service_account_token(NAMESPACE, &name, TOKEN_EXCHANGE_AUDIENCE, hour);
                let tokens = json!({
                    TOKEN_EXCHANGE_AUDIENCE: {
                        "token": token,
                        "expirationTimestamp": "2036-01-01T00:00:00Z",
                    },
                });
                attributes["clientID"] = client_id(number).into();
                attributes["csi.storage.k8s.io/serviceAccount.tokens"] = tokens.to_string().into();
            }
            Identity::Managed => {
                // The Go provider does not take the identity's ID for a wish to use it.
                attributes["useVMManagedIdentity"] = "true".into();
                attributes["userAssignedIdentityID"] = NODE.into();
            }
        }
        Self {
            attributes: attributes.to_string(),
            secrets: "{}".to_owned(),
            files: objects.files(),
        }
    }
}
