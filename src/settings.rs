//! What the operator decides: flags, and an environment variable for each of them. The only reader of
//! either, but for the variables that libraries of the field read themselves: `SSL_CERT_FILE`,
//! `SSL_CERT_DIR`, `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.

// The comments on flags are their help texts, which have no Markdown.
#![allow(clippy::doc_markdown)]

mod go_flags;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::Resettable;
use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Arg, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use thiserror::Error;
use url::Url;

use crate::cloud::environment_file::{self, EnvironmentFileError, EnvironmentFiles};
use crate::cloud::{Cloud, CloudChoice, CloudError};
use crate::credential::token_proxy::TokenProxySettings;
use crate::file_mode::FileMode;
use crate::metrics::MetricsSettings;
use crate::parameters;
use crate::plan::{Conventions, HistoryCount};
use crate::socket::AllowedUsers;
use crate::transport::TransportSettings;
use crate::vault::memory::MemorySettings;
use crate::vault::values::{ValueSettings, ValueSettingsError};

/// Azure Key Vault provider for the Kubernetes Secrets Store CSI Driver.
///
/// Without a command it serves.
#[derive(Debug, Parser)]
#[command(version, args_override_self = true, args_conflicts_with_subcommands = true, after_help = LIBRARIES)]
pub struct Settings {
    /// What to do; `serve` where nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The flags of `serve`, without its name.
    #[command(flatten)]
    pub serve: ServeSettings,
    /// Flags of the Go provider that were given and mean nothing here.
    #[arg(skip)]
    pub ignored: Vec<String>,
}

impl Settings {
    /// Reads a command line, ours or the Go provider's. Prints what is wrong with it, or the help that it
    /// asks for, and ends the process.
    pub fn from_command_line(arguments: impl IntoIterator<Item = OsString>) -> Self {
        let adapted = go_flags::adapt(arguments);
        let matches = without_empty_variables(Self::command()).get_matches_from(adapted.arguments);
        // What the definition of the flags cannot produce, it cannot match either.
        let settings = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        Self {
            ignored: adapted.ignored,
            ..settings
        }
    }
}

const LIBRARIES: &str = "\
Also read from the environment: SSL_CERT_FILE and SSL_CERT_DIR (trusted certificates, instead of the
system's), HTTPS_PROXY and NO_PROXY (never used for IMDS and the AKS token proxy).";

/// The command, for which a variable that is empty counts as one that is not set: templates write
/// `value: ""` where nothing is meant.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let drop_if_empty = |flag: Arg| {
        let empty = flag
            .get_env()
            .is_some_and(|name| std::env::var_os(name).is_some_and(|v| v.is_empty()));
        if empty {
            flag.env(Resettable::Reset)
        } else {
            flag
        }
    };
    command
        .mut_args(drop_if_empty)
        .mut_subcommands(without_empty_variables)
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answer the driver on a Unix socket until SIGTERM
    #[command(after_help = LIBRARIES)]
    Serve(ServeSettings),
    /// Mount a SecretProviderClass into a folder, as the driver and the kubelet do
    #[command(after_help = LIBRARIES)]
    Mount(MountSettings),
    /// Find out why a SecretProviderClass does not mount, step by step
    #[command(after_help = LIBRARIES)]
    Doctor(DoctorSettings),
    /// Check SecretProviderClass manifests without a cluster and without Azure
    Validate(ValidateSettings),
    /// Say what a reason code means and what to do
    Explain(ExplainSettings),
    /// Call a provider by its socket, as the driver does, and say which version answers
    Ping(PingSettings),
}

