//! The emulator, asked over the wire by a plain HTTP client: one module per service.

mod support;

mod access;
mod entra;
mod faults;
mod front;
mod imds;
mod objects;
