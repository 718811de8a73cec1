//! Certificates: each version is also a version of a key and of a secret, of the same name and id.

use std::net::IpAddr;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::api::parse;
use super::errors::VaultError;
use super::keys::Key;
use super::material::{self, KeyType, PEM, PKCS12, PrivateKeyChain, RsaKey};
use super::operation::{Operation, Verb, valid_name};
use super::page::page;
use super::secrets::{Kid, Secret};
use super::store::{Version, Wanted};
use super::{Vault, tags_into};
use crate::body;
use crate::identifier;
use crate::state::Ask;

/// What a version of a certificate holds.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) der: Vec<u8>,
    policy: Value,
    /// The signing request of one that was created here.
    request: Option<Vec<u8>>,
}

/// What a self-signed certificate is to be like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
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
}

impl Default for CertificatePolicy {
    fn default() -> Self {
        Self {
            subject: "CN=azure-emulator".to_owned(),
            dns_names: Vec::new(),
            key: KeyType::default(),
            pem: false,
            validity_months: 12,
        }
    }
}

impl CertificatePolicy {
    /// Reads Key Vault's JSON of a policy.
    fn from_json(policy: &Value) -> Result<Self, VaultError> {
        let text = |pointer: &str| policy.pointer(pointer).and_then(Value::as_str);
        let number = |pointer: &str| {
            policy
                .pointer(pointer)
                .and_then(Value::as_u64)
                .and_then(|number| u32::try_from(number).ok())
        };
        match text("/issuer/name") {
            Some("Self") | None => {}
            Some(other) => {
                return Err(VaultError::bad_parameter(format!(
                    "azure-emulator issues self-signed certificates only, not of issuer '{other}'"
                )));
            }
        }
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
        })
    }

    fn content_type(&self) -> &'static str {
        if self.pem { PEM } else { PKCS12 }
    }

    fn json(&self, issuer: &str) -> Value {
        let mut key = match (self.key.rsa_bits(), self.key.curve()) {
            (Some(bits), _) => json!({ "kty": "RSA", "key_size": bits }),
            (None, Some(curve)) => json!({ "kty": "EC", "crv": curve }),
            (None, None) => json!({}),
        };
        key["exportable"] = true.into();
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
            "issuer": { "name": issuer, "cert_transparency": false },
            "attributes": { "enabled": true },
        })
    }
}

#[derive(Debug, Deserialize)]
struct CreateBody {
    policy: Value,
    #[serde(flatten)]
    wanted: Wanted,
}

#[derive(Debug, Deserialize)]
struct ImportBody {
    value: String,
    pwd: Option<String>,
    policy: Option<Value>,
    #[serde(flatten)]
    wanted: Wanted,
}

/// A certificate as lists show it.
pub(crate) fn item(
    base: &str,
    name: &str,
    version: &Version<Certificate>,
    with_version: bool,
) -> Value {
    let mut id = format!("{base}/certificates/{name}");
    if with_version {
        id = format!("{id}/{}", version.id);
    }
    let mut json = json!({
        "id": id,
        "x5t": thumbprint(&version.content.der),
        "attributes": version.attributes.json(),
        "subject": "",
    });
    if let Ok((_, certificate)) = X509Certificate::from_der(&version.content.der) {
        json["subject"] = certificate.subject().to_string().into();
    }
    tags_into(&mut json, &version.tags);
    json
}

/// A certificate with everything that belongs to it.
pub(crate) fn bundle(base: &str, name: &str, version: &Version<Certificate>) -> Value {
    let Version { id, content, .. } = version;
    let mut policy = content.policy.clone();
    policy["id"] = format!("{base}/certificates/{name}/policy").into();
    let mut json = json!({
        "id": format!("{base}/certificates/{name}/{id}"),
        "kid": format!("{base}/keys/{name}/{id}"),
        "sid": format!("{base}/secrets/{name}/{id}"),
        "x5t": thumbprint(&content.der),
        "cer": STANDARD.encode(&content.der),
        "attributes": version.attributes.json(),
        "policy": policy,
        "pending": { "id": format!("{base}/certificates/{name}/pending") },
    });
    tags_into(&mut json, &version.tags);
    json
}

fn thumbprint(der: &[u8]) -> String {
    let sha1 = &ring::digest::SHA1_FOR_LEGACY_USE_ONLY;
    URL_SAFE_NO_PAD.encode(ring::digest::digest(sha1, der))
}

