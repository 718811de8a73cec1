//! [`Kubeconfig`], the API server and the login that a kubeconfig file's current context names.
//!
//! What would run a program, talk to somebody else first, or trust anybody is refused by its name rather than left
//! out: without it, the API server would be asked as somebody else than the file says.
//!
//! Source: client-go, `tools/clientcmd/api/v1/types.go`.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_saphyr::Options;
use thiserror::Error;
use url::Url;

use crate::cluster::source::Source;
use crate::text::excerpt::Excerpt;
use crate::text::sensitive::Sensitive;

/// The most bytes of a file. Those of people with hundreds of clusters have some hundred kilobytes.
pub const MAX_BYTES: usize = 1024 * 1024;

/// The API server and the login of a file's current context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubeconfig {
    /// Where it is: an `https` URL without user, query and fragment.
    pub server: Url,
    /// What TLS calls it, where that is not the URL's host.
    pub tls_name: Option<String>,
    /// Whom to trust, in PEM; the system's certificates where there is none.
    pub authorities: Option<Source>,
    pub login: Login,
}

/// How this process proves who it is; at least one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    /// A bearer token.
    pub token: Option<Source>,
    /// A client certificate and its key, in PEM.
    pub certificate: Option<(Source, Source)>,
}

/// Why a file gives no API server.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum KubeconfigError {
    /// It is not text.
    #[error("expected YAML in UTF-8")]
    NotText,
    /// It is no kubeconfig. The parser's own words might quote a token.
    #[error("expected a kubeconfig, found something else{}", place(*at))]
    Unreadable {
        /// Line and column.
        at: Option<(u64, u64)>,
    },
    /// It says nothing of which context to use.
    #[error("current-context is missing")]
    NoContext,
    /// A context, or what it names, is not there.
    #[error("there is no {kind} {}", Excerpt(name))]
    Absent {
        /// `context`, `cluster` or `user`.
        kind: &'static str,
        name: String,
    },
    /// The server's URL cannot be used.
    #[error("server of cluster {}: expected an https URL without user, query and fragment", Excerpt(.0))]
    Server(String),
    /// Something that is not supported.
    #[error("{field} of {kind} {} is not supported; {instead}", Excerpt(name))]
    Unsupported {
        field: &'static str,
        /// `cluster` or `user`.
        kind: &'static str,
        name: String,
        /// What to do.
        instead: &'static str,
    },
    /// A certificate or key is not base64.
    #[error("{field} of {kind} {}: expected base64", Excerpt(name))]
    Base64 {
        field: &'static str,
        /// `cluster` or `user`.
        kind: &'static str,
        name: String,
    },
    /// A certificate without its key, or a key without its certificate.
    #[error("user {} needs client-certificate and client-key, or neither", Excerpt(.0))]
    HalfACertificate(String),
    /// Nothing to log in with.
    #[error(
        "user {} has neither token, tokenFile nor client-certificate with client-key",
        Excerpt(.0)
    )]
    NoLogin(String),
}

fn place(at: Option<(u64, u64)>) -> String {
    at.map_or(String::new(), |(line, column)| {
        format!(" at line {line} column {column}")
    })
}

/// The file, as it is written. What is not named here means nothing.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Document {
    #[serde(default)]
    current_context: String,
    #[serde(default)]
    clusters: Vec<NamedCluster>,
    #[serde(default)]
    contexts: Vec<NamedContext>,
    #[serde(default)]
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    #[serde(default)]
    user: User,
}

#[derive(Deserialize)]
struct Context {
    cluster: String,
    #[serde(default)]
    user: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    #[serde(default)]
    server: String,
    #[serde(default)]
    tls_server_name: String,
    #[serde(default)]
    insecure_skip_tls_verify: bool,
    #[serde(default)]
    certificate_authority: String,
    #[serde(default)]
    certificate_authority_data: String,
    #[serde(default)]
    proxy_url: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct User {
    token: String,
    #[serde(rename = "tokenFile")]
    token_file: String,
    client_certificate: String,
    client_certificate_data: String,
    client_key: String,
    client_key_data: String,
    exec: Option<IgnoredAny>,
    auth_provider: Option<IgnoredAny>,
    username: String,
    password: String,
    r#as: String,
    as_uid: String,
    as_groups: Vec<IgnoredAny>,
    as_user_extra: Option<IgnoredAny>,
}

impl Kubeconfig {
    /// Reads a file that was in this folder, which its own relative paths begin at.
    pub fn parse(bytes: &[u8], folder: &Path) -> Result<Self, KubeconfigError> {
        let text = std::str::from_utf8(bytes).map_err(|_| KubeconfigError::NotText)?;
        let document: Document =
            serde_saphyr::from_str_with_options(text, options()).map_err(|error| {
                let at = error.location().filter(|at| at.line() > 0);
                KubeconfigError::Unreadable {
                    at: at.map(|at| (at.line(), at.column())),
                }
            })?;
        if document.current_context.is_empty() {
            return Err(KubeconfigError::NoContext);
        }
        let absent = |kind, name: &str| KubeconfigError::Absent {
            kind,
            name: name.to_owned(),
        };
        let name = &document.current_context;
        let contexts = document.contexts.iter();
        let context = contexts.map(|named| (&named.name, &named.context));
        let context = find(context, name).ok_or_else(|| absent("context", name))?;
        let clusters = document.clusters.iter();
        let cluster = clusters.map(|named| (&named.name, &named.cluster));
        let cluster =
            find(cluster, &context.cluster).ok_or_else(|| absent("cluster", &context.cluster))?;
        let users = document.users.iter();
        let user = users.map(|named| (&named.name, &named.user));
        let user = find(user, &context.user).ok_or_else(|| absent("user", &context.user))?;
        let cluster = Named::new("cluster", &context.cluster, folder, cluster);
        let user = Named::new("user", &context.user, folder, user);
        Ok(Self {
            server: cluster.server()?,
            tls_name: filled(&cluster.of.tls_server_name).map(str::to_owned),
            authorities: cluster.authorities()?,
            login: user.login()?,
        })
    }
}

fn find<'a, T>(mut all: impl Iterator<Item = (&'a String, T)>, name: &str) -> Option<T> {
    all.find(|(found, _)| *found == name)
        .map(|(_, found)| found)
}

