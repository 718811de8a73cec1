//! The policy of a certificate: what it is to be like, read from and written as Key Vault's JSON.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use x509_parser::prelude::X509Certificate;

use crate::vault::errors::VaultError;
use crate::vault::material::{KeyType, PEM, PKCS12};

/// What a self-signed certificate is to be like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificatePolicy {
    /// The subject, `CN=...`.
    pub subject: String,
    /// DNS names and addresses in it.
    pub dns_names: Vec<String>,
    /// Its key: RSA, P-256 or P-384.
    pub key: KeyType,
    /// Whether its secret is PEM; PFX otherwise.
    pub pem: bool,
    /// How long it is valid.
    pub validity_months: u32,
    /// Whether its secret has the private key.
    pub exportable: bool,
}

impl Default for CertificatePolicy {
    fn default() -> Self {
        Self {
            subject: "CN=azure-emulator".to_owned(),
            dns_names: Vec::new(),
            key: KeyType::default(),
            pem: false,
            validity_months: 12,
            exportable: true,
        }
    }
}

impl CertificatePolicy {
    /// Reads Key Vault's JSON of a policy.
    pub(crate) fn from_json(policy: &Value) -> Result<Self, VaultError> {
        let text = |pointer: &str| policy.pointer(pointer).and_then(Value::as_str);
        let number = |pointer: &str| {
            policy
                .pointer(pointer)
                .and_then(Value::as_u64)
                .and_then(|number| u32::try_from(number).ok())
        };
        let subject = text("/x509_props/subject").ok_or_else(|| {
            VaultError::bad_parameter("Property policy.x509_props.subject is missing")
        })?;
        let dns_names = policy
            .pointer("/x509_props/sans/dns_names")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect();
        Ok(Self {
            subject: subject.to_owned(),
            dns_names,
            key: KeyType::from_parameters(
                text("/key_props/kty").unwrap_or("RSA"),
                number("/key_props/key_size").filter(|_| text("/key_props/crv").is_none()),
                text("/key_props/crv"),
            )?,
            pem: text("/secret_props/contentType") == Some(PEM),
            validity_months: number("/x509_props/validity_months").unwrap_or(12),
            exportable: policy
                .pointer("/key_props/exportable")
                .and_then(Value::as_bool)
                .unwrap_or(true),
        })
    }

    pub(crate) fn content_type(&self) -> &'static str {
        if self.pem { PEM } else { PKCS12 }
    }

    pub(crate) fn json(&self, issuer: Issuer) -> Value {
        let mut key = match (self.key.rsa_bits(), self.key.curve()) {
            (Some(bits), _) => json!({ "kty": "RSA", "key_size": bits }),
            (None, Some(curve)) => json!({ "kty": "EC", "crv": curve }),
            (None, None) => json!({}),
        };
        key["exportable"] = self.exportable.into();
        key["reuse_key"] = false.into();
        json!({
            "key_props": key,
            "secret_props": { "contentType": self.content_type() },
            "x509_props": {
                "subject": self.subject,
                "sans": { "dns_names": self.dns_names },
                "ekus": ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"],
                "key_usage": ["digitalSignature", "keyEncipherment"],
                "validity_months": self.validity_months,
                "basic_constraints": { "ca": false },
            },
            "lifetime_actions": [{
                "trigger": { "lifetime_percentage": 80 },
                "action": { "action_type": "AutoRenew" },
            }],
            "issuer": { "name": issuer.name(), "cert_transparency": false },
            "attributes": { "enabled": true },
        })
    }
}

/// The issuers that this vault has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Issuer {
    /// `Self`: the certificate is issued at once, self-signed.
    Own,
    /// `Unknown`: it is pending until a certificate is merged with it.
    Unknown,
}

impl Issuer {
    /// Reads Key Vault's JSON of a policy.
    pub(crate) fn from_json(policy: &Value) -> Result<Self, VaultError> {
        match policy.pointer("/issuer/name").and_then(Value::as_str) {
            Some("Self") | None => Ok(Self::Own),
            Some("Unknown") => Ok(Self::Unknown),
            Some(other) => Err(VaultError::bad_parameter(format!(
                "azure-emulator has the issuers 'Self' and 'Unknown', not '{other}'"
            ))),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Own => "Self",
            Self::Unknown => "Unknown",
        }
    }
}

/// The policy that Key Vault writes for a certificate that was imported without one.
pub(crate) fn imported_policy(
    certificate: &X509Certificate<'_>,
    jwk: &Map<String, Value>,
    content_type: &str,
    exportable: bool,
) -> Value {
    let member = |name: &str| jwk.get(name).and_then(Value::as_str);
    let bits = member("n")
        .and_then(|n| URL_SAFE_NO_PAD.decode(n).ok())
        .map_or(2048, |n| n.len() * 8);
    let key = match member("crv") {
        Some(curve) => {
            json!({ "exportable": exportable, "kty": "EC", "crv": curve, "reuse_key": false })
        }
        None => {
            json!({ "exportable": exportable, "kty": "RSA", "key_size": bits, "reuse_key": false })
        }
    };
    let validity = certificate.validity();
    let seconds = validity.not_after.timestamp() - validity.not_before.timestamp();
    json!({
        "key_props": key,
        "secret_props": { "contentType": content_type },
        "x509_props": {
            "subject": certificate.subject().to_string(),
            "ekus": [],
            "key_usage": [],
            "validity_months": seconds / (30 * 86_400),
        },
        "lifetime_actions": [{
            "trigger": { "lifetime_percentage": 80 },
            "action": { "action_type": "EmailContacts" },
        }],
        "issuer": { "name": "Unknown" },
        "attributes": { "enabled": true },
    })
}
