//! Decryption by a password: PKCS#12's own schemes (RFC 7292 appendix C) and PBES2 (RFC 8018 section
//! 6.2).

use aes::{Aes128, Aes192, Aes256};
use cbc::Decryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockCipherDecrypt, BlockModeDecrypt as _, KeyInit, KeyIvInit as _};
use der::asn1::ObjectIdentifier;
use des::{TdesEde2, TdesEde3};
use rc2::Rc2;
use rc4::{Rc4, StreamCipher as _};
use zeroize::Zeroizing;

use super::PfxError;
use super::derivation::{Hash, Password, Purpose, Work, pbkdf2, pkcs12};
use crate::rendering::asn1::{
    Element, INTEGER, Malformed, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE,
};

const PBES2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.13");
const PBKDF2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.12");

/// A cipher in CBC mode, or RC4, with a key of the given bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cipher {
    Aes128,
    Aes192,
    Aes256,
    TripleDes,
    TwoKeyTripleDes,
    /// RC2 of 128 or 40 bits, which is also its "effective" length (RFC 2268 section 6).
    Rc2 {
        key: usize,
    },
    /// RC4 of 128 or 40 bits.
    Rc4 {
        key: usize,
    },
}

impl Cipher {
    /// The schemes of RFC 7292 appendix C, all of which derive with SHA-1.
    fn from_pkcs12(oid: &Element<'_>) -> Option<Self> {
        let schemes = [
            ("1.2.840.113549.1.12.1.1", Self::Rc4 { key: 16 }),
            ("1.2.840.113549.1.12.1.2", Self::Rc4 { key: 5 }),
            ("1.2.840.113549.1.12.1.3", Self::TripleDes),
            ("1.2.840.113549.1.12.1.4", Self::TwoKeyTripleDes),
            ("1.2.840.113549.1.12.1.5", Self::Rc2 { key: 16 }),
            ("1.2.840.113549.1.12.1.6", Self::Rc2 { key: 5 }),
        ];
        Self::find(&schemes, oid)
    }

    /// The ciphers of PBES2 (RFC 8018 appendix B.2, AES by NIST's identifiers).
    fn from_pbes2(oid: &Element<'_>) -> Option<Self> {
        let ciphers = [
            ("2.16.840.1.101.3.4.1.2", Self::Aes128),
            ("2.16.840.1.101.3.4.1.22", Self::Aes192),
            ("2.16.840.1.101.3.4.1.42", Self::Aes256),
            ("1.2.840.113549.3.7", Self::TripleDes),
        ];
        Self::find(&ciphers, oid)
    }

    fn find(ciphers: &[(&str, Self)], oid: &Element<'_>) -> Option<Self> {
        let is = |(dotted, _): &&(&str, Self)| oid.is(ObjectIdentifier::new_unwrap(dotted));
        ciphers.iter().find(is).map(|(_, cipher)| *cipher)
    }

    const fn key_size(self) -> usize {
        match self {
            Self::Aes128 | Self::TwoKeyTripleDes => 16,
            Self::Aes192 | Self::TripleDes => 24,
            Self::Aes256 => 32,
            Self::Rc2 { key } | Self::Rc4 { key } => key,
        }
    }

    /// The size of a block, which is that of the initial vector too.
    const fn block_size(self) -> usize {
        match self {
            Self::Aes128 | Self::Aes192 | Self::Aes256 => 16,
            Self::TripleDes | Self::TwoKeyTripleDes | Self::Rc2 { .. } => 8,
            Self::Rc4 { .. } => 0,
        }
    }

    fn decrypt(self, key: &[u8], iv: &[u8], encrypted: &mut Zeroizing<Vec<u8>>) -> Option<()> {
        match self {
            Self::Aes128 => decrypt_cbc::<Aes128>(key, iv, encrypted),
            Self::Aes192 => decrypt_cbc::<Aes192>(key, iv, encrypted),
            Self::Aes256 => decrypt_cbc::<Aes256>(key, iv, encrypted),
            Self::TripleDes => decrypt_cbc::<TdesEde3>(key, iv, encrypted),
            Self::TwoKeyTripleDes => decrypt_cbc::<TdesEde2>(key, iv, encrypted),
            Self::Rc2 { .. } => decrypt_cbc::<Rc2>(key, iv, encrypted),
            Self::Rc4 { .. } => {
                Rc4::new_from_slice(key).ok()?.apply_keystream(encrypted);
                Some(())
            }
        }
    }
}