fn filled(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// A cluster or a user, and what messages call it.
struct Named<'a, T> {
    kind: &'static str,
    name: &'a str,
    folder: &'a Path,
    of: &'a T,
}

impl<'a, T> Named<'a, T> {
    fn new(kind: &'static str, name: &'a str, folder: &'a Path, of: &'a T) -> Self {
        Self {
            kind,
            name,
            folder,
            of,
        }
    }

    fn refuse(
        &self,
        found: bool,
        field: &'static str,
        instead: &'static str,
    ) -> Result<(), KubeconfigError> {
        if !found {
            return Ok(());
        }
        Err(KubeconfigError::Unsupported {
            field,
            kind: self.kind,
            name: self.name.to_owned(),
            instead,
        })
    }

    /// What a field has in base64, or the file that another one names.
    fn source(
        &self,
        field: &'static str,
        data: &str,
        file: &str,
    ) -> Result<Option<Source>, KubeconfigError> {
        if data.is_empty() {
            return Ok(self.file(file));
        }
        let bytes = STANDARD.decode(data.trim());
        let bytes = bytes.map_err(|_| KubeconfigError::Base64 {
            field,
            kind: self.kind,
            name: self.name.to_owned(),
        })?;
        Ok(Some(Source::Inline(bytes.into())))
    }

    fn file(&self, path: &str) -> Option<Source> {
        filled(path).map(|path| Source::File(self.folder.join(PathBuf::from(path))))
    }
}

impl Named<'_, Cluster> {
    fn server(&self) -> Result<Url, KubeconfigError> {
        let cluster = self.of;
        self.refuse(
            cluster.insecure_skip_tls_verify,
            "insecure-skip-tls-verify",
            "name the CA by certificate-authority",
        )?;
        self.refuse(
            !cluster.proxy_url.is_empty(),
            "proxy-url",
            "the API server is never asked by way of a proxy",
        )?;
        Url::parse(&cluster.server)
            .ok()
            .filter(|url| {
                url.scheme() == "https"
                    && url.has_host()
                    && url.username().is_empty()
                    && url.password().is_none()
                    && url.query().is_none()
                    && url.fragment().is_none()
            })
            .ok_or_else(|| KubeconfigError::Server(self.name.to_owned()))
    }

    fn authorities(&self) -> Result<Option<Source>, KubeconfigError> {
        self.source(
            "certificate-authority-data",
            &self.of.certificate_authority_data,
            &self.of.certificate_authority,
        )
    }
}

impl Named<'_, User> {
    fn login(&self) -> Result<Login, KubeconfigError> {
        const INSTEAD: &str = "use tokenFile, or client-certificate and client-key";
        let user = self.of;
        for (found, field) in [
            (user.exec.is_some(), "exec"),
            (user.auth_provider.is_some(), "auth-provider"),
            (!user.username.is_empty(), "username"),
            (!user.password.is_empty(), "password"),
            (!user.r#as.is_empty(), "as"),
            (!user.as_uid.is_empty(), "as-uid"),
            (!user.as_groups.is_empty(), "as-groups"),
            (user.as_user_extra.is_some(), "as-user-extra"),
        ] {
            self.refuse(found, field, INSTEAD)?;
        }
        // The file goes before, as client-go has it.
        let token = self.file(&user.token_file).or_else(|| {
            filled(&user.token).map(|token| Source::Inline(Sensitive::from(token.to_owned())))
        });
        let chain = self.source(
            "client-certificate-data",
            &user.client_certificate_data,
            &user.client_certificate,
        )?;
        let key = self.source("client-key-data", &user.client_key_data, &user.client_key)?;
        let name = || self.name.to_owned();
        let certificate = match (chain, key) {
            (Some(chain), Some(key)) => Some((chain, key)),
            (None, None) => None,
            _ => return Err(KubeconfigError::HalfACertificate(name())),
        };
        if token.is_none() && certificate.is_none() {
            return Err(KubeconfigError::NoLogin(name()));
        }
        Ok(Login { token, certificate })
    }
}

/// The file is the operator's own, and still has bounds.
fn options() -> Options {
    serde_saphyr::options! {
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_events: 100_000,
            max_nodes: 50_000,
            max_depth: 32,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_recorded_anchor_events: 20_000,
            max_recorded_anchor_bytes: MAX_BYTES,
            max_total_scalar_bytes: 2 * MAX_BYTES,
        },
    }
}

#[cfg(test)]
mod tests;
