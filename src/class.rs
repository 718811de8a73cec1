//! What is asked for: from the driver's [`request`] by the class's [`parameters`] to a [`plan`] of what is fetched as
//! whom. Pure: no async, no network, no clock, no files, no environment.

pub mod asked;
pub mod assertion;
pub mod cloud;
pub mod file_mode;
pub mod identity;
pub mod object;
pub mod parameters;
pub mod plan;
pub mod problems;
pub mod property;
pub mod request;
pub mod service_account_tokens;
