//! What is seen of the provider: [`metrics`], logs ([`telemetry`]), spans ([`traces`]), where a mount's time goes
//! ([`phases`]), and the HTTP [`port`]s.

pub mod metrics;
pub mod phases;
pub mod port;
pub mod telemetry;
pub mod traces;
