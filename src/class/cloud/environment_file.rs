//! An environment file, which tells the endpoints of an Azure Stack, from its bytes to a [`Cloud`].
//!
//! A class names one in `cloudEnvFileName`; [`crate::server::environment_files`] reads those that may be read.

use std::io;
use std::path::{Component, Path};

use serde::Deserialize;
use thiserror::Error;
use url::Url;

use crate::class::cloud::Cloud;
use crate::text::excerpt::Excerpt;

/// The most bytes of a file. A real one has two kilobytes.
pub const MAX_BYTES: usize = 64 * 1024;

/// Why the endpoints of an Azure Stack are not known.
#[derive(Debug, Error)]
pub enum EnvironmentFileError {
    /// No file at all.
    #[error(
        "cloudEnvFileName: expected the path of the file with the endpoints of the AzureStackCloud, found none"
    )]
    NoFile,
    /// A file that the operator does not allow.
    #[error("cloudEnvFileName: {0} is not in a folder that the provider's --cloud-env-dir allows")]
    NotAllowed(String),
    /// A file that cannot be read.
    #[error("cloudEnvFileName: {path} cannot be read: {problem}")]
    Unreadable {
        /// The path, quoted.
        path: String,
        problem: io::ErrorKind,
    },
    /// A file that says something else.
    #[error("cloudEnvFileName: {path}: expected {expected}")]
    Malformed {
        /// The path, quoted.
        path: String,
        /// What it should have.
        expected: String,
    },
}

/// The members that matter, as go-autorest's `azure.Environment` names them.
#[derive(Deserialize)]
struct Environment {
    #[serde(rename = "activeDirectoryEndpoint", default)]
    authority: String,
    #[serde(rename = "keyVaultDNSSuffix", default)]
    vault_domain: String,
}

/// Whether a path is one that any operator could allow: absolute, and without a way out of a folder.
pub fn could_be_allowed(file: &str) -> bool {
    let path = Path::new(file);
    path.is_absolute()
        && path
            .components()
            .all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}

/// How messages quote a path.
pub fn shown(path: &Path) -> String {
    Excerpt(&path.to_string_lossy()).to_string()
}

/// Takes the two endpoints from a file's bytes.
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Cloud, EnvironmentFileError> {
    let malformed = |expected: String| EnvironmentFileError::Malformed {
        path: shown(path),
        expected,
    };
    // go-autorest skips the mark that editors on Windows put first.
    let json = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let environment: Environment = serde_json::from_slice(json).map_err(|error| {
        malformed(format!(
            "a JSON map of endpoints; it stops being one at line {} column {}",
            error.line(),
            error.column()
        ))
    })?;
    let authority = authority(&environment.authority).ok_or_else(|| {
        malformed(
            "activeDirectoryEndpoint to be an https URL without a path (AD FS is not supported)"
                .to_owned(),
        )
    })?;
    let domain = environment
        .vault_domain
        .trim()
        .trim_start_matches('.')
        .trim_end_matches('/');
    if !is_domain(domain) {
        return Err(malformed(
            "keyVaultDNSSuffix to be a domain such as vault.local.azurestack.external".to_owned(),
        ));
    }
    Ok(Cloud::of_its_own(authority, domain.to_owned()))
}

fn authority(text: &str) -> Option<String> {
    let url = Url::parse(text.trim()).ok()?;
    let origin = url.origin().ascii_serialization();
    // Nothing else: no path, no query, no fragment, nobody's name and no password.
    let rest = url.as_str().strip_prefix(&origin)?;
    let plain = url.scheme() == "https" && rest.trim_matches('/').is_empty();
    plain.then_some(origin)
}

fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(fits)
    };
    // A name whose last label is a number is taken for an address, and some of those with `xn--` are no names.
    let is_host = |domain: &str| Url::parse(&format!("https://kv.{domain}")).is_ok();
    text.len() <= 200
        && text.split('.').count() >= 2
        && text.split('.').all(is_label)
        && is_host(text)
}
