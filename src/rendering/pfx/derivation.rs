//! Keys from passwords: PKCS#12's own way (RFC 7292 appendix B) and PBKDF2 (RFC 8018 section 5.2),
//! with a bound on the work that a file may ask for.

use der::asn1::ObjectIdentifier;
use pbkdf2::pbkdf2_hmac;
use sha1::Sha1;
use sha2::digest::Digest;
use sha2::digest::common::BlockSizeUser;
use sha2::{Sha224, Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

use super::PfxError;
use crate::rendering::asn1::Element;

/// The two forms of "no password". Programs disagree on which one an empty password is, and the keys
/// derived from them differ (only in PKCS#12's own way, not in PBKDF2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Password {
    /// The empty string: RFC 7292 appendix B.1 has it end in two zero bytes.
    Empty,
    /// No string at all, and so no bytes.
    Null,
}

impl Password {
    const fn bytes(self) -> &'static [u8] {
        match self {
            Self::Empty => &[0, 0],
            Self::Null => &[],
        }
    }
}

/// What is left of the work that one file may cause, in blocks of SHA-1 or SHA-256 hashed; a block of
/// SHA-512 counts [`Hash::cost`]. All derivations of a file, for either password, share it.
///
/// OpenSSL and Windows write 2,000 or so iterations, Java 10,000; the most that is recommended for
/// passwords, 600,000 with PBKDF2, costs 1.2 million for each of two derivations and half of that for
/// the integrity check.
#[derive(Debug)]
pub(super) struct Work(u64);

impl Default for Work {
    /// Half a second where the processor has instructions for SHA, two seconds where it has none.
    fn default() -> Self {
        Self(8_000_000)
    }
}

impl Work {
    /// A smaller bound, for tests that run thousands of damaged files.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) const fn limited_to(blocks: u64) -> Self {
        Self(blocks)
    }

    fn spend(&mut self, blocks: u64) -> Result<(), PfxError> {
        self.0 = self.0.checked_sub(blocks).ok_or(PfxError::TooMuchWork)?;
        Ok(())
    }
}

/// The hash functions that derive keys and check integrity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    const ALL: [Self; 5] = [
        Self::Sha1,
        Self::Sha224,
        Self::Sha256,
        Self::Sha384,
        Self::Sha512,
    ];

    /// The function by its own identifier (RFC 8017 appendix B.1).
    pub(super) fn from_digest(oid: &Element<'_>) -> Option<Self> {
        let digest = |hash: &Self| match hash {
            Self::Sha1 => ObjectIdentifier::new_unwrap("1.3.14.3.2.26"),
            Self::Sha224 => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.4"),
            Self::Sha256 => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1"),
            Self::Sha384 => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2"),
            Self::Sha512 => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3"),
        };
        Self::ALL.into_iter().find(|hash| oid.is(digest(hash)))
    }

    /// The function by the identifier of its HMAC (RFC 8018 appendix B.1.1).
    pub(super) fn from_hmac(oid: &Element<'_>) -> Option<Self> {
        let hmac = |hash: &Self| match hash {
            Self::Sha1 => ObjectIdentifier::new_unwrap("1.2.840.113549.2.7"),
            Self::Sha224 => ObjectIdentifier::new_unwrap("1.2.840.113549.2.8"),
            Self::Sha256 => ObjectIdentifier::new_unwrap("1.2.840.113549.2.9"),
            Self::Sha384 => ObjectIdentifier::new_unwrap("1.2.840.113549.2.10"),
            Self::Sha512 => ObjectIdentifier::new_unwrap("1.2.840.113549.2.11"),
        };
        Self::ALL.into_iter().find(|hash| oid.is(hmac(hash)))
    }

    /// The bytes that the function gives.
    pub(super) const fn size(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// What hashing a block costs, in [`Work`].
    const fn cost(self) -> u64 {
        match self {
            Self::Sha1 | Self::Sha224 | Self::Sha256 => 1,
            Self::Sha384 | Self::Sha512 => 3,
        }
    }
}

/// What derived bytes are for (RFC 7292 appendix B.3).
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    Encryption = 1,
    InitialVector = 2,
    Integrity = 3,
}

/// Derives `length` bytes in PKCS#12's own way.
pub(super) fn pkcs12(
    hash: Hash,
    password: Password,
    salt: &[u8],
    iterations: u32,
    purpose: Purpose,
    length: usize,
    work: &mut Work,
) -> Result<Zeroizing<Vec<u8>>, PfxError> {
    let rounds = length.div_ceil(hash.size()) as u64;
    work.spend(u64::from(iterations) * rounds * hash.cost())?;
    let derive = match hash {
        Hash::Sha1 => derive::<Sha1>,
        Hash::Sha224 => derive::<Sha224>,
        Hash::Sha256 => derive::<Sha256>,
        Hash::Sha384 => derive::<Sha384>,
        Hash::Sha512 => derive::<Sha512>,
    };
    Ok(derive(password.bytes(), salt, iterations, purpose, length))
}

