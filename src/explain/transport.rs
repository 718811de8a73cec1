//! What is said when a server cannot be asked, or does not answer.

use super::{Explanation, Reason};
use crate::azure::credential::TokenService;
use crate::class::asked::Asked;
use crate::transport::{Phase, TransportError};

/// Where the token proxy is, and what it takes to be there.
pub(super) const NO_TOKEN_PROXY: &str = "run the provider in an AKS cluster that has identity binding enabled (az aks \
                              identity-binding list), let NetworkPolicy pass the API server";

/// The server that a transport failure is about.
#[derive(Clone, Copy)]
pub(super) enum Server {
    Vault,
    Tokens(TokenService),
}

pub(super) fn of_transport(asked: &Asked, error: &TransportError, server: Server) -> Explanation {
    let unreachable = match server {
        Server::Vault => Reason::KvUnreachable,
        Server::Tokens(TokenService::Entra) => Reason::EntraUnreachable,
        Server::Tokens(TokenService::Imds) => Reason::ImdsUnreachable,
        Server::Tokens(TokenService::TokenProxy) => Reason::TokenProxyUnreachable,
    };
    let vault = &asked.vault;
    let way = match server {
        Server::Vault => format!(
            "check the way from the nodes to {}:443: DNS, NetworkPolicy, firewall, HTTPS_PROXY; az keyvault show --name \
             {vault} --query properties.networkAcls",
            asked.host
        ),
        Server::Tokens(TokenService::Entra) => {
            "check the way from the nodes to Entra ID: DNS, NetworkPolicy, firewall, HTTPS_PROXY".to_owned()
        }
        Server::Tokens(TokenService::Imds) => {
            "run the provider with hostNetwork: true, or let NetworkPolicy and the node's firewall pass \
             169.254.169.254:80; on machines outside Azure use workload identity instead"
                .to_owned()
        }
        Server::Tokens(TokenService::TokenProxy) => {
            format!("{NO_TOKEN_PROXY}, and check that --token-proxy-url and --sni-name, where they are set, are this cluster's")
        }
    };
    let (reason, fix) = match (error, server) {
        (TransportError::Dns { host, temporary: false, .. }, Server::Vault) => (
            Reason::KvHostNotFound,
            format!(
                "correct keyvaultName (az keyvault list --query \"[].name\"), or make the nodes' DNS know {host} (a \
                 private endpoint needs its private DNS zone linked)"
            ),
        ),
        (TransportError::Certificate { .. }, Server::Tokens(TokenService::TokenProxy)) => (
            Reason::TlsNotTrusted,
            "check that identity binding is enabled in the cluster (az aks identity-binding list), and that --sni-name \
             and --token-proxy-ca-file, where they are set, are this cluster's"
                .to_owned(),
        ),
        (TransportError::Certificate { .. }, _) => (
            Reason::TlsNotTrusted,
            "if a proxy or firewall inspects TLS, give the provider its CA with --ca-file or SSL_CERT_FILE (it reads a \
             changed file again within a minute, without a restart); otherwise check the node's clock and what answers \
             for that host"
                .to_owned(),
        ),
        (TransportError::OutOfFiles { .. }, _) => (
            unreachable,
            "raise the limit on open files (RLIMIT_NOFILE, ulimit -n) of the provider's container: the container \
             runtime's LimitNOFILE; connections that are idle have been closed already, so look in the provider's log \
             and metrics (process_open_fds) for what has the others"
                .to_owned(),
        ),
        // IMDS is next door: when it does not even take a connection, it is not there.
        (TransportError::Timeout { phase: Phase::Connect, .. }, Server::Tokens(TokenService::Imds)) => {
            (unreachable, way)
        }
        (TransportError::Timeout { .. }, _) => (Reason::Timeout, way),
        (TransportError::TooLarge { .. }
            | TransportError::Headers { .. }
            | TransportError::ForeignHost { .. }
            | TransportError::Challenge { .. }, Server::Vault) => {
            (Reason::KvUnexpectedAnswer, format!("check what answers for {} from the nodes", asked.host))
        }
        _ => (unreachable, way),
    };
    let cause = match server {
        Server::Vault => format!("Key Vault {vault:?}: {error}"),
        Server::Tokens(service) => format!("{service} gave no token: {error}"),
    };
    Explanation { reason, cause, fix }
}