pub(crate) fn perform(
    vault: &Vault,
    ask: &Ask,
    operation: &Operation<'_>,
    page_size: usize,
) -> Result<Response<Body>, VaultError> {
    let base = ask.base_url();
    let name = operation.name.unwrap_or_default();
    match operation.verb {
        Verb::Create => {
            let CreateBody { policy, wanted } = parse(ask)?;
            create(vault, name, &CertificatePolicy::from_json(&policy)?, wanted)?;
            let mut pending = pending(vault, &base, name)?;
            // Clients expect to have to ask again.
            pending["status"] = "inProgress".into();
            return Ok(body::json(StatusCode::ACCEPTED, &pending));
        }
        Verb::Import => {
            let ImportBody {
                value,
                pwd,
                policy,
                wanted,
            } = parse(ask)?;
            let content_type = policy
                .as_ref()
                .and_then(|policy| policy.pointer("/secret_props/contentType"))
                .and_then(Value::as_str);
            import(
                vault,
                name,
                value.as_bytes(),
                pwd.as_deref(),
                content_type,
                wanted,
            )?;
        }
        Verb::Pending => return Ok(body::json(StatusCode::OK, &pending(vault, &base, name)?)),
        _ => {}
    }
    let now = vault.now();
    let contents = &mut *vault.contents();
    let shelf = &mut contents.certificates;
    let json = match operation.verb {
        Verb::Get | Verb::Import => {
            let version = shelf.get(name, operation.version)?;
            bundle(&base, &shelf.object(name)?.name, version)
        }
        Verb::Policy => {
            let mut bundle = bundle(&base, name, shelf.get(name, None)?);
            bundle["policy"].take()
        }
        Verb::Versions => {
            let items = shelf
                .versions(name)
                .into_iter()
                .map(|version| item(&base, name, version, true))
                .collect();
            return page(ask, items, page_size);
        }
        Verb::List => {
            let items = shelf
                .objects()
                .filter_map(|object| Some(item(&base, &object.name, object.latest()?, false)))
                .collect();
            return page(ask, items, page_size);
        }
        Verb::Update => {
            let wanted: Wanted = parse(ask)?;
            let version = shelf.get_mut(name, operation.version)?;
            version.update(wanted.clone(), now);
            let id = version.id.clone();
            let json = bundle(&base, name, version);
            // The key and the secret of a certificate are enabled and disabled with it.
            if let Ok(key) = contents.keys.get_mut(name, Some(&id)) {
                key.update(wanted.clone(), now);
            }
            if let Ok(secret) = contents.secrets.get_mut(name, Some(&id)) {
                secret.update(wanted, now);
            }
            json
        }
        _ => {
            return Err(VaultError::bad_parameter(
                "No such operation on certificates",
            ));
        }
    };
    Ok(body::json(StatusCode::OK, &json))
}

/// The operation that made the newest version, which is always over.
fn pending(vault: &Vault, base: &str, name: &str) -> Result<Value, VaultError> {
    let contents = vault.contents();
    let version = contents.certificates.get(name, None)?;
    let request = version.content.request.as_ref().ok_or_else(|| VaultError {
        message: format!("Pending certificate not found: {name}"),
        ..VaultError::not_found(super::ObjectKind::Certificate, name)
    })?;
    Ok(json!({
        "id": format!("{base}/certificates/{name}/pending"),
        "issuer": { "name": "Self", "cert_transparency": false },
        "csr": STANDARD.encode(request),
        "cancellation_requested": false,
        "status": "completed",
        "target": format!("{base}/certificates/{name}"),
        "request_id": identifier::guid_for(&version.id).replace('-', ""),
    }))
}

pub(crate) fn import(
    vault: &Vault,
    name: &str,
    value: &[u8],
    password: Option<&str>,
    content_type: Option<&str>,
    wanted: Wanted,
) -> Result<String, VaultError> {
    let (chain, found) = PrivateKeyChain::read(value, password)?;
    let content_type = match content_type {
        Some(PEM) => PEM,
        Some(PKCS12) => PKCS12,
        _ => found,
    };
    let (_, certificate) = X509Certificate::from_der(&chain.certificates[0])
        .map_err(|_| VaultError::bad_parameter("The certificate can not be read."))?;
    let jwk = material::jwk_of(certificate.public_key())?;
    let policy = imported_policy(&certificate, &jwk, content_type);
    add(vault, name, &chain, jwk, content_type, policy, None, wanted)
}