/// Decrypts in place and cuts off the padding (RFC 8018 section 6.1.1, which AES has extended to its
/// own block size).
fn decrypt_cbc<C>(key: &[u8], iv: &[u8], encrypted: &mut Zeroizing<Vec<u8>>) -> Option<()>
where
    C: KeyInit + BlockCipherDecrypt,
{
    let decryptor = Decryptor::<C>::new_from_slices(key, iv).ok()?;
    let length = decryptor
        .decrypt_padded::<Pkcs7>(encrypted.as_mut_slice())
        .ok()?
        .len();
    encrypted.truncate(length);
    Some(())
}

/// Decrypts `encrypted` as the `AlgorithmIdentifier` says. `part` names it in errors.
pub(super) fn decrypt(
    algorithm: Element<'_>,
    mut encrypted: Zeroizing<Vec<u8>>,
    password: Password,
    work: &mut Work<'_>,
    part: &'static str,
) -> Result<Zeroizing<Vec<u8>>, PfxError> {
    let malformed = |_| PfxError::Malformed {
        part: "encryption parameters",
    };
    let mut algorithm = algorithm.inside();
    let oid = algorithm.expect(OBJECT_IDENTIFIER).map_err(malformed)?;
    let parameters = algorithm.sequence().map_err(malformed)?;

    let (cipher, key, iv) = if oid.is(PBES2) {
        pbes2(parameters, work)?
    } else if let Some(cipher) = Cipher::from_pkcs12(&oid) {
        let (salt, iterations) = salt_and_iterations(parameters).map_err(malformed)?;
        let mut derive = |purpose, length| {
            pkcs12(
                Hash::Sha1,
                password,
                &salt,
                iterations,
                purpose,
                length,
                work,
            )
        };
        let key = derive(Purpose::Encryption, cipher.key_size())?;
        let iv = derive(Purpose::InitialVector, cipher.block_size())?;
        (cipher, key, iv)
    } else {
        return Err(unsupported("encryption scheme", &oid));
    };
    cipher
        .decrypt(&key, &iv, &mut encrypted)
        .ok_or(PfxError::Decryption { part })?;
    Ok(encrypted)
}

type Keyed = (Cipher, Zeroizing<Vec<u8>>, Zeroizing<Vec<u8>>);

/// RFC 8018 appendix A.4: how the key is derived, and what it is for.
fn pbes2(mut parameters: Reader<'_>, work: &mut Work<'_>) -> Result<Keyed, PfxError> {
    let malformed = |_| PfxError::Malformed {
        part: "encryption parameters",
    };
    let mut derivation = parameters.sequence().map_err(malformed)?;
    let mut scheme = parameters.sequence().map_err(malformed)?;

    let oid = scheme.expect(OBJECT_IDENTIFIER).map_err(malformed)?;
    let cipher = Cipher::from_pbes2(&oid).ok_or_else(|| unsupported("cipher", &oid))?;
    let iv = scheme.octet_string().map_err(malformed)?;

    let oid = derivation.expect(OBJECT_IDENTIFIER).map_err(malformed)?;
    if !oid.is(PBKDF2) {
        return Err(unsupported("key derivation", &oid));
    }
    let derivation = derivation.sequence().map_err(malformed)?;
    let (salt, iterations) = salt_and_iterations(derivation).map_err(malformed)?;
    let hash = match pseudo_random_function(derivation).map_err(malformed)? {
        None => Hash::Sha1,
        Some(oid) => Hash::from_hmac(&oid).ok_or_else(|| unsupported("hash function", &oid))?,
    };
    let key = pbkdf2(hash, &salt, iterations, cipher.key_size(), work)?;
    Ok((cipher, key, iv))
}

/// The parameters that both ways of derivation begin with.
fn salt_and_iterations(mut parameters: Reader<'_>) -> Result<(Zeroizing<Vec<u8>>, u32), Malformed> {
    let salt = parameters.octet_string()?;
    // Zero iterations make no sense; Go's library hashes once then, and so do we.
    let iterations = parameters.any()?.small_integer()?.max(1);
    Ok((salt, iterations))
}

/// What follows in PBKDF2's parameters (RFC 8018 appendix A.2): a key length, which the cipher knows
/// better, and the function, SHA-1 when there is none.
fn pseudo_random_function(mut parameters: Reader<'_>) -> Result<Option<Element<'_>>, Malformed> {
    parameters.expect(OCTET_STRING)?;
    parameters.expect(INTEGER)?;
    parameters.optional(INTEGER)?;
    match parameters.optional(SEQUENCE)? {
        Some(function) => Ok(Some(function.inside().expect(OBJECT_IDENTIFIER)?)),
        None => Ok(None),
    }
}

fn unsupported(purpose: &'static str, oid: &Element<'_>) -> PfxError {
    PfxError::Algorithm {
        purpose,
        oid: oid.dotted(),
    }
}
