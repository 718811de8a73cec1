//! [`Failure`], why the demo ends with another status than 0.

use std::io;

use thiserror::Error;

use crate::signals::Signal;

/// Why the demo ends before its end.
#[derive(Debug, Error)]
pub enum Failure {
    /// Something that the demo claims did not happen.
    #[error("{claim}\n  expected: {expected}\n  found:    {found}")]
    Unmet {
        /// What should have happened.
        claim: String,
        /// What it would have looked like.
        expected: String,
        /// What it looks like.
        found: String,
    },
    /// There is no provider to show.
    #[error("no provider at {path}; `make demo` builds it, --provider names another")]
    NoProvider {
        /// Where it was looked for.
        path: String,
    },
    /// The provider ended, or does not listen.
    #[error("the provider {what}; its log is above")]
    Provider {
        /// What it did.
        what: String,
    },
    /// There is no emulated Azure.
    #[error("the emulator does not start: {0}")]
    Emulator(#[from] azure_emulator::StartError),
    /// The emulated vault has not what the demo put there.
    #[error("the emulated vault: {0}")]
    Vault(#[from] azure_emulator::VaultError),
    /// This machine does not do what the demo needs.
    #[error("cannot {action}: {source}")]
    Machine {
        /// What was to be done.
        action: String,
        /// Why it cannot.
        source: io::Error,
    },
    /// A signal asked for the end.
    #[error("interrupted")]
    Interrupted(Signal),
}

/// Makes a [`Failure::Machine`] of what the system says about an action, such as "read the file".
pub fn cannot(action: impl Into<String>) -> impl FnOnce(io::Error) -> Failure {
    let action = action.into();
    move |source| Failure::Machine { action, source }
}
