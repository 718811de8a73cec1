//! The Azure Key Vault provider for the Kubernetes Secrets Store CSI Driver.
//!
//! The driver calls `Mount` over a Unix socket; the provider answers with the files that a
//! SecretProviderClass asks for, fetched from Azure Key Vault as the pod's or the node's own identity.
//!
//! A mount is a straight line through these modules, each the input of the next:
//! [`socket`] → [`service`] → [`request`] → [`parameters`] (with [`object`], [`identity`], [`cloud`]) →
//! [`plan`] (judged by a [`policy`], where there is one) → [`mount`] (with [`credential`] and [`vault`], both paced by a [`limiter`] and over
//! [`transport`]) → the answer. What
//! goes wrong anywhere on it is explained by [`status`].
//!
//! Public is what a program needs to run it ([`settings`], [`commands`]) and the contract on the socket
//! ([`generated`]); tests see no more than that.

// The map above is for those who read the source, and `make lint` documents private modules too.
#![allow(rustdoc::private_intra_doc_links)]

mod asked;
mod assertion;
mod cache;
mod calls;
mod cloud;
mod codec;
pub mod commands;
mod core_dumps;
mod credential;
mod excerpt;
mod file_mode;
#[cfg(any(test, feature = "fuzzing"))]
pub mod foreign_bytes;
pub mod generated;
mod healthz;
mod identity;
mod journal;
mod json;
mod limiter;
mod lock;
mod memory_lock;
mod metrics;
mod mount;
mod object;
mod open_files;
mod parameters;
mod phases;
mod plan;
mod policy;
mod port;
mod private_folder;
mod problems;
mod rendering;
mod request;
mod retry;
mod sensitive;
mod service;
mod service_account_tokens;
pub mod settings;
mod socket;
mod status;
mod telemetry;
mod traces;
mod transport;
mod vault;
