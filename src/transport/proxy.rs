//! The proxies that the environment names, looked at before the HTTP library does: it passes over one that
//! it cannot read, and then goes out directly.

use thiserror::Error;
use url::Url;

/// The variables that the HTTP library reads.
const VARIABLES: [&str; 6] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// A proxy that cannot be one. Its URL is not shown: it may have a password in it.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{variable}: expected the URL of an HTTP proxy, such as http://proxy.example:3128")]
pub struct ProxyError {
    /// The variable.
    variable: &'static str,
}

/// Checks the proxies in the process's environment.
pub(super) fn check() -> Result<(), ProxyError> {
    for variable in VARIABLES {
        let value = std::env::var_os(variable).unwrap_or_default();
        if !value.is_empty() && !value.to_str().is_some_and(is_proxy) {
            return Err(ProxyError { variable });
        }
    }
    Ok(())
}

/// `http://host:port`, `https://…`, or without a scheme, which means `http`.
fn is_proxy(text: &str) -> bool {
    let url = if text.contains("://") {
        Url::parse(text)
    } else {
        Url::parse(&format!("http://{text}"))
    };
    url.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_an_http_url() {
        for text in [
            "http://p:3128",
            "https://u:p@p",
            "p:3128",
            "10.0.0.1:8080",
            "http://[::1]:1/",
        ] {
            assert!(is_proxy(text), "{text}");
        }
        for text in [
            "http://[::bad",
            "garbage:://x",
            "ftp://x:1",
            "socks5://x:1",
            "http://",
            "a b",
        ] {
            assert!(!is_proxy(text), "{text}");
        }
    }
}
