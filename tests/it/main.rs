//! The provider from outside: the real binary on a real socket, asked by a real gRPC client, against the
//! Azure emulator over TLS. Nothing of the provider's inside can be reached from here.

// A test may fail by panicking; that is what it is for.
#![allow(clippy::unwrap_used)]
// A table of cases is as long as there are cases.
#![allow(clippy::too_many_lines)]

mod authority;
mod azure_answers;
mod bad_input;
mod budget;
mod cache;
mod clouds;
mod doctor;
mod driver_contract;
mod explain;
mod faults;
mod identities;
mod identity_binding;
mod kept;
mod lifecycle;
mod limits;
mod logs;
mod metrics;
mod mount_command;
mod objects;
mod outage;
mod pod_events;
mod policy;
mod ports;
mod processors;
mod rejections;
mod replay;
mod secrecy;
mod secrets;
mod sharing;
mod socket;
mod support;
#[cfg(feature = "otlp")]
mod traces;
mod validate;
