//! What a file of the volume surely holds, where it becomes a key of a Secret that has to hold something else.

use crate::class::object::ObjectKind;
use crate::class::plan::Fetch;
use crate::class::property::secret_objects::{
    DOCKER_CONFIG_JSON, DOCKERCFG, SSH_AUTH, SecretType, TLS, TLS_CERTIFICATE, TLS_PRIVATE_KEY,
};
use crate::commands::validate::finding::Severity;
use crate::rendering::{Encoding, Format};

/// What is known of a file by the class alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contents {
    /// One or more certificates in PEM.
    Certificates,
    /// A private key in PEM.
    PrivateKey,
    /// A public key in PEM.
    PublicKey,
    /// A PFX file in base64, where the vault holds a certificate as one.
    PfxText,
    /// Anything.
    Unknown,
}

/// What is wrong with a file for a key of a Secret.
#[derive(Debug, PartialEq, Eq)]
pub struct Unsuitable {
    /// How much it matters.
    pub severity: Severity,
    /// What was expected and what the file holds.
    pub message: String,
    /// What comes of it.
    pub why: &'static str,
    /// What to do.
    pub fix: &'static str,
}

const NO_SECRET: &str = "the driver makes no Secret of it";
const NOT_JSON: &str = "the API server refuses the Secret, which has to be a JSON object";
const WITH_ITS_KEY: &str =
    "get the certificate with its private key: objectType: secret, with the certificate's name";
const IN_PEM: &str = "take objectFormat out, so that the file is PEM";
const AS_SECRET: &str = "name a file with objectType: secret";

impl Contents {
    fn new(fetch: &Fetch, suffix: &str) -> Self {
        let pfx = fetch.rendering.format == Format::Pfx;
        match (fetch.kind, suffix) {
            (ObjectKind::Key, _) => Self::PublicKey,
            // Those of a PFX file are empty, those of a certificate in PEM are not.
            (ObjectKind::Secret, ".crt" | ".key") if pfx => Self::Unknown,
            (ObjectKind::Certificate, _) | (ObjectKind::Secret, ".crt") => Self::Certificates,
            (ObjectKind::Secret, ".key") => Self::PrivateKey,
            // The driver reads the PFX file itself, where it has no newer ciphers than RC2 and 3DES.
            (ObjectKind::Secret, _) if pfx && fetch.rendering.encoding != Encoding::Base64 => {
                Self::PfxText
            }
            (ObjectKind::Secret, _) => Self::Unknown,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Certificates => "certificates without a private key",
            Self::PrivateKey => "a private key alone",
            Self::PublicKey => "a public key",
            Self::PfxText => "a PFX file in base64 (objectFormat: pfx)",
            Self::Unknown => "anything",
        }
    }
}

