//! PFX files (PKCS#12, RFC 7292): the form in which Key Vault hands out a certificate together with
//! its private key, without a password.
//!
//! Written on top of primitives because no library at hand reads everything that vaults hold: some
//! lack AES or RC2, some take no NULL password, none takes all of indefinite lengths, octet strings
//! in pieces and a bound on the work. What is read:
//!
//! - password integrity with SHA-1 or SHA-2, or no integrity at all;
//! - contents and keys in clear, by PKCS#12's own ciphers (3DES, RC2, RC4) or by PBES2 (AES, 3DES);
//! - both forms of "no password" (see [`Password`]);
//! - bags in any order and number, nested ones included. Attributes such as friendly names are
//!   ignored, and so are bags of other kinds (revocation lists, secrets).
//!
//! Memory stays within a small multiple of the input. The time for hostile iteration counts is bounded
//! by [`derivation::Work`] for a file, and by [`Derivations`] for all files of a mount.

mod cipher;
mod derivation;
mod integrity;

use der::asn1::ObjectIdentifier;
use zeroize::Zeroizing;

pub use self::derivation::Derivations;
use self::derivation::{Password, Work};
use super::Effort;
use super::asn1::{Element, INTEGER, Malformed, OBJECT_IDENTIFIER, Reader, SEQUENCE, context};
use super::private_key::PrivateKey;

const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const ENVELOPED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.3");
const ENCRYPTED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.6");

// RFC 7292 section 4.2.
const KEY_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.1");
const SHROUDED_KEY_BAG: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.2");
const CERTIFICATE_BAG: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.3");
const NESTED_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.6");
const X509_CERTIFICATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.22.1");

/// How deep bags may be nested; nobody is known to nest them at all.
const MAX_NESTING: u8 = 4;

/// Why a PFX cannot be turned into PEM.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PfxError {
    /// Not a PFX, or a damaged one.
    #[error("the value is not a PFX file (PKCS#12), or it is damaged: cannot read its {part}")]
    Malformed {
        /// The structure of RFC 7292 that could not be read.
        part: &'static str,
    },
    /// Integrity or privacy by public keys, which needs a key that nobody has here.
    #[error("the PFX file is protected by {protection}: expected one protected by a password")]
    Protection {
        /// What protects it.
        protection: &'static str,
    },
    /// An algorithm that we do not know.
    #[error("the PFX file uses the {purpose} {oid}, which is not supported")]
    Algorithm {
        /// What the algorithm is for.
        purpose: &'static str,
        /// Its object identifier.
        oid: String,
    },
    /// The integrity check fails with an empty password.
    #[error("the PFX file is protected by a password, or damaged: expected one without a password")]
    Integrity,
    /// Something does not decrypt with an empty password.
    #[error("the {part} of the PFX file cannot be decrypted without a password, or it is damaged")]
    Decryption {
        /// The structure that did not decrypt.
        part: &'static str,
    },
    /// The iteration counts add up to more work than we are willing to do.
    #[error("the PFX file's iteration counts are too high: import it again with 100000 or fewer")]
    TooMuchWork,
    /// Those of all files of a mount do.
    #[error(
        "the iteration counts of all PFX files of this mount are too high together: import them again with 10000 or \
         fewer, or spread them over several classes"
    )]
    TooMuchWorkTogether,
    /// Nobody waits for it any longer.
    #[error("nobody waits for the PFX file any longer")]
    Stopped,
    /// A key bag holds something else.
    #[error("private key {number} of the PFX file cannot be read")]
    Key {
        /// Which of the keys, counted from 1.
        number: usize,
    },
    /// A certificate bag holds something else.
    #[error("certificate {number} of the PFX file cannot be read")]
    Certificate {
        /// Which of the certificates, counted from 1.
        number: usize,
    },
    /// Neither a key nor a certificate.
    #[error("the PFX file holds no private key and no certificate")]
    Empty,
}

/// What a PFX file holds, in its stored order.
#[derive(Default)]
pub(super) struct Pfx {
    /// The private keys.
    pub(super) keys: Vec<PrivateKey>,
    /// The certificates in DER, not looked at.
    pub(super) certificates: Vec<Zeroizing<Vec<u8>>>,
}