/// Flags of `serve`.
#[derive(Args, Clone, Debug)]
pub struct ServeSettings {
    /// Where the driver calls.
    #[command(flatten)]
    pub endpoint: EndpointSettings,
    /// User that may call besides the provider's own, by number; may be given several times. Where it is any
    /// other than root, the socket's mode is 0666, and each caller is asked who it is
    #[arg(
        long,
        value_name = "UID",
        env = "PROVIDER_AZURE_RS_ALLOWED_UID",
        default_value = "0",
        value_delimiter = ','
    )]
    allowed_uid: Vec<u32>,
    /// Most time that mounts under way get to end after SIGTERM, such as 20s
    #[arg(
        long,
        value_name = "DURATION",
        env = "PROVIDER_AZURE_RS_DRAIN_TIMEOUT",
        default_value = "20s",
        value_parser = duration
    )]
    pub drain_timeout: Duration,
    /// Keep all memory out of swap, or do not start; needs the capability IPC_LOCK
    #[arg(
        long,
        value_name = "BOOL",
        env = "PROVIDER_AZURE_RS_LOCK_MEMORY",
        default_value = "false",
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set,
        value_parser = go_bool
    )]
    pub lock_memory: bool,
    /// What every provider decides.
    #[command(flatten)]
    pub provider: ProviderSettings,
    /// The health check over HTTP.
    #[command(flatten)]
    pub healthz: HealthzSettings,
    /// The metrics.
    #[command(flatten)]
    pub prometheus: PrometheusSettings,
    /// Logs.
    #[command(flatten)]
    pub logs: LogSettings,
}

impl ServeSettings {
    /// Who may call.
    pub fn allowed_users(&self) -> AllowedUsers {
        AllowedUsers::new(self.allowed_uid.clone())
    }
}

/// Flags that say which socket a provider has: of `serve`, and of who calls it.
#[derive(Args, Clone, Debug)]
pub struct EndpointSettings {
    /// Socket that the driver calls; where it is not said, the provider's name in
    /// /var/run/secrets-store-csi-providers
    #[arg(long, value_name = "unix:///PATH", env = "PROVIDER_AZURE_RS_ENDPOINT", value_parser = socket_path)]
    endpoint: Option<PathBuf>,
    /// Name that classes have under spec.provider; azure takes over the Go provider's classes
    #[arg(
        long,
        value_name = "NAME",
        env = "PROVIDER_AZURE_RS_PROVIDER_NAME",
        default_value = "azure-rs",
        value_parser = provider_name
    )]
    provider_name: String,
}

impl EndpointSettings {
    /// The socket's path.
    pub fn socket(&self) -> PathBuf {
        self.endpoint.clone().unwrap_or_else(|| {
            PathBuf::from(format!("{PROVIDERS_FOLDER}/{}.sock", self.provider_name))
        })
    }
}

/// Where the driver looks for providers, by default.
const PROVIDERS_FOLDER: &str = "/var/run/secrets-store-csi-providers";

/// Flags of the health checks that the kubelet's probes ask over HTTP.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Health")]
pub struct HealthzSettings {
    /// Port of the health check, and of /livez and /readyz; 0 for none
    #[arg(
        long,
        value_name = "PORT",
        env = "PROVIDER_AZURE_RS_HEALTHZ_PORT",
        default_value_t = 8989
    )]
    pub healthz_port: u16,
    /// Path of the health check
    #[arg(
        long,
        value_name = "PATH",
        env = "PROVIDER_AZURE_RS_HEALTHZ_PATH",
        default_value = "/healthz",
        value_parser = url_path
    )]
    pub healthz_path: String,
    /// Most time that the socket may take to answer a health check
    #[arg(
        long,
        value_name = "DURATION",
        env = "PROVIDER_AZURE_RS_HEALTHZ_TIMEOUT",
        default_value = "5s",
        value_parser = duration
    )]
    pub healthz_timeout: Duration,
}

