//! Flags of the commands that people run: `mount`, `doctor`, `validate`, `explain` and `ping`.

// The comments on flags are their help texts, which have no Markdown.
#![allow(clippy::doc_markdown)]

use std::path::PathBuf;

use clap::Args;

use super::values::{file_mode, socket_path};
use super::{EndpointSettings, FileSettings, OutputForm, PodEventSettings, ProviderSettings};
use crate::class::file_mode::FileMode;
use crate::cluster::ClusterSettings;

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
    /// Port of the metrics of the provider that serves here, to see what it has done for the class; 0 for none
    #[arg(
        long,
        value_name = "PORT",
        env = "PROVIDER_AZURE_RS_PROMETHEUS_PORT",
        default_value_t = 8898
    )]
    pub prometheus_port: u16,
    /// What the kubelet would say about the pod.
    #[command(flatten)]
    pub pod: PodSettings,
    /// What every provider decides.
    #[command(flatten)]
    pub provider: ProviderSettings,
    /// What pods are told.
    #[command(flatten)]
    pub pod_events: PodEventSettings,
    /// Least level that is logged: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value_t = tracing::Level::ERROR, help_heading = "Logs")]
    pub log_level: tracing::Level,
}

impl DoctorSettings {
    /// Which API server is asked.
    pub fn cluster(&self) -> ClusterSettings {
        let identity_binding = &self.provider.identity_binding;
        self.pod_events.cluster(identity_binding.service_address())
    }
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
    /// Fail if a provider in another container answers: during an update two pods share the socket's path
    #[arg(long)]
    pub same_pod: bool,
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
