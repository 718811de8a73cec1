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
/// The bytes of the value of each big secret, which is Key Vault's most.
///
/// Source: "About Azure Key Vault secrets".
pub const BIG: usize = 25_000;
/// How many secrets are big.
pub const BIG_ONES: usize = 100;
/// How many secrets have a history.
pub const HISTORIES: usize = 3;
/// How many versions each of them has.
pub const HISTORY: usize = 10;

/// As whom pods mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Each pod as an application of its own, by its own service account's token.
    Workload,
    /// All as one application, each pod by a token of its own for the service account of all.
    Shared,
    /// All as one managed identity of the node.
    Managed,
}

/// What secrets are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// A short value, and one version.
    Usual,
    /// The largest value that a vault takes.
    Big,
    /// Short values of [`HISTORY`] versions, which are all mounted.
    Histories,
}

impl Secrets {
    /// How many versions of each are mounted.
    pub fn versions(self) -> usize {
        match self {
            Self::Usual | Self::Big => 1,
            Self::Histories => HISTORY,
        }
    }

    /// The name of the secret of this number.
    pub fn name(self, number: usize) -> String {
        let kind = match self {
            Self::Usual => "secret",
            Self::Big => "big",
            Self::Histories => "history",
        };
        format!("{kind}-{number}")
    }
}

/// Which objects a pod mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Objects {
    /// How many secrets.
    pub count: usize,
    pub secrets: Secrets,
}

impl Objects {
    /// How many files come of them.
    pub fn files(self) -> usize {
        self.count * self.secrets.versions()
    }

    /// The names of the secrets.
    pub fn names(self) -> impl Iterator<Item = String> {
        (0..self.count).map(move |number| self.secrets.name(number))
    }

    /// The parameter `objects` of a class.
    fn parameter(self) -> String {
        let history = match self.secrets.versions() {
            1 => String::new(),
            versions => format!("    objectVersionHistory: {versions}\n"),
        };
        let entry =
            |name| format!("  - |\n    objectName: {name}\n    objectType: secret\n{history}");
        let entries: Vec<String> = self.names().map(entry).collect();
        format!("array:\n{}", entries.concat())
    }
}

/// The name of a pod, and of its service account.
pub fn name(number: usize) -> String {
    format!("bench-{number}")
}

/// The path at which a pod's volume is mounted, below a folder of the pod's own as the kubelet has it.
pub fn target_path(number: usize) -> String {
    format!(
        "/var/lib/kubelet/pods/{}/volumes/kubernetes.io~csi/secrets/mount",
        uid(number)
    )
}

fn uid(number: usize) -> String {
    format!("{number:08x}-0e3c-4f5a-9d2b-6c1a7b8e9f00")
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
        // Whose service account it has, and as whom it mounts.
        let (account, client) = match identity {
            Identity::Workload | Identity::Managed => (name(number), client_id(number)),
            Identity::Shared => (name(0), client_id(0)),
        };
        let mut attributes = json!({
            "csi.storage.k8s.io/pod.name": name(number),
            "csi.storage.k8s.io/pod.uid": uid(number),
            "csi.storage.k8s.io/pod.namespace": NAMESPACE,
            "csi.storage.k8s.io/serviceAccount.name": account,
            "keyvaultName": VAULT,
            "tenantId": azure_emulator::DEFAULT_TENANT,
            "objects": objects.parameter(),
        });
        match identity {
            Identity::Workload | Identity::Shared => {
                let hour = Duration::from_secs(3600);
                let token =
                    azure.service_account_token(NAMESPACE, &account, TOKEN_EXCHANGE_AUDIENCE, hour);
                let tokens = json!({
                    TOKEN_EXCHANGE_AUDIENCE: {
                        "token": token,
                        "expirationTimestamp": "2036-01-01T00:00:00Z",
                    },
                });
                attributes["clientID"] = client.into();
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