/// Flags of the metrics.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Metrics")]
pub struct PrometheusSettings {
    /// Port of the metrics for Prometheus, at /metrics; 0 for none
    #[arg(
        long,
        value_name = "PORT",
        env = "PROVIDER_AZURE_RS_PROMETHEUS_PORT",
        default_value_t = 8898
    )]
    pub prometheus_port: u16,
    /// Most classes that have metrics of their own, with their namespaces and names as labels; 0 for none
    #[arg(
        long,
        value_name = "NUMBER",
        env = "PROVIDER_AZURE_RS_MAX_CLASS_METRICS",
        default_value = "500",
        value_parser = class_count
    )]
    pub max_class_metrics: usize,
    /// Serve the Go provider's metrics too: keyvault_request and grpc_request, without the names of objects and
    /// the text of errors
    #[arg(
        long,
        value_name = "BOOL",
        env = "PROVIDER_AZURE_RS_COMPAT_METRICS",
        default_value = "false",
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set,
        value_parser = go_bool
    )]
    pub compat_metrics: bool,
}

impl PrometheusSettings {
    /// What the metrics need of it.
    pub fn metrics(&self) -> MetricsSettings {
        MetricsSettings {
            max_classes: self.max_class_metrics,
            compat: self.compat_metrics,
        }
    }
}

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
    /// Cloud of classes without cloudName: AzurePublicCloud, AzureUSGovernmentCloud, AzureChinaCloud or
    /// AzureStackCloud
    #[arg(
        long,
        value_name = "NAME",
        env = "PROVIDER_AZURE_RS_CLOUD_NAME",
        default_value = "AzurePublicCloud",
        help_heading = "Clouds"
    )]
    pub cloud_name: String,
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
    /// PEM certificates to trust besides the system's
    #[arg(long, value_name = "FILE", env = "PROVIDER_AZURE_RS_CA_FILE")]
    pub ca_file: Option<PathBuf>,
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
    /// How long a value is kept in memory and serves other mounts of the same identity; 0s for not at all.
    /// What was revoked is served for as long
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
    /// What is kept for outages; nothing where that is off.
    pub fn memory(self) -> Option<MemorySettings> {
        (!self.stale_if_error.is_zero()).then_some(MemorySettings {
            max_age: self.stale_if_error,
            max_bytes: self.cache_max_bytes,
        })
    }

    /// What is kept and for how long; nothing where it is off.
    pub fn values(self) -> Result<Option<ValueSettings>, ValueSettingsError> {
        ValueSettings::new(
            self.cache_ttl,
            self.cache_version_ttl,
            self.cache_max_bytes,
            self.rotation_poll_interval,
        )
    }
}

/// The API server, which AKS has the token proxy behind.
const TOKEN_PROXY: &str = "https://kubernetes.default.svc.cluster.local";

impl IdentityBindingSettings {
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
                environment_file::read(file)?
            }
        };
        Ok(EnvironmentFiles {
            default,
            folders: self.cloud_env_dir.clone(),
            operators_file: self.cloud_env_file.clone(),
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

/// Flags of logs.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logs")]
pub struct LogSettings {
    /// Least level that is logged: error, warn, info, debug or trace
    #[arg(
        long,
        value_name = "LEVEL",
        env = "PROVIDER_AZURE_RS_LOG_LEVEL",
        default_value_t = tracing::Level::INFO
    )]
    pub log_level: tracing::Level,
    /// Log lines of JSON instead of text
    #[arg(
        long,
        value_name = "BOOL",
        env = "PROVIDER_AZURE_RS_LOG_FORMAT_JSON",
        default_value = "false",
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set,
        value_parser = go_bool
    )]
    pub log_format_json: bool,
}

/// Flags of `mount`.
#[derive(Args, Clone, Debug)]
pub struct MountSettings {
    /// Manifest with a SecretProviderClass
    #[arg(value_name = "CLASS.yaml")]
    pub class: PathBuf,
    /// Folder to write to; made where there is none
    #[arg(long, value_name = "DIR")]
    pub target: PathBuf,
    /// Which class, where the manifest has several
    #[arg(long, value_name = "NAME")]
    pub class_name: Option<String>,
    /// Socket of a running provider; without it one is started inside this process
    #[arg(long, value_name = "unix:///PATH", value_parser = socket_path)]
    pub endpoint: Option<PathBuf>,
    /// Mode of files that have none of their own, in octal
    #[arg(long, value_name = "MODE", default_value = "0644", value_parser = file_mode)]
    pub permission: FileMode,
    /// What the kubelet would say about the pod.
    #[command(flatten)]
    pub pod: PodSettings,
    /// What every provider decides.
    #[command(flatten)]
    pub provider: ProviderSettings,
    /// Least level that is logged: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value_t = tracing::Level::WARN, help_heading = "Logs")]
    pub log_level: tracing::Level,
}

