//! The fields of `spec.secretObjects`, the driver's own part of a class, and the types of Secrets that Kubernetes
//! demands something of.

use crate::class::property::{Owner, Shape};

/// A DNS subdomain of Kubernetes.
const NAME: &str = "^\\s*[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\\s*$";
const DATA_KEY: &str = "^\\s*(?!\\.\\.|\\.\\s*$)[-._a-zA-Z0-9]{1,253}\\s*$";

properties! {
    /// The fields of an entry of `secretObjects`.
    FIELDS, NAMES:

    SECRET_NAME = "secretName" {
        description: "The Secret's name.",
        shape: Shape::Pattern(NAME),
        needed: true,
        example: "kv-openai-secret",
        owner: Owner::Driver,
    }
    TYPE = "type" {
        description: "The Secret's type, such as Opaque or kubernetes.io/tls.",
        needed: true,
        example: "Opaque",
        owner: Owner::Driver,
    }
    DATA = "data" {
        description: "Which files become which keys.",
        shape: Shape::List,
        needed: true,
        owner: Owner::Driver,
    }
    LABELS = "labels" {
        description: "The Secret's labels.",
        shape: Shape::Map,
        owner: Owner::Driver,
    }
    ANNOTATIONS = "annotations" {
        description: "The Secret's annotations.",
        shape: Shape::Map,
        owner: Owner::Driver,
    }
}

properties! {
    /// The fields of an entry of `data`.
    DATA_FIELDS, DATA_NAMES:

    OBJECT_NAME = "objectName" {
        description: "The file: an entry's objectAlias or else its objectName; with an objectVersionHistory followed by \
                      /0, the newest, /1, and so on.",
        needed: true,
        example: "OPENAI-API-KEY",
        owner: Owner::Driver,
    }
    KEY = "key" {
        description: "The key in the Secret.",
        shape: Shape::Pattern(DATA_KEY),
        needed: true,
        example: "OPENAI_API_KEY",
        owner: Owner::Driver,
    }
}

/// A type of Secrets, and what a Secret of it must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretType {
    /// As `type` has it.
    pub name: &'static str,
    /// The keys, each with those that may stand in for it.
    pub keys: &'static [&'static [&'static str]],
    /// Whether the driver makes no Secret with another key.
    pub no_others: bool,
    /// An annotation that must have a value.
    pub annotation: Option<&'static str>,
    /// What its name begins with.
    pub prefix: &'static str,
    /// Whether the API server refuses a Secret that lacks something; otherwise it is of no use.
    pub refused: bool,
}

impl SecretType {
    /// The type with this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        SECRET_TYPES.iter().find(|known| known.name == name)
    }

    /// A type with this one key.
    const fn with(name: &'static str, keys: &'static [&'static [&'static str]]) -> Self {
        Self {
            name,
            keys,
            no_others: false,
            annotation: None,
            prefix: "",
            refused: true,
        }
    }
}

/// The key of a certificate in a [`TLS`] Secret.
pub const TLS_CERTIFICATE: &str = "tls.crt";
/// The key of its private key.
pub const TLS_PRIVATE_KEY: &str = "tls.key";

/// A certificate and its private key, which the driver takes out of the files.
pub const TLS: SecretType = SecretType {
    no_others: true,
    ..SecretType::with(
        "kubernetes.io/tls",
        &[&[TLS_CERTIFICATE], &[TLS_PRIVATE_KEY]],
    )
};
/// Credentials of container registries, as `~/.docker/config.json` has them.
pub const DOCKER_CONFIG_JSON: SecretType =
    SecretType::with("kubernetes.io/dockerconfigjson", &[&[".dockerconfigjson"]]);
/// The same, as `~/.dockercfg` had them.
pub const DOCKERCFG: SecretType = SecretType::with("kubernetes.io/dockercfg", &[&[".dockercfg"]]);

/// A private key for SSH.
pub const SSH_AUTH: SecretType = SecretType::with("kubernetes.io/ssh-auth", &[&["ssh-privatekey"]]);

/// All types that Kubernetes demands something of.
///
/// Source: `ValidateSecret` of Kubernetes 1.34 (`pkg/apis/core/validation/validation.go`); for the driver, `GetCertPart`
/// in its `pkg/util/secretutil`; for bootstrap tokens, "Authenticating with Bootstrap Tokens".
pub const SECRET_TYPES: &[SecretType] = &[
    TLS,
    DOCKER_CONFIG_JSON,
    DOCKERCFG,
    SecretType::with("kubernetes.io/basic-auth", &[&["username", "password"]]),
    SSH_AUTH,
    SecretType {
        annotation: Some("kubernetes.io/service-account.name"),
        ..SecretType::with("kubernetes.io/service-account-token", &[])
    },
    SecretType {
        prefix: "bootstrap-token-",
        refused: false,
        ..SecretType::with(
            "bootstrap.kubernetes.io/token",
            &[&["token-id"], &["token-secret"]],
        )
    },
    SecretType::with("Opaque", &[]),
];
