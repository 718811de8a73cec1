//! A private key with its certificate chain, as a client imports it and as the secret of a
//! certificate gives it out: PFX or PEM.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p12_keystore::{
    Certificate, EncryptionAlgorithm, KeyStore, KeyStoreEntry, MacAlgorithm, Pkcs12ImportPolicy,
    PrivateKey, PrivateKeyChain as Pkcs12Chain,
};

use crate::identifier;
use crate::vault::errors::VaultError;

/// The content type of a PFX secret.
pub(crate) const PKCS12: &str = "application/x-pkcs12";
/// The content type of a PEM secret.
pub(crate) const PEM: &str = "application/x-pem-file";

/// A private key in PKCS#8 and the certificates, the key's own first.
#[derive(Clone, Debug)]
pub(crate) struct PrivateKeyChain {
    pub(crate) key: Vec<u8>,
    pub(crate) certificates: Vec<Vec<u8>>,
}

impl PrivateKeyChain {
    /// Reads PEM or PFX, each as it is or in base64; tells which content type it was.
    pub(crate) fn read(
        value: &[u8],
        password: Option<&str>,
    ) -> Result<(Self, &'static str), VaultError> {
        let decoded = std::str::from_utf8(value).ok().and_then(|text| {
            let text: String = text.split_whitespace().collect();
            STANDARD.decode(text).ok()
        });
        let plain = decoded.as_deref().unwrap_or(value);
        match std::str::from_utf8(plain) {
            Ok(text) if text.contains("-----BEGIN ") => Ok((Self::read_pem(text)?, PEM)),
            _ => Ok((Self::read_pfx(plain, password.unwrap_or_default())?, PKCS12)),
        }
    }

    fn read_pem(text: &str) -> Result<Self, VaultError> {
        let blocks = pem::parse_many(text).map_err(|_| bad_pem())?;
        let all = |tag: &str| {
            blocks
                .iter()
                .filter(|block| block.tag() == tag)
                .map(|block| block.contents().to_vec())
                .collect::<Vec<_>>()
        };
        let certificates = all("CERTIFICATE");
        // Key Vault takes PKCS#8 only; the older forms are refused in the same words.
        match all("PRIVATE KEY").pop() {
            Some(key) if !certificates.is_empty() => Ok(Self { key, certificates }),
            _ => Err(bad_pem()),
        }
    }

    fn read_pfx(pfx: &[u8], password: &str) -> Result<Self, VaultError> {
        let store = KeyStore::from_pkcs12(pfx, password, Pkcs12ImportPolicy::Relaxed)
            .map_err(|_| bad_pfx())?;
        let (_, chain) = store.private_key_chain().ok_or_else(bad_pfx)?;
        let certificates: Vec<Vec<u8>> = chain
            .certs()
            .iter()
            .map(|certificate| certificate.as_der().to_vec())
            .collect();
        if certificates.is_empty() {
            return Err(bad_pfx());
        }
        Ok(Self {
            key: chain.key().as_der().to_vec(),
            certificates,
        })
    }

    /// The value of a secret of this content type; without the key if that may not be exported.
    pub(crate) fn secret(
        &self,
        content_type: &str,
        exportable: bool,
    ) -> Result<String, VaultError> {
        if content_type == PEM {
            return Ok(self.pem(exportable));
        }
        self.pfx(exportable).map(|pfx| STANDARD.encode(pfx))
    }

    fn pem(&self, exportable: bool) -> String {
        let block = |tag: &str, contents: &[u8]| pem::Pem::new(tag, contents);
        let mut blocks = Vec::new();
        if exportable {
            blocks.push(block("PRIVATE KEY", &self.key));
        }
        blocks.extend(
            self.certificates
                .iter()
                .map(|der| block("CERTIFICATE", der)),
        );
        pem::encode_many_config(
            &blocks,
            pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
        )
    }

    /// A PFX without a password, with the algorithms and the 2,000 iterations of Key Vault's own.
    fn pfx(&self, exportable: bool) -> Result<Vec<u8>, VaultError> {
        let key = PrivateKey::from_der(&self.key).map_err(|_| bad_pfx())?;
        let certificates = self
            .certificates
            .iter()
            .map(|der| Certificate::from_der(der))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| bad_pfx())?;
        let mut store = KeyStore::new();
        if exportable {
            let chain = Pkcs12Chain::new(&identifier::random::<20>()[..], key, certificates);
            store.add_entry(&identifier::guid(), KeyStoreEntry::PrivateKeyChain(chain));
        } else {
            for certificate in certificates {
                store.add_entry(&identifier::guid(), KeyStoreEntry::Certificate(certificate));
            }
        }
        store
            .writer("")
            .encryption_algorithm(EncryptionAlgorithm::PbeWithShaAnd3KeyTripleDesCbc)
            .encryption_iterations(2000)
            .mac_algorithm(MacAlgorithm::HmacSha1)
            .mac_iterations(2000)
            .write()
            .map_err(|_| bad_pfx())
    }
}

fn bad_pem() -> VaultError {
    VaultError::bad_parameter(
        "The specified PEM X.509 certificate content is in an unexpected format. Please check if \
         certificate is in valid PEM format.",
    )
}

fn bad_pfx() -> VaultError {
    VaultError::bad_parameter(
        "The specified PKCS#12 X.509 certificate content can not be read. Please check if \
         certificate is in valid PKCS#12 format.",
    )
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

    use super::*;

    /// A leaf of an intermediate CA of a root, in the order in which a server sends them.
    fn chain() -> PrivateKeyChain {
        let ca = |name: &str| {
            let mut parameters = CertificateParams::default();
            parameters.distinguished_name.push(DnType::CommonName, name);
            parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            parameters
        };
        let root = CertifiedIssuer::self_signed(ca("root"), KeyPair::generate().unwrap()).unwrap();
        let middle =
            CertifiedIssuer::signed_by(ca("middle"), KeyPair::generate().unwrap(), &root).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["a.test".to_owned()])
            .unwrap()
            .signed_by(&key, &middle)
            .unwrap();
        let certificates = [leaf.der(), middle.der(), root.der()];
        PrivateKeyChain {
            key: key.serialize_der(),
            certificates: certificates.map(|der| der.to_vec()).to_vec(),
        }
    }

    #[test]
    fn what_is_written_is_read_back_in_every_wrapping() {
        let chain = chain();
        for content_type in [PEM, PKCS12] {
            let secret = chain.secret(content_type, true).unwrap();
            let wrapped = STANDARD.encode(&secret);
            let bare = STANDARD
                .decode(&secret)
                .unwrap_or(secret.clone().into_bytes());
            let mut forms = vec![secret.into_bytes(), bare];
            if content_type == PEM {
                forms.push(wrapped.into_bytes());
            }
            for form in forms {
                let (read, found) = PrivateKeyChain::read(&form, None).unwrap();
                assert_eq!(found, content_type);
                assert_eq!(read.key, chain.key);
                assert_eq!(read.certificates, chain.certificates);
            }
        }
        for nonsense in [&b""[..], b"-----BEGIN ", b"bm90IGEgcGZ4", b"\xff\x00"] {
            assert!(PrivateKeyChain::read(nonsense, None).is_err());
        }
    }
}
