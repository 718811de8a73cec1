//! What the operator decides: flags, and an environment variable for each of them. The only reader of
//! either, but for the variables that libraries of the field read themselves: `SSL_CERT_FILE`,
//! `SSL_CERT_DIR`, `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.

// The comments on flags are their help texts, which have no Markdown.
#![allow(clippy::doc_markdown)]

mod cluster;
mod commands;
mod go_flags;
mod provider;
mod serve;
mod values;

use std::ffi::OsString;

use clap::builder::Resettable;
use clap::{Arg, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub use cluster::PodEventSettings;
pub use commands::{
    DoctorSettings, ExplainSettings, MountSettings, PingSettings, PodSettings, ValidateSettings,
};
pub use provider::{
    CacheSettings, DefaultCloudError, FileSettings, IdentityBindingSettings, ProviderSettings,
};
#[cfg(feature = "otlp")]
pub use serve::TraceSettings;
pub use serve::{
    EndpointSettings, HealthzSettings, LogSettings, PrometheusSettings, ServeSettings,
};

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
system's), HTTPS_PROXY and NO_PROXY (never used for IMDS, the API server and
the AKS token proxy).";

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

/// For whom the output of `validate` and `doctor` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputForm {
    /// For people
    Text,
    /// For machines
    Json,
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::cluster::PodEventsChoice;
    use crate::server::socket::AllowedUsers;

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
    fn pods_are_told_where_that_is_possible() {
        for (said, expected) in [
            (&[][..], PodEventsChoice::Auto),
            (&["--pod-events=AUTO"], PodEventsChoice::Auto),
            (&["--pod-events"], PodEventsChoice::On),
            (&["--pod-events=1"], PodEventsChoice::On),
            (&["--pod-events=false"], PodEventsChoice::Off),
        ] {
            let settings = parse(said).unwrap().serve.cluster();
            assert_eq!(settings.pod_events, expected, "{said:?}");
        }
        let said = [
            "--kubeconfig=/k",
            "--node-name=n1",
            "--kubernetes-service-host=fd00::1",
        ];
        let serve = parse(&said).unwrap().serve;
        assert_eq!(serve.pod_events.node_name(), "n1");
        assert_eq!(serve.cluster().kubeconfig, Some(PathBuf::from("/k")));
        assert_eq!(serve.cluster().service.host, "fd00::1");
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
            ["--kubernetes-service-port=1", "--pod-events=never"],
        ] {
            assert!(parse(&arguments).is_err(), "{arguments:?}");
        }
        assert!(parse(&["mount", "c.yaml"]).is_err());
        assert!(parse(&["mount", "c.yaml", "--target", "d", "--permission", "0888"]).is_err());
    }
}
