//! Flags of whatever answers a mount: `serve`, and `mount` and `doctor` without a socket.

// The comments on flags are their help texts, which have no Markdown.
#![allow(clippy::doc_markdown)]

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValue;
use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args, ValueEnum};
use thiserror::Error;
use url::Url;

use super::values::{
    TOKEN_PROXY, connection_age, duration, duration_or_none, go_bool, http_url, request_count,
    server_name, service_port, token_audience, token_proxy_url,
};
use crate::azure::credential::token_proxy::TokenProxySettings;
use crate::azure::vault::memory::{MemorySettings, MemorySettingsError};
use crate::class::cloud::environment_file::EnvironmentFileError;
use crate::class::cloud::{Cloud, CloudChoice, CloudError};
use crate::class::plan::{Conventions, HistoryCount};
use crate::class::property::clouds;
use crate::cluster::ServiceAddress;
use crate::server::environment_files::{self, EnvironmentFiles};
use crate::transport::TransportSettings;

/// Flags of whatever answers a mount: `serve`, and `mount` without a socket.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Mounts")]
pub struct ProviderSettings {
    /// Most time for one mount, where the caller gives no shorter one; the kubelet gives up after 2m
    #[arg(
        long,
        value_name = "DURATION",
        env = "PROVIDER_AZURE_RS_MOUNT_TIMEOUT",
        default_value = "60s",
        value_parser = duration
    )]
    pub mount_timeout: Duration,
    /// Most requests to one vault at once, from all mounts of this node; a vault that does not speak HTTP/2
    /// gets 80 at most
    #[arg(
        long,
        value_name = "NUMBER",
        env = "PROVIDER_AZURE_RS_MAX_CONCURRENT_REQUESTS",
        default_value = "336",
        value_parser = request_count
    )]
    pub max_concurrent_requests: usize,
    /// Most bytes of all files of one mount; the driver takes as many as its --max-call-recv-msg-size
    #[arg(
        long,
        value_name = "BYTES",
        env = "PROVIDER_AZURE_RS_MAX_ANSWER_SIZE",
        default_value_t = 4 * 1024 * 1024
    )]
    pub max_answer_size: usize,
    /// Most bytes that all mounts hold at once, from their requests to their answers, besides what is kept; each
    /// namespace has a share. At least 18 MiB, and one and a half times what one mount may have
    #[arg(
        long,
        value_name = "BYTES",
        env = "PROVIDER_AZURE_RS_MEMORY_BUDGET",
        default_value_t = 48 * 1024 * 1024
    )]
    pub memory_budget: usize,
    /// Cloud of classes without cloudName
    #[arg(
        help = format!("Cloud of classes without cloudName: {}", clouds::all_names()),
        long,
        value_name = "NAME",
        env = "PROVIDER_AZURE_RS_CLOUD_NAME",
        default_value = clouds::DEFAULT,
        help_heading = "Clouds"
    )]
    pub cloud_name: String,
    /// Audience of workload identities' tokens besides the cloud's own (api://AzureADTokenExchange,
    /// api://AzureADTokenExchangeUSGov or api://AzureADTokenExchangeChina); looked for before it; may be given several
    /// times. The driver's tokenRequests need it too
    #[arg(
        long,
        value_name = "AUDIENCE",
        env = "PROVIDER_AZURE_RS_TOKEN_AUDIENCE",
        value_delimiter = ',',
        value_parser = token_audience,
        help_heading = "Clouds"
    )]
    pub token_audience: Vec<String>,
    /// Folder that cloudEnvFileName of a class may point into; may be given several times
    #[arg(
        long,
        value_name = "DIR",
        env = "PROVIDER_AZURE_RS_CLOUD_ENV_DIR",
        value_delimiter = ':',
        help_heading = "Clouds"
    )]
    pub cloud_env_dir: Vec<PathBuf>,
    /// File with the endpoints of AzureStackCloud, for classes without cloudEnvFileName
    #[arg(
        long,
        value_name = "FILE",
        env = "AZURE_ENVIRONMENT_FILEPATH",
        help_heading = "Clouds"
    )]
    pub cloud_env_file: Option<PathBuf>,
    /// File with the rules of which namespaces may use which vaults, identities and objects; without it all
    /// may. Followed when it changes
    #[arg(long, value_name = "FILE", env = "PROVIDER_AZURE_RS_POLICY")]
    pub policy: Option<PathBuf>,
    /// Which files there are.
    #[command(flatten)]
    pub files: FileSettings,
    /// PEM certificates to trust besides the system's. Followed when it changes
    #[arg(long, value_name = "FILE", env = "PROVIDER_AZURE_RS_CA_FILE")]
    pub ca_file: Option<PathBuf>,
    /// How old a connection to a vault or a token service gets before a new one, looked up again, takes its place; the
    /// old one serves until the new one is ready
    #[arg(
        long,
        value_name = "DURATION",
        env = "PROVIDER_AZURE_RS_CONNECTION_MAX_AGE",
        default_value = "5m",
        value_parser = connection_age
    )]
    pub connection_max_age: Duration,
    /// Another address for IMDS than http://169.254.169.254
    #[arg(long, value_name = "URL", env = "AZURE_POD_IDENTITY_AUTHORITY_HOST", value_parser = http_url)]
    pub imds_endpoint: Option<Url>,
    /// Values that are kept.
    #[command(flatten)]
    pub cache: CacheSettings,
    /// Tokens by identity binding.
    #[command(flatten)]
    pub identity_binding: IdentityBindingSettings,
}