impl Pfx {
    /// Reads a PFX file that has no password.
    pub(super) fn read(bytes: &[u8], effort: &Effort) -> Result<Self, PfxError> {
        Self::read_within(bytes, &mut Work::new(effort))
    }

    /// The same with a smaller bound on the work.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn read_in_blocks(bytes: &[u8], blocks: u64) -> Result<Self, PfxError> {
        Self::read_within(bytes, &mut Work::limited_to(blocks, &Effort::default()))
    }

    fn read_within(bytes: &[u8], work: &mut Work<'_>) -> Result<Self, PfxError> {
        let malformed = |_: Malformed| PfxError::Malformed {
            part: "outermost structure",
        };
        let mut pfx = Reader::new(bytes).sequence().map_err(malformed)?;
        pfx.expect(INTEGER).map_err(malformed)?;
        let authenticated = ContentInfo::read(pfx.expect(SEQUENCE).map_err(malformed)?)?;
        if authenticated.content_type.is(SIGNED_DATA) {
            return Err(PfxError::Protection {
                protection: "a signature",
            });
        }
        let authenticated = authenticated.data()?;

        let mut passwords = [Password::Empty, Password::Null];
        if let Some(integrity) = pfx.optional(SEQUENCE).map_err(malformed)? {
            let password = integrity::verify(integrity, &authenticated, &passwords, work)?;
            // The password that was used for the one is most likely that of the other.
            passwords.sort_by_key(|other| *other != password);
        }

        let mut first_error = None;
        for password in passwords {
            let mut bags = Bags {
                contents: Self::default(),
                password,
                work,
            };
            match bags.read_authenticated_safe(&authenticated) {
                Ok(())
                    if bags.contents.keys.is_empty() && bags.contents.certificates.is_empty() =>
                {
                    return Err(PfxError::Empty);
                }
                Ok(()) => return Ok(bags.contents),
                Err(error) => first_error.get_or_insert(error),
            };
        }
        Err(first_error.unwrap_or(PfxError::Empty))
    }
}

/// RFC 5652 section 3: something with a type.
struct ContentInfo<'a> {
    content_type: Element<'a>,
    contents: Option<Element<'a>>,
}

impl<'a> ContentInfo<'a> {
    const MALFORMED: PfxError = PfxError::Malformed {
        part: "authenticated safe",
    };

    fn read(element: Element<'a>) -> Result<Self, PfxError> {
        let read = || {
            let mut parts = element.inside();
            let content_type = parts.expect(OBJECT_IDENTIFIER)?;
            let contents = match parts.optional(context(0))? {
                Some(explicit) => Some(explicit.inside().any()?),
                None => None,
            };
            Ok(Self {
                content_type,
                contents,
            })
        };
        read().map_err(|_: Malformed| Self::MALFORMED)
    }

    fn contents(&self) -> Result<Element<'a>, PfxError> {
        self.contents.ok_or(Self::MALFORMED)
    }

    /// The octets of contents of type `data`.
    fn data(&self) -> Result<Zeroizing<Vec<u8>>, PfxError> {
        if !self.content_type.is(DATA) {
            return Err(PfxError::Algorithm {
                purpose: "content type",
                oid: self.content_type.dotted(),
            });
        }
        Reader::new(self.contents()?.encoded)
            .octet_string()
            .map_err(|_| Self::MALFORMED)
    }
}

/// Collects what is in the bags.
struct Bags<'w, 'm> {
    contents: Pfx,
    password: Password,
    work: &'w mut Work<'m>,
}

