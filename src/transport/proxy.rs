//! [`Proxies`] that the environment names, and the way through one of them.

use std::ffi::OsString;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;
use url::Url;

use crate::transport::Phase;
use crate::transport::dns::Place;
use crate::transport::stream::{ConnectError, Progress, Stream, Tls, tls_name};
use crate::transport::trust::Trust;

/// The proxies of the environment, and the hosts that are reached without.
#[derive(Debug)]
pub(super) struct Proxies {
    matcher: Matcher,
    /// Hosts that are reached without at one port only.
    bypassed_at: Vec<(u16, Matcher)>,
}

/// A proxy that a server is reached through.
#[derive(Clone, Debug)]
pub(super) struct Proxy {
    /// Where it is.
    pub(super) place: Place,
    pub(super) port: u16,
    /// How it proves who it is, where its URL says so.
    pub(super) tls: Option<Tls>,
    authorization: Option<HeaderValue>,
}

/// Why a proxy is no way to a server. Its own URL is not shown: it may have a password in it.
#[derive(Debug, Error)]
pub(super) enum WayError {
    /// It takes no connection.
    #[error("the proxy cannot be reached: {0}")]
    Connect(ConnectError),
    /// It does not speak TLS as its URL says.
    #[error("the proxy cannot be reached by TLS")]
    Tls(#[source] std::io::Error),
    /// It does not speak HTTP.
    #[error("the proxy does not answer as a proxy does")]
    Http(#[source] hyper::Error),
    #[error("the proxy answered CONNECT with HTTP status {0}")]
    Refused(StatusCode),
}

impl Proxies {
    /// The proxies of the process's environment. They are looked at before the library does: it passes
    /// over one that it cannot read, and then goes out directly.
    pub(super) fn of_environment() -> Result<Self, ProxyError> {
        let (_, no) = NO_PROXY.value();
        let no = no.into_string().unwrap_or_default();
        Ok(Self::new(
            &HTTPS_PROXY.url()?,
            &HTTP_PROXY.url()?,
            &ALL_PROXY.url()?,
            &no,
        ))
    }

    /// The proxies of these variables.
    pub(super) fn new(https: &str, http: &str, all: &str, no: &str) -> Self {
        // The library knows neither `*.example` nor `example:443`, which others do.
        let (mut everywhere, mut bypassed_at) = (Vec::new(), Vec::new());
        for entry in no.split([',', ' ']).filter(|entry| !entry.is_empty()) {
            let entry = match entry.strip_prefix("*.") {
                Some(_) => &entry[1..],
                None => entry,
            };
            match entry
                .rsplit_once(':')
                .map(|(host, port)| (host, port.parse()))
            {
                // An address of IPv6 without brackets has no port.
                Some((host, Ok(port))) if !host.contains(':') || host.ends_with(']') => {
                    let host = host.trim_matches(['[', ']']);
                    let matcher = Matcher::builder().all("http://any").no(host).build();
                    bypassed_at.push((port, matcher));
                }
                _ => everywhere.push(entry),
            }
        }
        let builder = Matcher::builder().https(https).http(http).all(all);
        Self {
            matcher: builder.no(everywhere.join(",")).build(),
            bypassed_at,
        }
    }

    /// Whether a server is reached through a proxy.
    fn leads_to(&self, server: &Uri) -> bool {
        self.found(server).is_some_and(|(proxy, _)| {
            let host = proxy.host();
            host.is_some_and(|host| proxy.scheme() != "https" || tls_name(&host).is_some())
        })
    }

    /// The proxy for a server as the library finds it, and what it is to be told.
    fn found(&self, server: &Uri) -> Option<(Url, Option<HeaderValue>)> {
        let intercept = self.matcher.intercept(server)?;
        let proxy = Url::parse(&intercept.uri().to_string()).ok()?;
        Some((proxy, intercept.basic_auth().cloned()))
    }

    /// The proxy that the server at this URL is reached through.
    pub(super) fn find(&self, url: &Url, trust: &Trust) -> Option<Proxy> {
        let (uri, port) = (url.as_str().parse().ok()?, url.port_or_known_default());
        let mut at_port = self.bypassed_at.iter().filter(|(at, _)| Some(*at) == port);
        if at_port.any(|(_, matcher)| matcher.intercept(&uri).is_none()) {
            return None;
        }
        let (proxy, authorization) = self.found(&uri)?;
        let host = proxy.host()?;
        let tls = match proxy.scheme() {
            "https" => Some(Tls {
                trust: trust.clone(),
                http2: false,
                name: tls_name(&host)?,
            }),
            _ => None,
        };
        Some(Proxy {
            place: Place::of(&host),
            port: proxy.port_or_known_default()?,
            tls,
            authorization,
        })
    }
}

impl Proxy {
    /// A connection to a server, over one to this proxy.
    pub(super) async fn way_on(
        &self,
        stream: TcpStream,
        host: &str,
        port: u16,
        progress: &Progress,
    ) -> Result<Box<dyn Stream>, WayError> {
        progress.reach(Phase::Proxy);
        let stream: Box<dyn Stream> = match &self.tls {
            Some(tls) => Box::new(tls.shake_hands(stream).await.map_err(WayError::Tls)?),
            None => Box::new(stream),
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(WayError::Http)?;
        tokio::spawn(connection.with_upgrades());
        let response = sender
            .send_request(self.connect_request(&format!("{host}:{port}")))
            .await
            .map_err(WayError::Http)?;
        if !response.status().is_success() {
            return Err(WayError::Refused(response.status()));
        }
        let way = hyper::upgrade::on(response).await.map_err(WayError::Http)?;
        Ok(Box::new(TokioIo::new(way)))
    }

    /// Source: RFC 9110, section 9.3.6.
    fn connect_request(&self, server: &str) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = Method::CONNECT;
        // A host and a port are an authority, and can stand in a header.
        *request.uri_mut() = Uri::try_from(server).unwrap_or_default();
        if let Ok(host) = HeaderValue::from_str(server) {
            request.headers_mut().insert(HOST, host);
        }
        if let Some(authorization) = &self.authorization {
            request
                .headers_mut()
                .insert(PROXY_AUTHORIZATION, authorization.clone());
        }
        request
    }
}

/// A variable of the environment, in the spellings that are looked at, first to last.
#[derive(Clone, Copy)]
struct Variable([&'static str; 2]);

const HTTPS_PROXY: Variable = Variable(["HTTPS_PROXY", "https_proxy"]);
const HTTP_PROXY: Variable = Variable(["HTTP_PROXY", "http_proxy"]);
const ALL_PROXY: Variable = Variable(["ALL_PROXY", "all_proxy"]);
const NO_PROXY: Variable = Variable(["NO_PROXY", "no_proxy"]);

impl Variable {
    /// Its value, empty where it has none, and the spelling that it has.
    fn value(self) -> (&'static str, OsString) {
        let mut spellings = self.0.into_iter();
        let found = spellings.find_map(|name| Some((name, std::env::var_os(name)?)));
        found.unwrap_or_default()
    }

    /// Its value, where that is a proxy or nothing.
    fn url(self) -> Result<String, ProxyError> {
        let (variable, value) = self.value();
        let value = value.into_string().map_err(|_| ProxyError { variable })?;
        if value.is_empty() || is_proxy(&value) {
            Ok(value)
        } else {
            Err(ProxyError { variable })
        }
    }
}

/// A proxy that cannot be one. Its URL is not shown: it may have a password in it.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{variable}: expected the URL of an HTTP proxy, such as http://proxy.example:3128")]
pub struct ProxyError {
    variable: &'static str,
}

/// `http://host:port`, `https://…`, or without a scheme, which means `http`.
fn is_proxy(text: &str) -> bool {
    let url = if text.contains("://") {
        Url::parse(text)
    } else {
        Url::parse(&format!("http://{text}"))
    };
    // The library reads it as something less lenient, and would go out directly where it cannot.
    url.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        && Proxies::new("", "", text, "").leads_to(&Uri::from_static("https://vault.azure.net"))
}

/// Whether requests go out by the proxy that a variable names; nothing where it is refused.
#[cfg(any(test, feature = "fuzzing"))]
pub fn leads_out(variable: &str, trust: &Trust) -> Option<bool> {
    let vault = Url::parse("https://kv1.vault.azure.net").ok()?;
    is_proxy(variable).then(|| {
        let proxies = Proxies::new(variable, "", "", "");
        proxies.find(&vault, trust).is_some()
    })
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
            "http://p:3128\n",
            "http://p:3128 ",
            "http://u:^{}@p:3128",
            "//p:3128",
        ] {
            assert!(!is_proxy(text), "{text}");
        }
    }

    #[test]
    fn a_host_that_needs_no_proxy_is_reached_without() {
        let trust = Trust::usual(None).unwrap();
        for (no, url, proxied) in [
            ("", "https://kv.vault.azure.net/", true),
            ("vault.azure.net", "https://kv.vault.azure.net/", false),
            (".vault.azure.net", "https://kv.vault.azure.net/", false),
            ("*.vault.azure.net", "https://kv.vault.azure.net/", false),
            (
                "a.test, *.vault.azure.net",
                "https://kv.vault.azure.net/",
                false,
            ),
            (
                "a.test *.vault.azure.net",
                "https://kv.vault.azure.net/",
                false,
            ),
            (
                "kv.vault.azure.net:443",
                "https://kv.vault.azure.net/",
                false,
            ),
            (
                "*.vault.azure.net:443",
                "https://kv.vault.azure.net/",
                false,
            ),
            (
                "kv.vault.azure.net:8443",
                "https://kv.vault.azure.net/",
                true,
            ),
            (
                "kv.vault.azure.net:443",
                "https://other.vault.azure.net/",
                true,
            ),
            ("*", "https://kv.vault.azure.net/", false),
            ("10.0.0.0/8", "https://10.1.2.3/", false),
            ("10.0.0.0/8", "https://11.1.2.3/", true),
            ("fd00::/8", "https://[fd00::1]/", false),
            ("[fd00::1]:443", "https://[fd00::1]/", false),
            ("vault.azure.net", "https://evilvault.azure.net/", true),
        ] {
            let proxies = Proxies::new("http://p:3128", "", "", no);
            let url = Url::parse(url).unwrap();
            assert_eq!(proxies.find(&url, &trust).is_some(), proxied, "{no} {url}");
        }
    }

    #[test]
    fn what_a_proxy_is_told_of_a_password_is_sensitive() {
        let proxies = Proxies::new("http://u:p@p:3128", "", "", "");
        let url = Url::parse("https://kv.vault.azure.net/").unwrap();
        let proxy = proxies.find(&url, &Trust::usual(None).unwrap()).unwrap();
        let request = proxy.connect_request("kv.vault.azure.net:443");
        let authorization = &request.headers()[PROXY_AUTHORIZATION];
        assert_eq!(authorization, "Basic dTpw");
        // Which `Matcher` sees to, so that no library shows it.
        assert!(authorization.is_sensitive());
        assert!(!request.headers()[HOST].is_sensitive());
    }
}
