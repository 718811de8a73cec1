//! [`Azure`], the emulated cloud: the example's vault with its secret, and the node's one identity.

use std::io;

use azure_emulator::{Emulator, ManagedIdentity, Permissions, Settings, Vault};
use clap::Parser;
use ring::digest::{SHA256, digest};
use ring::rand::{SystemRandom, generate};

use crate::failure::{Result, cannot};

/// `keyvaultName` of the example's class.
pub const VAULT: &str = "ai-chat-kv-1763873634";
/// `objectName` of the example's class.
pub const SECRET: &str = "OPENAI-API-KEY";
/// `userAssignedIdentityID` of the example's class: the client ID of the kubelet's identity.
pub const CLIENT_ID: &str = "e502213f-1f15-4f03-9fb4-b546f51aafe9";
/// The same identity's object ID, which access policies name.
pub const OBJECT_ID: &str = "301f31b4-678d-4ace-a057-c5ddf471a810";

/// The emulated cloud. It stops when dropped.
pub struct Azure {
    pub emulator: Emulator,
    pub vault: Vault,
    /// Every value that the secret has had.
    values: Vec<String>,
    /// Of the secret's newest value.
    pub version: String,
    /// SHA-256 of the secret's newest value.
    pub digest: String,
}

impl Azure {
    /// As the example describes it: the secret is there, the identity is the node's and may read it.
    pub async fn start() -> Result<Self> {
        let emulator = Emulator::start(Settings::default()).await?;
        let vault = emulator.vault(VAULT);
        vault.grant(OBJECT_ID, Permissions::read());
        let mut azure = Self {
            emulator,
            vault,
            values: Vec::new(),
            version: String::new(),
            digest: String::new(),
        };
        azure.assign_identity();
        azure.put_secret()?;
        Ok(azure)
    }

    /// By which a program with the CA in `$DEMO/ca.pem` takes this for Azure.
    pub fn variables(&self) -> [(&'static str, String); 4] {
        let (proxy, imds) = (self.emulator.proxy_url(), self.emulator.imds_url());
        [
            ("SSL_CERT_FILE", "$DEMO/ca.pem".to_owned()),
            ("HTTPS_PROXY", proxy.to_owned()),
            ("HTTP_PROXY", proxy.to_owned()),
            ("AZURE_POD_IDENTITY_AUTHORITY_HOST", imds.to_owned()),
        ]
    }

    /// Gives the secret a new value.
    pub fn put_secret(&mut self) -> Result {
        let random = generate::<[u8; 32]>(&SystemRandom::new())
            .map_err(|_| cannot("make a secret")(io::Error::other("no randomness")))?;
        let value = format!("sk-{:.48}", sha256(random.expose()));
        self.digest = sha256(&value);
        self.version = self.vault.set_secret(SECRET, &*value);
        self.values.push(value);
        Ok(())
    }

    /// Whether a value of the secret is in the text.
    pub fn has_value_in(&self, text: &str) -> bool {
        self.values.iter().any(|value| text.contains(value))
    }

    pub fn set_policy(&self, policy: &SetPolicy) {
        let names = policy.secret_permissions.iter();
        let names: Vec<_> = names.map(String::as_str).collect();
        let permissions = Permissions::default().on_secrets(&names);
        let vault = self.emulator.vault(&policy.name);
        vault.grant(&policy.object_id, permissions);
    }

    /// `az vmss identity assign`.
    pub fn assign_identity(&self) {
        let identity = ManagedIdentity::user_assigned(CLIENT_ID, OBJECT_ID);
        self.emulator.imds().assign(identity);
    }
}

/// `az keyvault set-policy`, the one command of the Azure CLI that the demo follows to the letter: if the
/// provider's message names a wrong vault, identity or permission, its fix does not fix anything.
#[derive(Debug, Parser)]
#[command(no_binary_name = true)]
pub struct SetPolicy {
    #[arg(long)]
    pub name: String,
    #[arg(long)]
    pub object_id: String,
    #[arg(long, required = true, num_args = 1..)]
    secret_permissions: Vec<String>,
}

impl SetPolicy {
    /// The command that is the fix of a message, as it stands there and as it is read.
    pub fn in_message(message: &str) -> Option<(&str, Self)> {
        let command = message.rsplit_once("Fix: ")?.1.lines().next()?.trim_end();
        let flags = command.strip_prefix("az keyvault set-policy ")?;
        // An inner command repeats the permissions that there are.
        let flags = flags.split(" $(").next()?;
        Some((command, Self::try_parse_from(flags.split(' ')).ok()?))
    }
}

/// In hexadecimal, as `sha256sum` prints it. Secrets are compared by it without being shown.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    let digest = digest(&SHA256, bytes.as_ref());
    let bytes = digest.as_ref().iter();
    bytes.fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fix_is_found_after_what_explains_it() {
        let command = "az keyvault set-policy --name v --object-id o --secret-permissions get list \
            $(az keyvault show --name v --output tsv)";
        let message = format!("no (az keyvault set-policy replaces them). Fix: {command}\nmore\n");
        let (found, policy) = SetPolicy::in_message(&message).unwrap();
        assert_eq!(found, command);
        assert_eq!([policy.name, policy.object_id], ["v", "o"]);
        assert_eq!(policy.secret_permissions, ["get", "list"]);
        assert!(SetPolicy::in_message("Fix: az keyvault set-policy --name v").is_none());
        assert!(SetPolicy::in_message("denied").is_none());
    }
}