impl Bags<'_, '_> {
    /// RFC 7292 section 4.1: a sequence of safe contents, each in clear or encrypted.
    fn read_authenticated_safe(&mut self, bytes: &[u8]) -> Result<(), PfxError> {
        let malformed = |_| ContentInfo::MALFORMED;
        let mut safe = Reader::new(bytes).sequence().map_err(malformed)?;
        while let Some(element) = safe.next().map_err(malformed)? {
            let info = ContentInfo::read(element)?;
            let contents = if info.content_type.is(ENCRYPTED_DATA) {
                self.decrypt_contents(info.contents()?)?
            } else if info.content_type.is(ENVELOPED_DATA) {
                return Err(PfxError::Protection {
                    protection: "a public key",
                });
            } else {
                info.data()?
            };
            self.read_safe_contents(&contents, MAX_NESTING)?;
        }
        Ok(())
    }

    /// RFC 5652 section 8, `EncryptedData`.
    fn decrypt_contents(&mut self, data: Element<'_>) -> Result<Zeroizing<Vec<u8>>, PfxError> {
        const PART: &str = "encrypted contents";
        let malformed = |_| PfxError::Malformed { part: PART };
        let mut data = data.inside();
        data.expect(INTEGER).map_err(malformed)?;
        let mut info = data.sequence().map_err(malformed)?;
        info.expect(OBJECT_IDENTIFIER).map_err(malformed)?;
        let algorithm = info.expect(SEQUENCE).map_err(malformed)?;
        let encrypted = info
            .any()
            .and_then(|element| element.octets())
            .map_err(malformed)?;
        cipher::decrypt(algorithm, encrypted, self.password, self.work, PART)
    }

    /// RFC 7292 section 4.2, `SafeContents`.
    fn read_safe_contents(&mut self, bytes: &[u8], nesting: u8) -> Result<(), PfxError> {
        let malformed = |_| PfxError::Malformed {
            part: "safe contents",
        };
        let mut bags = Reader::new(bytes).sequence().map_err(malformed)?;
        while let Some(bag) = bags.next().map_err(malformed)? {
            let mut parts = bag.inside();
            let bag_type = parts.expect(OBJECT_IDENTIFIER).map_err(malformed)?;
            let value = parts
                .expect(context(0))
                .and_then(|value| value.inside().any());
            let value = value.map_err(malformed)?;
            if bag_type.is(KEY_BAG) {
                self.read_key(value.encoded)?;
            } else if bag_type.is(SHROUDED_KEY_BAG) {
                let key = self.decrypt_key(value)?;
                self.read_key(&key)?;
            } else if bag_type.is(CERTIFICATE_BAG) {
                self.read_certificate(value)?;
            } else if bag_type.is(NESTED_BAG) {
                let nesting = nesting.checked_sub(1).ok_or(Malformed).map_err(malformed)?;
                self.read_safe_contents(value.encoded, nesting)?;
            }
        }
        Ok(())
    }

    /// RFC 5208 section 6, `EncryptedPrivateKeyInfo`.
    fn decrypt_key(&mut self, value: Element<'_>) -> Result<Zeroizing<Vec<u8>>, PfxError> {
        const PART: &str = "private key";
        let malformed = |_| PfxError::Malformed { part: PART };
        let mut info = value.inside();
        let algorithm = info.expect(SEQUENCE).map_err(malformed)?;
        let encrypted = info.octet_string().map_err(malformed)?;
        cipher::decrypt(algorithm, encrypted, self.password, self.work, PART)
    }

    fn read_key(&mut self, der: &[u8]) -> Result<(), PfxError> {
        let number = self.contents.keys.len() + 1;
        let key = PrivateKey::from_any(der).map_err(|_| PfxError::Key { number })?;
        self.contents.keys.push(key);
        Ok(())
    }

    /// RFC 7292 section 4.2.3. The other kind of certificate, SDSI, is extinct.
    fn read_certificate(&mut self, value: Element<'_>) -> Result<(), PfxError> {
        let number = self.contents.certificates.len() + 1;
        let malformed = |_| PfxError::Certificate { number };
        let mut parts = value.inside();
        if parts
            .expect(OBJECT_IDENTIFIER)
            .map_err(malformed)?
            .is(X509_CERTIFICATE)
        {
            let explicit = parts.expect(context(0)).map_err(malformed)?;
            let certificate = explicit.inside().octet_string().map_err(malformed)?;
            self.contents.certificates.push(certificate);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
