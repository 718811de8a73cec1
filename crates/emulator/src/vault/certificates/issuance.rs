//! How a version of a certificate comes to be: imported with its private key, or made here and
//! self-signed. Either way it is also a version of a key and of a secret, all with one id.

use std::net::IpAddr;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::Certificate;
use super::policy::{CertificatePolicy, Issuer, imported_policy};
use crate::identifier;
use crate::vault::errors::VaultError;
use crate::vault::keys::Key;
use crate::vault::material::{self, KeyType, PEM, PKCS12, PrivateKeyChain, RsaKey};
use crate::vault::operation::valid_name;
use crate::vault::secrets::{Kid, Secret};
use crate::vault::store::Wanted;
use crate::vault::{ObjectKind, Vault};

/// A century: X.509 has no dates for what is much longer.
const MOST_MONTHS: u32 = 1200;

pub(crate) fn import(
    vault: &Vault,
    name: &str,
    value: &[u8],
    password: Option<&str>,
    content_type: Option<&str>,
    exportable: bool,
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
    let policy = imported_policy(&certificate, &jwk, content_type, exportable);
    let new = New {
        chain,
        jwk,
        content_type,
        policy,
        exportable,
        request: None,
        pending: false,
    };
    add(vault, name, new, wanted)
}

pub(crate) fn create(
    vault: &Vault,
    name: &str,
    policy: &CertificatePolicy,
    issuer: Issuer,
    wanted: Wanted,
) -> Result<String, VaultError> {
    let failed = |error: rcgen::Error| VaultError::bad_parameter(error.to_string());
    if !(1..=MOST_MONTHS).contains(&policy.validity_months) {
        return Err(VaultError::bad_parameter(format!(
            "Property policy.x509_props.validity_months must be between 1 and {MOST_MONTHS}"
        )));
    }
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
    let new = New {
        chain,
        jwk,
        content_type: policy.content_type(),
        policy: policy.json(issuer),
        exportable: policy.exportable,
        request: Some(request),
        pending: issuer == Issuer::Unknown,
    };
    add(vault, name, new, wanted)
}

/// Ends the pending state of the newest version: with these certificates, the key's own first, or with
/// the self-signed one that it was made with. Gives the version.
pub(crate) fn complete(
    vault: &Vault,
    name: &str,
    certificates: Option<Vec<Vec<u8>>>,
) -> Result<String, VaultError> {
    let now = vault.now();
    let contents = &mut *vault.contents();
    let id = contents.certificates.get(name, None)?.id.clone();
    let version = contents.certificates.get_mut(name, Some(&id))?;
    let Some(mut chain) = version.content.pending.clone() else {
        return Err(VaultError {
            message: format!("Pending certificate not found: {name}"),
            ..VaultError::not_found(ObjectKind::Certificate, name)
        });
    };
    if let Some(certificates) = certificates {
        chain.certificates = certificates;
    }
    let key = contents.keys.get_mut(name, Some(&id))?;
    let secret = contents.secrets.get_mut(name, Some(&id))?;
    let mut wanted = Wanted::default();
    wanted.attributes.enabled = Some(true);
    let parsed = chain
        .certificates
        .first()
        .and_then(|der| X509Certificate::from_der(der).ok());
    let of_this_key = parsed.filter(|(_, certificate)| {
        material::jwk_of(certificate.public_key()).is_ok_and(|jwk| jwk == key.content.jwk)
    });
    let Some((_, certificate)) = of_this_key else {
        return Err(VaultError::bad_parameter(
            "Public key from x509 certificate and key do not match.",
        ));
    };
    wanted.attributes.nbf = Some(certificate.validity().not_before.timestamp());
    wanted.attributes.exp = Some(certificate.validity().not_after.timestamp());
    let content_type = secret.content.content_type.as_deref().unwrap_or(PKCS12);
    let exportable = version.content.policy["key_props"]["exportable"] == true;
    secret.content.value = chain.secret(content_type, exportable)?;
    version.content.der.clone_from(&chain.certificates[0]);
    version.content.pending = None;
    version.update(wanted.clone(), now);
    key.update(wanted.clone(), now);
    secret.update(wanted, now);
    Ok(id)
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

/// A version of a certificate, its key and its secret.
struct New {
    chain: PrivateKeyChain,
    jwk: Map<String, Value>,
    content_type: &'static str,
    policy: Value,
    exportable: bool,
    request: Option<Vec<u8>>,
    pending: bool,
}

/// Adds a version of the certificate, of its key and of its secret, all with one id.
fn add(vault: &Vault, name: &str, new: New, mut wanted: Wanted) -> Result<String, VaultError> {
    let New {
        chain,
        jwk,
        content_type,
        policy,
        exportable,
        request,
        pending,
    } = new;
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
        value: chain.secret(content_type, exportable)?,
        content_type: Some(content_type.to_owned()),
        kid: Kid::OfCertificate,
        versionless: false,
    };
    if pending {
        wanted.attributes.enabled = Some(false);
    }
    let key = Key { jwk, managed: true };
    let certificate = Certificate {
        der,
        policy,
        request,
        pending: pending.then_some(chain),
    };
    let now = vault.now();
    let id = identifier::version();
    let contents = &mut *vault.contents();
    // All three or none.
    contents.certificates.refuse_deleted(name)?;
    contents.keys.refuse_deleted(name)?;
    contents.secrets.refuse_deleted(name)?;
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
