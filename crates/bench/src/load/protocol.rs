//! [`Protocol`], what vault and Entra ID speak.

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

/// The newest protocol that the emulator offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
pub enum Protocol {
    /// HTTP/2: all requests to a host on one connection, if the client likes
    #[value(name = "h2")]
    #[serde(rename = "h2")]
    Http2,
    /// HTTP/1.1: one request at a time on each connection
    #[value(name = "h1")]
    #[serde(rename = "h1")]
    Http1,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http2 => "h2",
            Self::Http1 => "h1",
        })
    }
}