/// Flags of `doctor`.
#[derive(Args, Clone, Debug)]
pub struct DoctorSettings {
    /// Manifest with a SecretProviderClass, or - for standard input
    #[arg(value_name = "CLASS.yaml")]
    pub class: PathBuf,
    /// Which class, where the manifest has several
    #[arg(long, value_name = "NAME")]
    pub class_name: Option<String>,
    /// Form of the output
    #[arg(short, long, value_enum, value_name = "FORM", default_value = "text")]
    pub output: OutputForm,
    /// No colours, also on a terminal; the variable has any value (no-color.org)
    #[arg(
        long,
        value_name = "ANY",
        env = "NO_COLOR",
        hide_env_values = true,
        default_missing_value = "1",
        num_args = 0..=1,
        require_equals = true
    )]
    pub no_color: Option<String>,
    /// What the kubelet would say about the pod.
    #[command(flatten)]
    pub pod: PodSettings,
    /// What every provider decides.
    #[command(flatten)]
    pub provider: ProviderSettings,
    /// Least level that is logged: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value_t = tracing::Level::ERROR, help_heading = "Logs")]
    pub log_level: tracing::Level,
}

/// Flags that stand for the pod that a class is mounted for.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Pod")]
pub struct PodSettings {
    /// Name of the pod
    #[arg(long, value_name = "NAME", default_value = "local")]
    pub pod_name: String,
    /// Namespace of the pod; where it is not said, the manifest's, else default
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Service account of the pod
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub service_account: String,
    /// File with the pod's token for audience api://AzureADTokenExchange (workload identity) or
    /// api://AKSIdentityBinding (identity binding), as made by kubectl create token
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Folder whose files are the data of the pod's nodePublishSecretRef (service principal): clientid and
    /// clientsecret
    #[arg(long, value_name = "DIR")]
    pub node_publish_secret: Option<PathBuf>,
}

/// Flags of `explain`.
#[derive(Args, Clone, Debug)]
pub struct ExplainSettings {
    /// Reason codes, such as KV_THROTTLED; all of them where none is named
    #[arg(value_name = "CODE")]
    pub codes: Vec<String>,
    /// Print the page of the documentation
    #[arg(long, hide = true, conflicts_with = "codes")]
    pub page: bool,
}

/// Flags of `ping`.
#[derive(Args, Clone, Debug)]
pub struct PingSettings {
    /// Whom to call.
    #[command(flatten)]
    pub endpoint: EndpointSettings,
}

/// Flags of `validate`.
#[derive(Args, Clone, Debug)]
pub struct ValidateSettings {
    /// Manifests, folders of manifests (*.yaml, *.yml and *.json in them and below), or - for standard
    /// input
    #[arg(value_name = "FILE", required_unless_present = "print_schema")]
    pub paths: Vec<PathBuf>,
    /// Form of the output
    #[arg(short, long, value_enum, value_name = "FORM", default_value = "text")]
    pub output: OutputForm,
    /// Fail for warnings too
    #[arg(long)]
    pub strict: bool,
    /// Take classes without an identity as those of pods with a nodePublishSecretRef
    #[arg(long)]
    pub service_principal: bool,
    /// Print the JSON Schema of this provider's classes, and check nothing
    #[arg(long)]
    pub print_schema: bool,
    /// Mode that the driver gives to files that have none of their own, in octal
    #[arg(long, value_name = "MODE", default_value = "0644", value_parser = file_mode, help_heading = "Files")]
    pub default_permission: FileMode,
    /// Which files there are.
    #[command(flatten)]
    pub files: FileSettings,
}