/// RFC 7292 appendix B.2, whose names are D, S, P, I, A and B.
fn derive<H: Digest + BlockSizeUser>(
    password: &[u8],
    salt: &[u8],
    iterations: u32,
    purpose: Purpose,
    length: usize,
) -> Zeroizing<Vec<u8>> {
    let block = H::block_size();
    let diversifier = vec![purpose as u8; block];
    // Salt and password, each repeated to whole blocks.
    let mut input = Zeroizing::new(Vec::new());
    for part in [salt, password] {
        let filled = part.len().next_multiple_of(block);
        input.extend(part.iter().copied().cycle().take(filled));
    }

    let mut derived = Zeroizing::new(Vec::with_capacity(length));
    loop {
        let mut hashed = H::new()
            .chain_update(&diversifier)
            .chain_update(&*input)
            .finalize();
        for _ in 1..iterations {
            hashed = H::digest(&hashed);
        }
        let wanted = hashed.len().min(length - derived.len());
        derived.extend_from_slice(&hashed[..wanted]);
        if derived.len() == length {
            return derived;
        }
        // Every block of the input becomes itself + B + 1, B being the hash repeated to a block.
        let addend: Vec<u8> = hashed.iter().copied().cycle().take(block).collect();
        for block in input.chunks_exact_mut(block) {
            let mut carry = 1;
            for (byte, addend) in block.iter_mut().zip(&addend).rev() {
                carry += u16::from(*byte) + u16::from(*addend);
                *byte = carry.to_le_bytes()[0];
                carry >>= 8;
            }
        }
    }
}

/// Derives `length` bytes with PBKDF2 from an empty password, of which there is only one form here:
/// HMAC fills its key with zero bytes.
pub(super) fn pbkdf2(
    hash: Hash,
    salt: &[u8],
    iterations: u32,
    length: usize,
    work: &mut Work,
) -> Result<Zeroizing<Vec<u8>>, PfxError> {
    let rounds = length.div_ceil(hash.size()) as u64;
    // HMAC hashes two blocks.
    work.spend(u64::from(iterations) * rounds * 2 * hash.cost())?;
    let derive = match hash {
        Hash::Sha1 => pbkdf2_hmac::<Sha1>,
        Hash::Sha224 => pbkdf2_hmac::<Sha224>,
        Hash::Sha256 => pbkdf2_hmac::<Sha256>,
        Hash::Sha384 => pbkdf2_hmac::<Sha384>,
        Hash::Sha512 => pbkdf2_hmac::<Sha512>,
    };
    let mut derived = Zeroizing::new(vec![0; length]);
    derive(&[], salt, iterations, &mut derived);
    Ok(derived)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Bouncy Castle's and Botan's tests, whose passwords are not empty.
    #[test]
    fn known_answers_of_pkcs12() {
        let smeg = [0, b's', 0, b'm', 0, b'e', 0, b'g', 0, 0];
        let queeg = [0, b'q', 0, b'u', 0, b'e', 0, b'e', 0, b'g', 0, 0];
        let salt = [0x0a, 0x58, 0xcf, 0x64, 0x53, 0x0d, 0x82, 0x3f];
        let key = derive::<Sha1>(&smeg, &salt, 1, Purpose::Encryption, 24);
        assert_eq!(
            *key,
            [
                0x8a, 0xaa, 0xe6, 0x29, 0x7b, 0x6c, 0xb0, 0x46, 0x42, 0xab, 0x5b, 0x07, 0x78, 0x51,
                0x28, 0x4e, 0xb7, 0x12, 0x8f, 0x1a, 0x2a, 0x7f, 0xbc, 0xa3
            ]
        );
        let iv = derive::<Sha1>(&smeg, &salt, 1, Purpose::InitialVector, 8);
        assert_eq!(*iv, [0x79, 0x99, 0x3d, 0xfe, 0x04, 0x8d, 0x3b, 0x76]);

        let salt = [0x05, 0xde, 0xc9, 0x59, 0xac, 0xff, 0x72, 0xf7];
        let key = derive::<Sha1>(&queeg, &salt, 1000, Purpose::Encryption, 24);
        assert_eq!(
            *key,
            [
                0xed, 0x20, 0x34, 0xe3, 0x63, 0x28, 0x83, 0x0f, 0xf0, 0x9d, 0xf1, 0xe1, 0xa0, 0x7d,
                0xd3, 0x57, 0x18, 0x5d, 0xac, 0x0d, 0x4f, 0x9e, 0xb3, 0xd4
            ]
        );
    }

    #[test]
    fn hostile_iteration_counts_cost_nothing() {
        for hash in Hash::ALL {
            let mut work = Work::default();
            let many = u32::MAX;
            let derived = pkcs12(
                hash,
                Password::Null,
                b"",
                many,
                Purpose::Encryption,
                24,
                &mut work,
            );
            assert_eq!(derived, Err(PfxError::TooMuchWork));
            assert_eq!(
                pbkdf2(hash, b"", many, 32, &mut work),
                Err(PfxError::TooMuchWork)
            );
        }
    }

    #[test]
    fn all_derivations_of_a_file_share_one_bound() {
        let mut work = Work::limited_to(450);
        let mut derive = || pbkdf2(Hash::Sha256, b"", 100, 32, &mut work);
        assert!(derive().is_ok() && derive().is_ok());
        assert_eq!(derive(), Err(PfxError::TooMuchWork));
    }

    /// What OWASP recommends for passwords, for both the key and the certificates.
    #[test]
    fn recommended_iteration_counts_are_within_the_bound() {
        let mut work = Work::default();
        for blocks in [2 * 600_000, 2 * 600_000, 600_000] {
            assert_eq!(work.spend(blocks), Ok(()));
        }
    }
}
