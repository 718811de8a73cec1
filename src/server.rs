//! How the driver is answered: its calls on the [`socket`], what every one of them goes through ([`calls`]), the
//! driver's [`service`], a mount's line in the log ([`journal`]), and the kubelet's probes ([`healthz`]).

pub mod calls;
pub mod classes;
pub mod environment_files;
pub mod healthz;
pub mod journal;
mod planning;
pub mod policy_file;
pub mod rotations;
pub mod service;
pub mod socket;
pub mod volumes;
