//! The certificate authority of an emulator: clients trust its one certificate, and it issues a
//! leaf for whatever host a client asks for by SNI.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use thiserror::Error;
use time::{Duration, OffsetDateTime};

use crate::settings::{Settings, Validity};
use crate::token_proxy::{API_SERVER, api_server_names};

/// A CA could not be made or kept.
#[derive(Debug, Error)]
pub enum CaError {
    /// Making a key or signing a certificate failed.
    #[error("cannot make the certificate authority")]
    Make(#[from] rcgen::Error),
    /// The leaf key is not one that TLS can use.
    #[error("cannot use the certificate authority's key")]
    Key(#[from] rustls::Error),
    /// A file could not be read or written.
    #[error("cannot use {path}")]
    File {
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A CA and the leaves that it has issued.
///
/// All leaves share one key: making a key costs more than signing, and nobody is protected here.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    cluster_id: Option<String>,
    validity: Validity,
    pem: String,
    leaf_key: KeyPair,
    signer: Arc<dyn SigningKey>,
    leaves: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

impl Ca {
    pub(crate) fn new(settings: &Settings) -> Result<Self, CaError> {
        let files = settings.ca.as_ref();
        let (key, pem) = match files {
            Some(files) if files.certificate.exists() && files.key.exists() => (
                KeyPair::from_pem(&read(&files.key)?)?,
                read(&files.certificate)?,
            ),
            _ => {
                let key = KeyPair::generate()?;
                let pem = ca_parameters().self_signed(&key)?.pem();
                if let Some(files) = files {
                    write_private(&files.key, &key.serialize_pem())?;
                    write(&files.certificate, &pem)?;
                }
                (key, pem)
            }
        };
        let leaf_key = KeyPair::generate()?;
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
        Ok(Self {
            issuer: Issuer::new(ca_parameters(), key),
            cluster_id: settings.cluster_id.clone(),
            validity: settings.certificates,
            pem,
            signer: any_supported_type(&der)?,
            leaf_key,
            leaves: Mutex::default(),
        })
    }

    /// The CA's certificate, for clients to trust.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    fn leaf(&self, host: &str) -> Result<Arc<CertifiedKey>, rcgen::Error> {
        if let Some(leaf) = self.leaves.lock().get(host) {
            return Ok(leaf.clone());
        }
        let certificate = self.issue(host)?;
        let leaf = Arc::new(CertifiedKey::new(
            vec![certificate.der().clone()],
            self.signer.clone(),
        ));
        self.leaves.lock().insert(host.to_owned(), leaf.clone());
        Ok(leaf)
    }

    fn issue(&self, host: &str) -> Result<Certificate, rcgen::Error> {
        let mut names = vec![host.to_owned()];
        if host == API_SERVER
            && let Some(id) = &self.cluster_id
        {
            names.extend(api_server_names(id));
        }
        let mut leaf = CertificateParams::new(names)?;
        if host == "localhost" {
            leaf.subject_alt_names
                .push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        }
        leaf.distinguished_name = DistinguishedName::new();
        leaf.distinguished_name.push(DnType::CommonName, host);
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.use_authority_key_identifier_extension = true;
        (leaf.not_before, leaf.not_after) = validity(self.validity);
        leaf.signed_by(&self.leaf_key, &self.issuer)
    }
}

fn ca_parameters() -> CertificateParams {
    let mut ca = CertificateParams::default();
    ca.distinguished_name = DistinguishedName::new();
    ca.distinguished_name
        .push(DnType::OrganizationName, "azure-emulator (not Microsoft)");
    ca.distinguished_name
        .push(DnType::CommonName, "azure-emulator CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (ca.not_before, ca.not_after) = validity(Validity::Now);
    ca
}

/// A day back, for clients whose clock is behind; a year on, for a CA that is kept in files.
fn validity(validity: Validity) -> (OffsetDateTime, OffsetDateTime) {
    let now = OffsetDateTime::now_utc();
    let (from, to) = match validity {
        Validity::Now => (-1, 365),
        Validity::Past => (-365, -1),
        Validity::Future => (1, 365),
    };
    (now + Duration::days(from), now + Duration::days(to))
}

impl ResolvesServerCert for Ca {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // A client that connects by address sends no SNI.
        let host = hello.server_name().unwrap_or("localhost");
        self.leaf(host)
            .inspect_err(|error| tracing::warn!(host, %error, "no certificate for this host"))
            .ok()
    }
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ca").finish_non_exhaustive()
    }
}

fn read(path: &Path) -> Result<String, CaError> {
    fs::read_to_string(path).map_err(|source| file(path, source))
}

pub(crate) fn write(path: &Path, text: &str) -> Result<(), CaError> {
    fs::write(path, text).map_err(|source| file(path, source))
}

fn write_private(path: &Path, text: &str) -> Result<(), CaError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut opened| opened.write_all(text.as_bytes()))
        .map_err(|source| file(path, source))
}

fn file(path: &Path, source: std::io::Error) -> CaError {
    CaError::File {
        path: path.display().to_string(),
        source,
    }
}