/// Flags of AKS identity bindings, for classes with useAzureTokenProxy. Empty is as good as not said, for
/// charts that always say something.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Identity binding")]
pub struct IdentityBindingSettings {
    /// AKS token proxy, which classes with useAzureTokenProxy get their tokens from; never asked through
    /// HTTPS_PROXY
    #[arg(
        long,
        value_name = "URL",
        env = "PROVIDER_AZURE_RS_TOKEN_PROXY_URL",
        default_value = TOKEN_PROXY,
        value_parser = token_proxy_url
    )]
    pub token_proxy_url: Url,
    /// Name that TLS knows the token proxy by (a….ests.aks); where it is not said, computed from the API
    /// server's certificate at the first mount that needs it
    #[arg(
        long,
        value_name = "NAME",
        env = "PROVIDER_AZURE_RS_SNI_NAME",
        default_value = "",
        hide_default_value = true,
        value_parser = server_name
    )]
    pub sni_name: String,
    /// PEM certificates to trust for the token proxy and the API server, and no others; where it is not
    /// said, the pod's /var/run/secrets/kubernetes.io/serviceaccount/ca.crt if there is one, else the same
    /// as for Azure
    #[arg(
        long,
        value_name = "FILE",
        env = "PROVIDER_AZURE_RS_TOKEN_PROXY_CA_FILE",
        default_value = "",
        hide_default_value = true,
        value_parser = OsStringValueParser::new().map(PathBuf::from)
    )]
    pub token_proxy_ca_file: PathBuf,
    /// Address of the cluster's API server; where it is none (the kubelet may say a name), DNS is asked for
    /// kubernetes.default.svc.cluster.local
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "KUBERNETES_SERVICE_HOST",
        default_value = "",
        hide_default_value = true
    )]
    pub kubernetes_service_host: String,
    /// Port of the cluster's API server
    #[arg(
        long,
        value_name = "PORT",
        env = "KUBERNETES_SERVICE_PORT",
        default_value = "443",
        value_parser = service_port
    )]
    pub kubernetes_service_port: u16,
}

/// Flags of the values that are kept in memory.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Cache")]
pub struct CacheSettings {
    /// How old a value from memory may be that answers a remount, as each sync of the kubelet makes one; a first
    /// mount always asks the vault. 0s for none. What was revoked is served for as long
    #[arg(
        long,
        value_name = "DURATION",
        env = "PROVIDER_AZURE_RS_CACHE_TTL",
        default_value = "0s",
        value_parser = duration_or_none
    )]
    pub cache_ttl: Duration,
    /// The same for objects with an objectVersion, which never change; at most 1h, and --cache-ttl where it
    /// is not said
    #[arg(
        long,
        value_name = "DURATION",
        env = "PROVIDER_AZURE_RS_CACHE_VERSION_TTL",
        value_parser = duration_or_none
    )]
    pub cache_version_ttl: Option<Duration>,
    /// How old a value may be that is served while its vault is out of order (5xx, 429, no answer), to the
    /// same application or managed identity; 0s for none
    #[arg(
        long,
        value_name = "DURATION",
        env = "PROVIDER_AZURE_RS_STALE_IF_ERROR",
        default_value = "0s",
        value_parser = duration_or_none
    )]
    pub stale_if_error: Duration,
    /// Whether mounts of one identity share requests that are sent after all of them have asked; none gets an older
    /// value by it. Turn it off only to find out what is wrong
    #[arg(
        long,
        value_name = "BOOL",
        env = "PROVIDER_AZURE_RS_SHARED_READS",
        default_value = "true",
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set,
        value_parser = go_bool
    )]
    pub shared_reads: bool,
    /// Most bytes of all values that are kept
    #[arg(
        long,
        value_name = "BYTES",
        env = "PROVIDER_AZURE_RS_CACHE_MAX_BYTES",
        default_value_t = 16 * 1024 * 1024
    )]
    pub cache_max_bytes: usize,
    /// What the driver's flag of this name has; --cache-ttl must be below
    #[arg(
        long,
        value_name = "DURATION",
        env = "PROVIDER_AZURE_RS_ROTATION_POLL_INTERVAL",
        default_value = "2m",
        value_parser = duration
    )]
    pub rotation_poll_interval: Duration,
}

