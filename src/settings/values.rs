//! What stands behind a flag, typed; an error says what was expected.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::class::file_mode::FileMode;
use crate::class::parameters;
use crate::cluster::PodEventsChoice;

/// The API server, which AKS has the token proxy behind.
pub(super) const TOKEN_PROXY: &str = "https://kubernetes.default.svc.cluster.local";

/// `unix:///path`, as the Go provider's flag has it, or a path.
pub(super) fn socket_path(text: &str) -> Result<PathBuf, String> {
    let path = match text.split_once("://") {
        Some(("unix", path)) => path,
        Some((scheme, _)) => return Err(format!("expected unix:///PATH, found scheme {scheme}")),
        None => text.strip_prefix("unix:").unwrap_or(text),
    };
    if path.is_empty() || path.ends_with('/') {
        return Err("expected unix:///PATH to a socket".to_owned());
    }
    Ok(PathBuf::from(path))
}

pub(super) fn request_count(text: &str) -> Result<usize, String> {
    let count = text
        .parse()
        .ok()
        .filter(|count| (1..=10_000).contains(count));
    count.ok_or_else(|| "expected a number from 1 to 10000".to_owned())
}

pub(super) fn class_count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| *count <= 10_000);
    count.ok_or_else(|| "expected a number from 0 to 10000".to_owned())
}

pub(super) fn go_bool(text: &str) -> Result<bool, String> {
    parameters::go_bool(text).ok_or_else(|| "expected true or false".to_owned())
}

pub(super) fn pod_events(text: &str) -> Result<PodEventsChoice, String> {
    match parameters::go_bool(text) {
        _ if text.eq_ignore_ascii_case("auto") => Ok(PodEventsChoice::Auto),
        Some(true) => Ok(PodEventsChoice::On),
        Some(false) => Ok(PodEventsChoice::Off),
        None => Err("expected auto, true or false".to_owned()),
    }
}

pub(super) fn url_path(text: &str) -> Result<String, String> {
    let plain = text.starts_with('/')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte));
    if plain {
        Ok(text.to_owned())
    } else {
        Err("expected a path such as /healthz".to_owned())
    }
}

/// A name that the driver accepts.
///
/// Source: the driver's `pkg/secrets-store/provider_client.go`, `^[a-zA-Z0-9_-]{0,30}$`.
pub(super) fn provider_name(text: &str) -> Result<String, String> {
    let fits = (1..=30).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if fits {
        Ok(text.to_owned())
    } else {
        Err("expected 1 to 30 letters, digits, hyphens and underscores".to_owned())
    }
}

pub(super) fn duration_or_none(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("expected a duration such as 20s or 1m30s: {error}"))
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration = duration_or_none(text)?;
    if duration.is_zero() {
        Err("expected more than nothing".to_owned())
    } else {
        Ok(duration)
    }
}

/// What can stand in a token and in a command that is pasted.
pub(super) fn token_audience(text: &str) -> Result<String, String> {
    let fits = (1..=253).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/@+".contains(&byte));
    if fits {
        Ok(text.to_owned())
    } else {
        Err("expected an audience such as api://AzureADTokenExchange".to_owned())
    }
}

/// An age that leaves a server in peace.
pub(super) fn connection_age(text: &str) -> Result<Duration, String> {
    let age = duration_or_none(text)?;
    if age < Duration::from_secs(1) {
        Err("must be at least 1s".to_owned())
    } else {
        Ok(age)
    }
}

pub(super) fn http_url(text: &str) -> Result<Url, String> {
    Url::parse(text)
        .ok()
        .filter(|url| url.scheme() == "http" && url.has_host())
        .ok_or_else(|| "expected a URL such as http://127.0.0.1:8080".to_owned())
}

/// A URL that requests can be put below, as the Azure SDK for Go has it.
pub(super) fn token_proxy_url(text: &str) -> Result<Url, String> {
    let text = if text.is_empty() { TOKEN_PROXY } else { text };
    Url::parse(text)
        .ok()
        .filter(|url| {
            url.scheme() == "https"
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
        })
        .ok_or_else(|| {
            format!("expected an https URL such as {TOKEN_PROXY}, without user, query and fragment")
        })
}

/// A name that can stand in DNS, or nothing.
pub(super) fn server_name(text: &str) -> Result<String, String> {
    let name = text.to_ascii_lowercase();
    let fits = Url::parse(&format!("https://{name}")).is_ok_and(|url| url.domain() == Some(&name))
        && rustls::pki_types::DnsName::try_from(name.as_str()).is_ok();
    if fits || text.is_empty() {
        Ok(name)
    } else {
        Err("expected a name such as a….ests.aks".to_owned())
    }
}

pub(super) fn service_port(text: &str) -> Result<u16, String> {
    match text.parse() {
        _ if text.is_empty() => Ok(443),
        Ok(port) if port > 0 => Ok(port),
        _ => Err("expected a port such as 443".to_owned()),
    }
}

pub(super) fn file_mode(text: &str) -> Result<FileMode, String> {
    FileMode::from_octal(text).ok_or_else(|| "expected octal digits from 0000 to 0777".to_owned())
}
