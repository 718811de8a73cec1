//! The provider from outside: the real binary on a real socket, asked by a real gRPC client, against the
//! Azure emulator over TLS. Nothing of the provider's inside can be reached from here.

// A test may fail by panicking; that is what it is for.
#![allow(clippy::unwrap_used)]

mod bad_input;
mod driver_contract;
mod faults;
mod identities;
mod identity_binding;
mod lifecycle;
mod mount_command;
mod secrecy;
mod secrets;
mod support;