impl CacheSettings {
    /// What is kept and for how long; nothing where that is off.
    pub fn memory(self) -> Result<Option<MemorySettings>, MemorySettingsError> {
        MemorySettings::new(
            self.cache_ttl,
            self.cache_version_ttl,
            self.stale_if_error,
            self.cache_max_bytes,
            self.rotation_poll_interval,
        )
    }
}

impl IdentityBindingSettings {
    /// What the kubelet says of the API server.
    pub fn service_address(&self) -> ServiceAddress {
        ServiceAddress {
            host: self.kubernetes_service_host.clone(),
            port: self.kubernetes_service_port,
        }
    }

    /// What the token proxy needs of it.
    pub fn token_proxy(&self) -> TokenProxySettings {
        let ca_file = &self.token_proxy_ca_file;
        TokenProxySettings {
            url: self.token_proxy_url.clone(),
            server_name: Some(self.sni_name.clone()).filter(|name| !name.is_empty()),
            ca_file: Some(ca_file.clone()).filter(|path| !path.as_os_str().is_empty()),
            api_server_address: self.kubernetes_service_host.parse().ok(),
            api_server_port: self.kubernetes_service_port,
        }
    }
}

impl ProviderSettings {
    /// What the transport needs of it.
    pub fn transport(&self) -> TransportSettings {
        TransportSettings {
            ca_file: self.ca_file.clone(),
            max_connection_age: self.connection_max_age,
            imds_endpoint: self.imds_endpoint.clone(),
        }
    }

    /// The default cloud, and where others' endpoints may be read.
    pub fn environment_files(&self) -> Result<EnvironmentFiles, DefaultCloudError> {
        let default = match CloudChoice::new(&self.cloud_name, "")? {
            CloudChoice::Known(cloud) => cloud,
            CloudChoice::Default => Cloud::public(),
            CloudChoice::Stack { .. } => {
                let file = self
                    .cloud_env_file
                    .as_deref()
                    .ok_or(DefaultCloudError::NoFile)?;
                environment_files::read(file)?
            }
        };
        Ok(EnvironmentFiles {
            default,
            folders: self.cloud_env_dir.clone(),
            operators_file: self.cloud_env_file.clone(),
        })
    }
}

impl ValueEnum for HistoryCount {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Documented, Self::Go]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Documented => PossibleValue::new("documented")
                .help("N, as the Go provider's documentation promises"),
            Self::Go => PossibleValue::new("go").help("N + 1, as the Go provider does"),
        })
    }
}

/// Flags that decide which files a class gives: of whatever answers a mount, and of `validate`.
#[derive(Args, Clone, Copy, Debug)]
pub struct FileSettings {
    /// How many files objectVersionHistory: N gives
    #[arg(
        long,
        value_enum,
        value_name = "COUNT",
        env = "PROVIDER_AZURE_RS_OBJECT_VERSION_HISTORY",
        default_value = "documented",
        help_heading = "Files"
    )]
    pub object_version_history: HistoryCount,
    /// Put the certificates of a certificate's secret in order, from the leaf to the root
    #[arg(
        long,
        value_name = "BOOL",
        env = "PROVIDER_AZURE_RS_CONSTRUCT_PEM_CHAIN",
        default_value = "true",
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set,
        value_parser = go_bool,
        help_heading = "Files"
    )]
    pub construct_pem_chain: bool,
    /// Write a certificate and its key to NAME.crt and NAME.key too
    #[arg(
        long,
        value_name = "BOOL",
        env = "PROVIDER_AZURE_RS_WRITE_CERT_AND_KEY_IN_SEPARATE_FILES",
        default_value = "false",
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set,
        value_parser = go_bool,
        help_heading = "Files"
    )]
    pub write_cert_and_key_in_separate_files: bool,
}

impl FileSettings {
    /// What holds for every class.
    pub fn conventions(self) -> Conventions {
        Conventions {
            history: self.object_version_history,
            construct_pem_chain: self.construct_pem_chain,
            separate_files: self.write_cert_and_key_in_separate_files,
        }
    }
}

/// Why the operator's default cloud cannot be used.
#[derive(Debug, Error)]
pub enum DefaultCloudError {
    /// There is no such cloud.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// An Azure Stack without its endpoints.
    #[error("AzureStackCloud needs --cloud-env-file (or AZURE_ENVIRONMENT_FILEPATH)")]
    NoFile,
    /// An Azure Stack whose endpoints cannot be read.
    #[error(transparent)]
    File(#[from] EnvironmentFileError),
}
