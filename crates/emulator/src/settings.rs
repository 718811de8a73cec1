//! How an emulator is to be started: what tests give to [`crate::Emulator::start`] and the binary
//! makes from its flags.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::cloud::Cloud;

/// The tenant that exists from the start and that new vaults belong to.
pub const DEFAULT_TENANT: &str = "42ddc44e-97dd-4c3b-bf8a-31c785e24c67";

/// An emulator's settings; the default listens on free loopback ports.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where Key Vault and Entra ID are served over TLS.
    pub https_listen: SocketAddr,
    /// Where the forward proxy listens.
    pub proxy_listen: SocketAddr,
    /// Where IMDS is served over plain HTTP.
    pub imds_listen: SocketAddr,
    /// Where the control API is served over plain HTTP.
    pub control_listen: SocketAddr,
    /// Where the AKS token proxy and the API server are served over TLS.
    pub token_proxy_listen: SocketAddr,
    /// Whether TLS offers HTTP/2 by ALPN; otherwise only HTTP/1.1.
    pub http2: bool,
    /// How long access tokens live. Entra ID's own default is 60 to 90 minutes.
    pub token_lifetime: Duration,
    /// Added before every answer of Key Vault, Entra ID and IMDS.
    pub latency: Duration,
    /// Items on a page of a list, unless `maxresults` asks for fewer. Key Vault's own is 25.
    pub page_size: usize,
    /// The tenant that exists from the start and that new vaults belong to.
    pub tenant: String,
    /// The cloud that new vaults and IMDS belong to.
    pub cloud: Cloud,
    /// The Azure region that messages name.
    pub location: String,
    /// The ID that AKS gives the cluster in the API server's certificate; without one the cluster is not
    /// AKS' and has no token proxy.
    pub cluster_id: Option<String>,
    /// When the servers' certificates are valid; the CA's own always is.
    pub certificates: Validity,
    /// Where the CA is kept between runs; without it each emulator makes its own.
    pub ca: Option<CaFiles>,
}

/// When a certificate is valid, as of now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Validity {
    /// It is.
    #[default]
    Now,
    /// It has expired.
    Past,
    /// It is not valid yet.
    Future,
}

/// A CA kept in two PEM files, which are written when they are not there yet.
#[derive(Clone, Debug)]
pub struct CaFiles {
    /// The certificate, for clients to trust.
    pub certificate: PathBuf,
    /// Its private key, written with mode 0600.
    pub key: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            https_listen: any,
            proxy_listen: any,
            imds_listen: any,
            control_listen: any,
            token_proxy_listen: any,
            http2: true,
            token_lifetime: Duration::from_secs(3600),
            latency: Duration::ZERO,
            page_size: 25,
            tenant: DEFAULT_TENANT.to_owned(),
            cloud: Cloud::Public,
            location: "centralus".to_owned(),
            cluster_id: Some("65f1c0ffee0000000000a2b5".to_owned()),
            certificates: Validity::Now,
            ca: None,
        }
    }
}