/// For whom the output of `validate` and `doctor` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputForm {
    /// For people
    Text,
    /// For machines
    Json,
}

/// `unix:///path`, as the Go provider's flag has it, or a path.
fn socket_path(text: &str) -> Result<PathBuf, String> {
    let path = match text.split_once("://") {
        Some(("unix", path)) => path,
        Some((scheme, _)) => return Err(format!("expected unix:///PATH, found scheme {scheme}")),
        None => text.strip_prefix("unix:").unwrap_or(text),
    };
    if path.is_empty() || path.ends_with('/') {
        return Err("expected unix:///PATH to a socket".to_owned());
    }
    Ok(PathBuf::from(path))
}

fn request_count(text: &str) -> Result<usize, String> {
    let count = text
        .parse()
        .ok()
        .filter(|count| (1..=10_000).contains(count));
    count.ok_or_else(|| "expected a number from 1 to 10000".to_owned())
}

fn class_count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| *count <= 10_000);
    count.ok_or_else(|| "expected a number from 0 to 10000".to_owned())
}

fn go_bool(text: &str) -> Result<bool, String> {
    parameters::go_bool(text).ok_or_else(|| "expected true or false".to_owned())
}

fn url_path(text: &str) -> Result<String, String> {
    let plain = text.starts_with('/')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte));
    if plain {
        Ok(text.to_owned())
    } else {
        Err("expected a path such as /healthz".to_owned())
    }
}

/// A name that the driver accepts.
///
/// Source: the driver's `pkg/secrets-store/provider_client.go`, `^[a-zA-Z0-9_-]{0,30}$`.
fn provider_name(text: &str) -> Result<String, String> {
    let fits = (1..=30).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if fits {
        Ok(text.to_owned())
    } else {
        Err("expected 1 to 30 letters, digits, hyphens and underscores".to_owned())
    }
}

fn duration_or_none(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("expected a duration such as 20s or 1m30s: {error}"))
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = duration_or_none(text)?;
    if duration.is_zero() {
        Err("expected more than nothing".to_owned())
    } else {
        Ok(duration)
    }
}

fn http_url(text: &str) -> Result<Url, String> {
    Url::parse(text)
        .ok()
        .filter(|url| url.scheme() == "http" && url.has_host())
        .ok_or_else(|| "expected a URL such as http://127.0.0.1:8080".to_owned())
}

/// A URL that requests can be put below, as the Azure SDK for Go has it.
fn token_proxy_url(text: &str) -> Result<Url, String> {
    let text = if text.is_empty() { TOKEN_PROXY } else { text };
    Url::parse(text)
        .ok()
        .filter(|url| {
            url.scheme() == "https"
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
        })
        .ok_or_else(|| {
            format!("expected an https URL such as {TOKEN_PROXY}, without user, query and fragment")
        })
}

/// A name that can stand in DNS, or nothing.
fn server_name(text: &str) -> Result<String, String> {
    let name = text.to_ascii_lowercase();
    let fits = Url::parse(&format!("https://{name}")).is_ok_and(|url| url.domain() == Some(&name))
        && rustls::pki_types::DnsName::try_from(name.as_str()).is_ok();
    if fits || text.is_empty() {
        Ok(name)
    } else {
        Err("expected a name such as a….ests.aks".to_owned())
    }
}

fn service_port(text: &str) -> Result<u16, String> {
    match text.parse() {
        _ if text.is_empty() => Ok(443),
        Ok(port) if port > 0 => Ok(port),
        _ => Err("expected a port such as 443".to_owned()),
    }
}

