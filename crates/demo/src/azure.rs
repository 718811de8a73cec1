//! [`Azure`], the emulated cloud: the example's vault with its secret, and the node's one identity.

use std::io;

use azure_emulator::{Emulator, ManagedIdentity, Permissions, Settings, Vault};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::digest::{hexadecimal, sha256};
use crate::failure::{Failure, cannot};
use crate::set_policy::SetPolicy;

/// `keyvaultName` of the example's class.
pub const VAULT: &str = "ai-chat-kv-1763873634";
/// `objectName` of the example's class.
pub const SECRET: &str = "OPENAI-API-KEY";
/// `userAssignedIdentityID` of the example's class: the client ID of the kubelet's identity.
pub const CLIENT_ID: &str = "e502213f-1f15-4f03-9fb4-b546f51aafe9";
/// The same identity's object ID, which access policies name.
pub const OBJECT_ID: &str = "301f31b4-678d-4ace-a057-c5ddf471a810";

/// The emulated cloud. It stops when dropped.
#[derive(Debug)]
pub struct Azure {
    emulator: Emulator,
    vault: Vault,
    /// Every value that the secret has had.
    values: Vec<String>,
}

impl Azure {
    /// As the example describes it: the secret is there, the identity is the node's and may read it.
    pub async fn start() -> Result<Self, Failure> {
        let emulator = Emulator::start(Settings::default()).await?;
        let vault = emulator.vault(VAULT);
        vault.grant(OBJECT_ID, may(&["get", "list"]));
        let mut azure = Self {
            emulator,
            vault,
            values: Vec::new(),
        };
        azure.assign_identity();
        azure.put_secret()?;
        Ok(azure)
    }

    /// The environment of a program for which this is Azure, but for `SSL_CERT_FILE`, which names a file
    /// with [`Azure::ca_pem`].
    pub fn environment(&self) -> [(&'static str, &str); 3] {
        [
            ("HTTPS_PROXY", self.emulator.proxy_url()),
            ("HTTP_PROXY", self.emulator.proxy_url()),
            (
                "AZURE_POD_IDENTITY_AUTHORITY_HOST",
                self.emulator.imds_url(),
            ),
        ]
    }

    /// The CA that its certificates are from.
    pub fn ca_pem(&self) -> &str {
        self.emulator.ca_pem()
    }

    /// Gives the secret a new value. Gives the version.
    pub fn put_secret(&mut self) -> Result<String, Failure> {
        let mut random = [0; 24];
        SystemRandom::new()
            .fill(&mut random)
            .map_err(|_| cannot("make a secret")(io::Error::other("no randomness")))?;
        let value = format!("sk-{}", hexadecimal(&random));
        self.values.push(value.clone());
        Ok(self.vault.set_secret(SECRET, value))
    }

    /// The version of the secret's newest value.
    pub fn version(&self) -> String {
        let kind = azure_emulator::ObjectKind::Secret;
        self.vault.versions(kind, SECRET).pop().unwrap_or_default()
    }

    /// SHA-256 of the secret's newest value, as the vault has it.
    pub fn digest(&self) -> Result<String, Failure> {
        Ok(sha256(self.vault.secret_value(SECRET, None)?.as_bytes()))
    }

    /// Whether a value of the secret is in the text.
    pub fn has_value_in(&self, text: &str) -> bool {
        self.values.iter().any(|value| text.contains(value))
    }

    /// `az keyvault delete-policy`.
    pub fn delete_policy(&self) {
        self.vault.revoke(OBJECT_ID);
    }

    /// `az keyvault set-policy`.
    pub fn set_policy(&self, policy: &SetPolicy) {
        let permissions: Vec<_> = policy
            .secret_permissions
            .iter()
            .map(String::as_str)
            .collect();
        let vault = self.emulator.vault(&policy.vault);
        vault.grant(&policy.object_id, may(&permissions));
    }

    /// `az vmss identity assign`.
    pub fn assign_identity(&self) {
        let identity = ManagedIdentity::user_assigned(CLIENT_ID, OBJECT_ID);
        self.emulator.imds().assign(identity);
    }

    /// `az vmss identity remove`.
    pub fn remove_identity(&self) {
        self.emulator.imds().unassign(CLIENT_ID);
    }
}

fn may(secrets: &[&str]) -> Permissions {
    Permissions::default().on_secrets(secrets)
}
