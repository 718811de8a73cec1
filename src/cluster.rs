//! What goes to and comes from the Kubernetes API server: what the driver says of a volume ([`pod_status`]), and what
//! pods are told ([`PodEvents`]).
//!
//! Nothing here is part of a mount: an API server that is slow or absent delays none. What it says can make a node ask a
//! vault again or less, and never gives anybody a value.
//!
//! It is asked over the [transport](crate::transport) of the process, since kube-client would add more to the program and
//! its memory than all this does (docs/decisions/0034).

mod api_server;
mod event;
mod events;
mod kubeconfig;
mod note;
mod pod_status;
mod queue;
mod rights;
mod source;
#[cfg(test)]
#[path = "../tests/it/support/api_server.rs"]
mod test_server;

pub use api_server::{
    ApiServer, ClusterSettings, ClusterSetupError, PodEventsChoice, ServiceAddress,
};
pub use event::{EventReason, PodEvent, PodName};
pub use events::PodEvents;
pub use note::Note;
pub use rights::Right;
#[cfg(any(test, feature = "fuzzing"))]
pub use {kubeconfig::Kubeconfig, pod_status::PodStatus};