/// The policy that Key Vault writes for a certificate that was imported without one.
fn imported_policy(
    certificate: &X509Certificate<'_>,
    jwk: &Map<String, Value>,
    content_type: &str,
) -> Value {
    let member = |name: &str| jwk.get(name).and_then(Value::as_str);
    let bits = member("n")
        .and_then(|n| URL_SAFE_NO_PAD.decode(n).ok())
        .map_or(2048, |n| n.len() * 8);
    let key = match member("crv") {
        Some(curve) => json!({ "exportable": true, "kty": "EC", "crv": curve, "reuse_key": false }),
        None => json!({ "exportable": true, "kty": "RSA", "key_size": bits, "reuse_key": false }),
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

pub(crate) fn create(
    vault: &Vault,
    name: &str,
    policy: &CertificatePolicy,
    wanted: Wanted,
) -> Result<String, VaultError> {
    let failed = |error: rcgen::Error| VaultError::bad_parameter(error.to_string());
    let key = key_pair(policy.key)?;
    let parameters = parameters(policy, OffsetDateTime::now_utc()).map_err(failed)?;
    let certificate = parameters.self_signed(&key).map_err(failed)?;
    let request = parameters
        .serialize_request(&key)
        .map_err(failed)?
        .der()
        .to_vec();
    let chain = PrivateKeyChain {
        key: key.serialize_der(),
        certificates: vec![certificate.der().to_vec()],
    };
    let (_, parsed) = X509Certificate::from_der(certificate.der())
        .map_err(|error| VaultError::bad_parameter(error.to_string()))?;
    let jwk = material::jwk_of(parsed.public_key())?;
    let content_type = policy.content_type();
    let json = policy.json("Self");
    add(
        vault,
        name,
        &chain,
        jwk,
        content_type,
        json,
        Some(request),
        wanted,
    )
}

fn key_pair(kind: KeyType) -> Result<KeyPair, VaultError> {
    let failed = |error: rcgen::Error| VaultError::bad_parameter(error.to_string());
    match kind {
        KeyType::P256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(failed),
        KeyType::P384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).map_err(failed),
        KeyType::P521 | KeyType::P256K => Err(VaultError::bad_parameter(
            "azure-emulator makes certificates with RSA, P-256 and P-384 keys; import others",
        )),
        KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 => {
            let pkcs8 = RsaKey::generate(kind.rsa_bits().unwrap_or(2048))
                .pkcs8()
                .unwrap_or_default();
            KeyPair::try_from(&PrivatePkcs8KeyDer::from(pkcs8)).map_err(failed)
        }
    }
}

fn parameters(
    policy: &CertificatePolicy,
    now: OffsetDateTime,
) -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = CertificateParams::new(Vec::new())?;
    parameters.distinguished_name = DistinguishedName::new();
    for part in policy.subject.split(',') {
        let (kind, value) = part.split_once('=').unwrap_or(("CN", part));
        let kind = match kind.trim() {
            "O" => DnType::OrganizationName,
            "OU" => DnType::OrganizationalUnitName,
            "C" => DnType::CountryName,
            "L" => DnType::LocalityName,
            "S" | "ST" => DnType::StateOrProvinceName,
            _ => DnType::CommonName,
        };
        parameters.distinguished_name.push(kind, value.trim());
    }
    for name in &policy.dns_names {
        parameters
            .subject_alt_names
            .push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.clone().try_into()?),
            });
    }
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    parameters.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    parameters.not_before = now - Duration::minutes(10);
    parameters.not_after = now + Duration::days(i64::from(policy.validity_months) * 30);
    Ok(parameters)
}

/// Adds a version of the certificate, of its key and of its secret, all with one id.
#[expect(clippy::too_many_arguments, reason = "one version of three objects")]
fn add(
    vault: &Vault,
    name: &str,
    chain: &PrivateKeyChain,
    jwk: Map<String, Value>,
    content_type: &'static str,
    policy: Value,
    request: Option<Vec<u8>>,
    mut wanted: Wanted,
) -> Result<String, VaultError> {
    if !valid_name(name) {
        return Err(VaultError::invalid_name(name));
    }
    let der = chain.certificates[0].clone();
    if let Ok((_, certificate)) = X509Certificate::from_der(&der) {
        let validity = certificate.validity();
        wanted.attributes.nbf = Some(validity.not_before.timestamp());
        wanted.attributes.exp = Some(validity.not_after.timestamp());
    }
    let secret = Secret {
        value: chain.secret(content_type)?,
        content_type: Some(content_type.to_owned()),
        kid: Kid::OfCertificate,
    };
    let key = Key { jwk, managed: true };
    let certificate = Certificate {
        der,
        policy,
        request,
    };
    let now = vault.now();
    let id = identifier::version();
    let contents = &mut *vault.contents();
    contents
        .certificates
        .add(name, Some(id.clone()), certificate, wanted.clone(), now)?;
    contents
        .keys
        .add(name, Some(id.clone()), key, wanted.clone(), now)?;
    contents
        .secrets
        .add(name, Some(id.clone()), secret, wanted, now)?;
    Ok(id)
}
