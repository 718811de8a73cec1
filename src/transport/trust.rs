//! [`Trust`], which servers are believed: those of the system's certificates and the operator's, or of
//! one CA alone. And what is said when a server's certificate is not among them.

use std::error::Error as StdError;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use thiserror::Error;
use tokio::time::Instant;

use crate::transport::roots::{RootFiles, RootsError};

/// Why there are no trusted certificates.
#[derive(Debug, Error)]
pub enum TrustError {
    /// The files have none.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// A CA that was to be the only one is none.
    #[error("expected PEM certificates")]
    Pem(#[source] pem::Error),
    /// A CA that was to be the only one has no certificate.
    #[error("expected PEM certificates, found none that can be used")]
    PemEmpty,
    /// A client's certificate and key are none, or do not belong together.
    #[error("expected a client certificate and its key in PEM")]
    ClientCertificate(#[source] Box<dyn StdError + Send + Sync>),
    /// The TLS library refuses its own defaults.
    #[error("TLS cannot be set up")]
    Library(#[source] rustls::Error),
}

/// The least time between two looks at files that seem to be the same, and between two that failed handshakes bring
/// about.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Who vouches for servers. Clones share everything.
///
/// The files are read again before a handshake: if the file system says that they are others, and a minute after the
/// last time. And after a handshake that failed because of the server's certificate, once a minute. That costs a few
/// milliseconds, needs no task and no timer, and follows every way to replace a file.
#[derive(Clone, Debug)]
pub struct Trust(Arc<Mutex<Held>>);

/// What this process proves to a server who it is by, besides or instead of a token. Clones share everything.
#[derive(Clone, Debug)]
pub struct ClientCertificate(Arc<SingleCertAndKey>);

#[derive(Debug)]
struct Held {
    client: Option<ClientCertificate>,
    /// The files, where they are to be followed.
    files: Option<RootFiles>,
    /// Made once for the same certificates: they have the tickets with which TLS is resumed.
    http2: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
    /// How often the certificates have changed.
    generation: u64,
    looked: Instant,
    looked_after_failure: Option<Instant>,
}

impl Trust {
    /// The system's certificates, those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name, and the operator's.
    pub(super) fn usual(ca_file: Option<&Path>) -> Result<Self, TrustError> {
        let files = RootFiles::open(ca_file)?;
        Self::of(files.store(), Some(files), None)
    }

    /// The system's certificates and those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name, for servers that want to see this
    /// one.
    pub fn usual_for(client: ClientCertificate) -> Result<Self, TrustError> {
        let files = RootFiles::open(None)?;
        Self::of(files.store(), Some(files), Some(client))
    }

    /// These certificates, in PEM, and no others.
    pub fn only(pem: &[u8]) -> Result<Self, TrustError> {
        Self::only_for(pem, None)
    }

    /// The same, for servers that want to see this certificate.
    pub fn only_for(pem: &[u8], client: Option<ClientCertificate>) -> Result<Self, TrustError> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(TrustError::Pem)?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates);
        if roots.is_empty() {
            return Err(TrustError::PemEmpty);
        }
        Self::of(roots, None, client)
    }

    fn of(
        roots: RootCertStore,
        files: Option<RootFiles>,
        client: Option<ClientCertificate>,
    ) -> Result<Self, TrustError> {
        let (http2, http1) = configs(roots, client.as_ref()).map_err(TrustError::Library)?;
        Ok(Self(Arc::new(Mutex::new(Held {
            client,
            files,
            http2,
            http1,
            generation: 0,
            looked: Instant::now(),
            looked_after_failure: None,
        }))))
    }

    /// TLS for HTTP/2 where the server has it, or for HTTP/1.1 alone.
    pub(super) fn tls(&self, http2: bool) -> Arc<ClientConfig> {
        let mut held = self.0.lock();
        if held.looked.elapsed() >= LOOK_AGAIN || held.has_other_files() {
            held.look();
        }
        Arc::clone(if http2 { &held.http2 } else { &held.http1 })
    }

    /// How often the certificates have changed.
    pub(super) fn generation(&self) -> u64 {
        self.0.lock().generation
    }

    /// After a handshake in which the server's certificate was not accepted: whether others are trusted now than at
    /// this generation.
    pub(super) fn has_changed_since(&self, generation: u64) -> bool {
        let mut held = self.0.lock();
        if held.generation == generation {
            let lately = held
                .looked_after_failure
                .is_some_and(|then| then.elapsed() < LOOK_AGAIN);
            if !lately || held.has_other_files() {
                held.looked_after_failure = Some(Instant::now());
                held.look();
            }
        }
        held.generation != generation
    }
}

impl Held {
    fn has_other_files(&self) -> bool {
        self.files.as_ref().is_some_and(RootFiles::are_others)
    }

    fn look(&mut self) {
        self.looked = Instant::now();
        let Some(files) = &mut self.files else {
            return;
        };
        if files.read_again()
            && let Ok(configs) = configs(files.store(), self.client.as_ref())
        {
            (self.http2, self.http1) = configs;
            self.generation += 1;
        }
    }
}

impl ClientCertificate {
    /// The certificate with its chain, and its key, both in PEM.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TrustError> {
        fn unusable(error: impl StdError + Send + Sync + 'static) -> TrustError {
            TrustError::ClientCertificate(Box::new(error))
        }
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(unusable)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(unusable)?;
        let provider = rustls::crypto::ring::default_provider();
        let certified = CertifiedKey::from_der(chain, key, &provider).map_err(unusable)?;
        Ok(Self(Arc::new(certified.into())))
    }
}

/// TLS 1.2 and 1.3 by ring, for HTTP/2 and for HTTP/1.1 alone.
fn configs(
    roots: RootCertStore,
    client: Option<&ClientCertificate>,
) -> Result<(Arc<ClientConfig>, Arc<ClientConfig>), rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut http2 = match client {
        Some(ClientCertificate(certificate)) => {
            builder.with_client_cert_resolver(Arc::<SingleCertAndKey>::clone(certificate))
        }
        None => builder.with_no_client_auth(),
    };
    let mut http1 = http2.clone();
    http2.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    http1.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((Arc::new(http2), Arc::new(http1)))
}

/// What is wrong with the server's certificate, if that is what an error was made of.
pub(super) fn failure_in(error: &(dyn StdError + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(problem)) = error.downcast_ref() {
            return Some(in_words(problem));
        }
        // A handshake's error travels inside I/O errors, one in the other, and an I/O error gives what is
        // inside it only when asked for it: its `source` is the source of that.
        next = match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn in_words(problem: &CertificateError) -> String {
    match problem {
        CertificateError::UnknownIssuer => "its issuer is not trusted".to_owned(),
        // Another CA of the same name: an old one, mostly.
        CertificateError::BadSignature => {
            "it is not signed by the trusted issuer of that name".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another host".to_owned()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificates_problem_is_found_inside_io_errors() {
        let problem = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let nested = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, problem));
        assert_eq!(
            failure_in(&nested).as_deref(),
            Some("its issuer is not trusted")
        );
        assert_eq!(failure_in(&io::Error::other("something else")), None);
    }

    #[test]
    fn a_ca_alone_must_be_one() {
        for pem in [
            "",
            "text",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            assert!(Trust::only(pem.as_bytes()).is_err(), "{pem}");
        }
    }
}
