//! [`Failure`], why the demo ends with another status than 0.

use std::io;

use thiserror::Error;

pub type Result<T = ()> = std::result::Result<T, Failure>;

#[derive(Debug, Error)]
pub enum Failure {
    /// Something that the demo claims did not happen.
    #[error("{claim}\n  expected: {expected}\n  found:    {found}")]
    Unmet {
        claim: String,
        expected: String,
        found: String,
    },
    #[error("no provider at {0}; `make demo` builds it, --provider names another")]
    NoProvider(String),
    /// The provider ended, or does not listen.
    #[error("the provider {0}; its log is above")]
    Provider(String),
    #[error("the emulator does not start: {0}")]
    Emulator(#[from] azure_emulator::StartError),
    /// This machine does not do what the demo needs.
    #[error("cannot {0}: {1}")]
    Machine(String, io::Error),
}

/// Makes a [`Failure::Machine`] of what the system says about an action, such as "read the file".
pub fn cannot(action: impl Into<String>) -> impl FnOnce(io::Error) -> Failure {
    move |source| Failure::Machine(action.into(), source)
}
