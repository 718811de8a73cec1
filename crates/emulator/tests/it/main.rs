//! The emulator, asked over the wire by a plain HTTP client: one module per service.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod support;

mod access;
mod binary;
mod control;
mod entra;
mod faults;
mod front;
mod imds;
mod objects;
mod recorded;
mod token_proxy;
