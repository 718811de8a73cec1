//! Azure Key Vault, Microsoft Entra ID and the Instance Metadata Service (IMDS) on loopback.
//!
//! An [`Emulator`] is one small Azure: vaults with secrets, keys and certificates behind access
//! policies, tenants with applications that hold secrets or federated credentials, and a virtual
//! machine with managed identities, in an AKS cluster with identity bindings. Tests start one each and drive it through the handles that
//! [`Emulator`] gives; the binary `azure-emulator` runs the same thing for people, demos and
//! clients in other languages, with a JSON control API in place of the handles.
//!
//! Clients reach it in three ways: directly under `NAME.vault.localhost`, through a forward proxy
//! that answers for the public clouds' own host names (so a program built for production needs no
//! other setting than `HTTPS_PROXY` and a CA file), or with a hosts file that maps those names.
//! Nothing is ever forwarded to a network.
//!
//! Unknown things are refused as Azure refuses them: a vault that nobody created does not resolve,
//! an identity that nobody granted anything gets 403.
//!
//! ```no_run
//! use azure_emulator::{DEFAULT_TENANT, Emulator, Permissions, Settings};
//!
//! # async fn example() -> Result<(), azure_emulator::StartError> {
//! let emulator = Emulator::start(Settings::default()).await?;
//! emulator
//!     .entra()
//!     .application(DEFAULT_TENANT, "client")
//!     .with_secret("client-secret");
//! let vault = emulator.vault("kv1");
//! vault.set_secret("greeting", "hello");
//! vault.grant("client", Permissions::read());
//! // A client that goes through emulator.proxy_url() and trusts emulator.ca_pem() now reads
//! // https://kv1.vault.azure.net/secrets/greeting.
//! emulator.stop().await;
//! # Ok(())
//! # }
//! ```

mod body;
mod ca;
mod clock;
mod cloud;
mod control;
mod counters;
mod emulator;
mod entra;
mod faults;
mod front;
mod identifier;
mod imds;
mod listener;
mod proxy;
mod seed;
mod settings;
mod state;
mod token_proxy;
mod vault;

pub use cloud::Cloud;
pub use counters::{
    ConnectionCounts, Counters, Counts, EntraCounts, ImdsCounts, RequestRecord, VaultCounts,
};
pub use emulator::{Emulator, StartError, Urls};
pub use entra::{
    Application, Entra, FederatedCredential, FederationErrors, IDENTITY_BINDING_AUDIENCE,
    SERVICE_ACCOUNT_ISSUER, TOKEN_EXCHANGE_AUDIENCE,
};
pub use faults::{Effect, Fault, Faults, RecordedAnswer, Service, Target};
pub use imds::{Imds, ManagedIdentity};
pub use seed::{Seed, SeedError};
pub use settings::{CaFiles, DEFAULT_TENANT, Settings, Validity};
pub use token_proxy::API_SERVER;
pub use vault::{
    ApiVersion, CertificatePolicy, KeyType, NewSecret, ObjectKind, Permissions, Recovery, Vault,
    VaultError,
};
