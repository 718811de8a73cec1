//! A provider process and the Azure that it sees, for one test.

pub mod api_server;
pub mod class;
pub mod frames;
pub mod http;
pub mod provider;
pub mod workload;

use azure_emulator::{Cloud, Emulator, ManagedIdentity, Permissions, Settings, Vault};
use provider_azure_rs::generated::v1alpha1::MountResponse;
use tonic::Status;

use class::Class;
use provider::Provider;

/// The vault of the example.
pub const VAULT: &str = "ai-chat-kv-1763873634";
/// The tenant of the example, which is also the emulator's own.
pub const TENANT: &str = "42ddc44e-97dd-4c3b-bf8a-31c785e24c67";
/// The client ID of the node's identity in the example.
pub const CLIENT_ID: &str = "e502213f-1f15-4f03-9fb4-b546f51aafe9";
/// Its object ID.
pub const OBJECT_ID: &str = "301f31b4-678d-4ace-a057-c5ddf471a810";

/// An Azure with one vault, and a provider on a node that has one identity, which may read from it.
pub struct Node {
    pub azure: Emulator,
    pub vault: Vault,
    pub provider: Provider,
}

impl Node {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With further flags for the provider.
    pub async fn start_with(flags: &[&str]) -> Self {
        Self::start_in(Cloud::Public, flags).await
    }

    /// In another cloud than the public one.
    pub async fn start_in(cloud: Cloud, flags: &[&str]) -> Self {
        let settings = Settings {
            cloud,
            ..Settings::default()
        };
        Self::start_beside(Emulator::start(settings).await.unwrap(), flags).await
    }

    /// With an emulator that runs already.
    pub async fn start_beside(azure: Emulator, flags: &[&str]) -> Self {
        azure
            .imds()
            .assign(ManagedIdentity::user_assigned(CLIENT_ID, OBJECT_ID));
        let vault = azure.vault(VAULT);
        vault.grant(OBJECT_ID, Permissions::read());
        let provider = Provider::start(&azure, flags).await;
        Self {
            azure,
            vault,
            provider,
        }
    }

    pub async fn mount(&self, class: &Class) -> Result<MountResponse, Status> {
        self.provider.mount(class.request()).await
    }
}

/// The files of an answer as text, in its order.
pub fn files(response: &MountResponse) -> Vec<(&str, i32, &str)> {
    response
        .files
        .iter()
        .map(|file| {
            (
                file.path.as_str(),
                file.mode,
                std::str::from_utf8(&file.contents).unwrap(),
            )
        })
        .collect()
}

/// The object versions of an answer, in its order.
pub fn versions(response: &MountResponse) -> Vec<(&str, &str)> {
    response
        .object_version
        .iter()
        .map(|object| (object.id.as_str(), object.version.as_str()))
        .collect()
}

/// Fails unless the status has this code and every one of these words.
pub fn expect_status(result: Result<MountResponse, Status>, code: tonic::Code, words: &[&str]) {
    let status = result.expect_err("the mount should fail");
    assert_eq!(status.code(), code, "{}", status.message());
    for word in words {
        assert!(
            status.message().contains(word),
            "{:?} should contain {word:?}",
            status.message()
        );
    }
    assert!(
        !status.message().contains('\n'),
        "{:?} should be one line",
        status.message()
    );
}
