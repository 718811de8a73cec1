//! Flags of what pods are told.

// The comments on flags are their help texts, which have no Markdown.
#![allow(clippy::doc_markdown)]

use std::path::PathBuf;

use clap::Args;

use super::values::pod_events;
use crate::cluster::{ClusterSettings, PodEventsChoice, ServiceAddress};
use crate::os::host_name::host_name;

/// Flags of what pods are told.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Events at pods")]
pub struct PodEventSettings {
    /// Whether events at a pod tell of its rotation: true, false, or auto, which is true where the process finds the token
    /// of a service account, or --kubeconfig is set
    #[arg(
        long,
        value_name = "WHETHER",
        env = "PROVIDER_AZURE_RS_POD_EVENTS",
        default_value = "auto",
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        value_parser = pod_events
    )]
    pod_events: PodEventsChoice,
    /// File with the API server's address and a login: a token, a tokenFile, or a client certificate and its key;
    /// in place of a pod's service account
    #[arg(long, value_name = "FILE", env = "PROVIDER_AZURE_RS_KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// Name of the node, which events name as their reporter; the host's name where it is not said
    #[arg(long, value_name = "NAME", env = "PROVIDER_AZURE_RS_NODE_NAME")]
    node_name: Option<String>,
}

impl PodEventSettings {
    /// The node's name; empty where nothing says it.
    pub fn node_name(&self) -> String {
        let name = self.node_name.clone().or_else(host_name);
        name.unwrap_or_default()
    }

    pub(super) fn cluster(&self, service: ServiceAddress) -> ClusterSettings {
        ClusterSettings {
            pod_events: self.pod_events,
            kubeconfig: self.kubeconfig.clone(),
            service,
        }
    }
}
