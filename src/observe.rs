//! What is seen of the provider: [`metrics`], logs ([`telemetry`]), spans ([`traces`]), where a mount's time goes
//! ([`phases`]), the HTTP [`port`]s, and [`warnings`] that would be too many.

pub mod metrics;
pub mod phases;
pub mod port;
pub mod telemetry;
pub mod traces;
pub mod warnings;
