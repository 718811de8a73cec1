//! [`Failure`], why the bench ends with another status than 0.

use std::io;

use hyper::StatusCode;
use thiserror::Error;

/// Why there are no figures, or no good ones.
#[derive(Debug, Error)]
pub enum Failure {
    /// Figures are there, and these goals are missed.
    #[error("missed:\n  {}", .0.join("\n  "))]
    Missed(Vec<String>),
    /// These attacks have succeeded.
    #[error("succeeded:\n  {}", .0.join("\n  "))]
    Attacked(Vec<&'static str>),
    /// There are none: what is not there, and where a list is.
    #[error("no {0}")]
    Nothing(&'static str),
    /// The provider does not listen.
    #[error("the provider {what}; it logs:\n{log}")]
    Provider {
        /// What it did.
        what: String,
        /// Its standard error.
        log: String,
    },
    /// The provider listens and does not answer as the driver's contract says.
    #[error("the provider's socket: {0}")]
    Connection(#[from] tonic::transport::Error),
    /// The provider refuses.
    #[error("the provider refuses with {:?}: {}", .0.code(), .0.message())]
    Refused(#[from] tonic::Status),
    /// The emulator does not answer a bare request.
    #[error("a bare request to the emulator: {0}")]
    Bare(#[from] FloorError),
    /// There is no emulated Azure.
    #[error("the emulator does not start: {0}")]
    Emulator(#[from] azure_emulator::StartError),
    /// This machine does not do what the bench needs.
    #[error("cannot {action}: {source}")]
    Machine {
        /// What was to be done.
        action: String,
        /// Why it cannot.
        source: io::Error,
    },
}

/// A bare request did not work.
#[derive(Debug, Error)]
pub enum FloorError {
    #[error("cannot connect: {0}")]
    Connect(#[from] std::io::Error),
    #[error("cannot use TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("cannot make a request: {0}")]
    Request(#[from] hyper::http::Error),
    /// No answer.
    #[error("{0}")]
    Http(#[from] hyper::Error),
    /// Another answer than expected.
    #[error("{path} was answered with {status}")]
    Refused {
        /// What was asked for.
        path: String,
        status: StatusCode,
    },
}

/// Makes a [`Failure::Machine`] of what the system says about an action, such as "read the file".
pub fn cannot(action: impl Into<String>) -> impl FnOnce(io::Error) -> Failure {
    let action = action.into();
    move |source| Failure::Machine { action, source }
}
