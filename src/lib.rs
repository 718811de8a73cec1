//! The Azure Key Vault provider for the Kubernetes Secrets Store CSI Driver.
//!
//! The driver calls `Mount` over a Unix socket; the provider answers with the files that a
//! SecretProviderClass asks for, fetched from Azure Key Vault as the pod's or the node's own identity.
//!
//! A mount is a straight line, each step the input of the next: [`server`] (socket, call, service) → [`class`] (what is
//! asked for, up to the plan, judged by a [`policy`], where there is one) → [`mount`] (with tokens and vaults of
//! [`azure`], over [`transport`], and the bytes of [`rendering`]) → the answer. What goes wrong anywhere on it is
//! explained by [`explain`].
//!
//! Public is what a program needs to run it ([`settings`], [`commands`]), the contract on the socket
//! ([`generated`]), and what the documentation is made of ([`property`]); tests see no more than that.

// The map above is for those who read the source, and `make lint` documents private modules too.
#![allow(rustdoc::private_intra_doc_links)]

mod azure;
mod class;
mod cluster;
pub mod commands;
mod explain;
#[cfg(any(test, feature = "fuzzing"))]
pub mod foreign_bytes;
pub mod generated;
mod mount;
mod observe;
mod os;
mod policy;
mod rendering;
mod server;
pub mod settings;
mod shares;
mod text;
mod transport;

pub use class::property;