/// Why this file cannot be this key of a Secret of this type.
pub fn unsuitable(
    secret_type: &SecretType,
    key: &str,
    fetch: &Fetch,
    suffix: &str,
) -> Option<Unsuitable> {
    let contents = Contents::new(fetch, suffix);
    let json = [DOCKER_CONFIG_JSON, DOCKERCFG].contains(secret_type)
        && secret_type.keys.concat().contains(&key);
    let (expected, severity, why, fix) = match contents {
        Contents::Unknown => return None,
        // A certificate that the vault holds as PEM stays PEM, so that this is likely and not sure.
        Contents::PfxText if *secret_type == TLS => ("PEM", Severity::Warning, NO_SECRET, IN_PEM),
        Contents::PfxText if json => ("JSON", Severity::Warning, NOT_JSON, AS_SECRET),
        _ if json => ("JSON", Severity::Error, NOT_JSON, AS_SECRET),
        // The driver writes an empty key here.
        Contents::PublicKey if *secret_type == TLS && key == TLS_PRIVATE_KEY => (
            "a private key",
            Severity::Error,
            "the driver makes a Secret with an empty private key of it",
            WITH_ITS_KEY,
        ),
        Contents::Certificates if *secret_type == TLS && key == TLS_PRIVATE_KEY => {
            ("a private key", Severity::Error, NO_SECRET, WITH_ITS_KEY)
        }
        Contents::PublicKey | Contents::PrivateKey
            if *secret_type == TLS && key == TLS_CERTIFICATE =>
        {
            ("a certificate", Severity::Error, NO_SECRET, WITH_ITS_KEY)
        }
        Contents::PublicKey | Contents::Certificates
            if *secret_type == SSH_AUTH && SSH_AUTH.keys.concat().contains(&key) =>
        {
            (
                "a private key",
                Severity::Warning,
                "the Secret is made, and nobody can log in with it",
                AS_SECRET,
            )
        }
        _ => return None,
    };
    Some(Unsuitable {
        severity,
        message: format!(
            "expected a file with {expected} for {key}, found one with {}",
            contents.words()
        ),
        why,
        fix,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::file_mode::FileMode;
    use crate::class::object::{FilePath, ObjectName, ObjectVersion};
    use crate::rendering::Rendering;

    fn fetch(kind: ObjectKind, format: Format, encoding: Encoding) -> Fetch {
        Fetch {
            kind,
            name: ObjectName::new("a").unwrap(),
            version: ObjectVersion::Latest,
            history: None,
            rendering: Rendering {
                format,
                encoding,
                ..Rendering::default()
            },
            path: FilePath::new("a").unwrap(),
            mode: FileMode::new(0o644).unwrap(),
            id: "secret/a".to_owned(),
        }
    }

    #[test]
    fn what_a_file_cannot_hold_is_known() {
        use ObjectKind::{Certificate, Key, Secret};
        let json = ".dockerconfigjson";
        let (error, warning) = (Some(Severity::Error), Some(Severity::Warning));
        for (kind, suffix, secret_type, key, expected) in [
            (Secret, "", TLS, "tls.key", None),
            (Secret, "", TLS, "tls.crt", None),
            (Secret, ".key", TLS, "tls.key", None),
            (Secret, ".crt", TLS, "tls.crt", None),
            (Secret, ".crt", TLS, "tls.key", error),
            (Secret, ".key", TLS, "tls.crt", error),
            (Certificate, "", TLS, "tls.crt", None),
            (Certificate, "", TLS, "tls.key", error),
            (Key, "", TLS, "tls.key", error),
            (Key, "", TLS, "tls.crt", error),
            (Secret, "", DOCKER_CONFIG_JSON, json, None),
            (Certificate, "", DOCKER_CONFIG_JSON, json, error),
            (Key, "", DOCKERCFG, ".dockercfg", error),
            (Secret, ".crt", DOCKERCFG, ".dockercfg", error),
            (Certificate, "", DOCKERCFG, "ca.crt", None),
            (Secret, "", SSH_AUTH, "ssh-privatekey", None),
            (Key, "", SSH_AUTH, "ssh-privatekey", warning),
            (Key, "", SSH_AUTH, "ssh-publickey", None),
        ] {
            let fetch = fetch(kind, Format::Pem, Encoding::Utf8);
            let found = unsuitable(&secret_type, key, &fetch, suffix);
            let found = found.map(|found| found.severity);
            assert_eq!(found, expected, "{kind:?}{suffix} as {key}");
        }
        let pfx = |encoding, suffix, key| {
            let fetch = fetch(Secret, Format::Pfx, encoding);
            unsuitable(&TLS, key, &fetch, suffix).map(|found| found.severity)
        };
        assert_eq!(pfx(Encoding::Utf8, "", "tls.key"), warning);
        assert_eq!(pfx(Encoding::Utf8, "", "tls.crt"), warning);
        // The driver reads PFX files, too.
        assert_eq!(pfx(Encoding::Base64, "", "tls.key"), None);
        assert_eq!(pfx(Encoding::Utf8, ".key", "tls.key"), None);
    }
}