fn file_mode(text: &str) -> Result<FileMode, String> {
    FileMode::from_octal(text).ok_or_else(|| "expected octal digits from 0000 to 0777".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Settings, clap::Error> {
        Settings::try_parse_from(["provider-azure-rs"].iter().chain(arguments))
    }

    #[test]
    fn serving_is_the_default() {
        let settings = parse(&["--endpoint", "unix:///tmp/a.sock", "--mount-timeout=90s"]).unwrap();
        assert!(settings.command.is_none());
        assert_eq!(
            settings.serve.endpoint.socket(),
            PathBuf::from("/tmp/a.sock")
        );
        let named = parse(&["--provider-name", "azure"])
            .unwrap()
            .serve
            .endpoint
            .socket();
        assert_eq!(
            named,
            PathBuf::from("/var/run/secrets-store-csi-providers/azure.sock")
        );
        assert_eq!(
            settings.serve.provider.mount_timeout,
            Duration::from_secs(90)
        );
        assert_eq!(settings.serve.allowed_users(), AllowedUsers::default());
        let named = parse(&["--allowed-uid=1000,0", "--allowed-uid=2000"]).unwrap();
        let expected = AllowedUsers::new(vec![1000, 0, 2000]);
        assert_eq!(named.serve.allowed_users(), expected);
        let Some(Command::Serve(serve)) = parse(&["serve", "--log-format-json"]).unwrap().command
        else {
            panic!("serve is a command");
        };
        assert!(serve.logs.log_format_json);
    }

    #[test]
    fn identity_bindings_have_the_defaults_of_every_cluster() {
        let said = |arguments: &[&str]| {
            let settings = parse(arguments).unwrap();
            settings.serve.provider.identity_binding.token_proxy()
        };
        let empty = [
            "--token-proxy-url=",
            "--sni-name=",
            "--token-proxy-ca-file=",
            "--kubernetes-service-host=",
            "--kubernetes-service-port=",
        ];
        for arguments in [&[][..], &empty, &["--kubernetes-service-host=a.example"]] {
            let settings = said(arguments);
            assert_eq!(
                settings.url.as_str(),
                "https://kubernetes.default.svc.cluster.local/"
            );
            assert_eq!((settings.server_name, settings.ca_file), (None, None));
            // A test may itself run in a cluster.
            if !arguments.is_empty() {
                assert_eq!(settings.api_server_address, None);
            }
        }
        let settings = said(&[
            "--token-proxy-url=https://proxy:8443/below",
            "--sni-name=A.ests.aks",
            "--token-proxy-ca-file=/ca.crt",
            "--kubernetes-service-host=fd00::1",
            "--kubernetes-service-port=6443",
        ]);
        assert_eq!(settings.url.as_str(), "https://proxy:8443/below");
        assert_eq!(settings.server_name.as_deref(), Some("a.ests.aks"));
        assert_eq!(settings.ca_file, Some(PathBuf::from("/ca.crt")));
        let address = "fd00::1".parse().unwrap();
        assert_eq!(settings.api_server_address, Some(address));
        assert_eq!(settings.api_server_port, 6443);
    }

    #[test]
    fn a_flag_that_cannot_be_is_refused() {
        for arguments in [
            ["--endpoint", "tcp://127.0.0.1:80"],
            ["--endpoint", "unix:///"],
            ["--mount-timeout", "60"],
            ["--mount-timeout", "0s"],
            ["--imds-endpoint", "https://imds"],
            ["--log-level", "loud"],
            ["--provider-name", "a/b"],
            ["--allowed-uid", "root"],
            ["--allowed-uid", "-1"],
            ["--healthz-port", "70000"],
            ["--healthz-path", "healthz"],
            ["--prometheus-port", "many"],
            ["--max-class-metrics", "-1"],
            ["--max-class-metrics", "1000000"],
            ["--token-proxy-url", "http://proxy"],
            ["--token-proxy-url", "https://user@proxy"],
            ["--token-proxy-url", "https://proxy/?query"],
            ["--token-proxy-url", "proxy:443"],
            ["--sni-name", "a b"],
            ["--sni-name", "a/b"],
            ["--sni-name", "10.0.0.1"],
            ["--kubernetes-service-port", "0"],
        ] {
            assert!(parse(&arguments).is_err(), "{arguments:?}");
        }
        assert!(parse(&["mount", "c.yaml"]).is_err());
        assert!(parse(&["mount", "c.yaml", "--target", "d", "--permission", "0888"]).is_err());
    }
}
