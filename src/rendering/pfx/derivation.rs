//! Keys from passwords: PKCS#12's own way (RFC 7292 appendix B) and PBKDF2 (RFC 8018 section 5.2),
//! with a bound on the work that a file, and a mount, may ask for.

use std::sync::atomic::{AtomicU64, Ordering};

use der::asn1::ObjectIdentifier;
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::digest::Digest;
use sha2::digest::common::BlockSizeUser;
use sha2::{Sha224, Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

use super::PfxError;
use crate::rendering::Effort;
use crate::rendering::asn1::Element;
use crate::shares::Stop;

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

/// The most blocks for one file: half a second where the processor has instructions for SHA, two seconds where it has
/// none.
///
/// OpenSSL and Windows write 2,000 or so iterations, Java 10,000; the most that is recommended for
/// passwords, 600,000 with PBKDF2, costs 1.2 million for each of two derivations and half of that for
/// the integrity check.
const MAX_OF_FILE: u64 = 8_000_000;
/// The most blocks for all files of one mount. Key Vault's own certificates, of 2,000 iterations, cost 28,000 each: a
/// thousand of them fit, or sixty of 100,000 iterations.
const MAX_OF_MOUNT: u64 = 32_000_000;
/// How many iterations pass before somebody looks whether there is still a caller.
const STEP: u32 = 4096;

/// What is left of the work that the files of one mount may cause together.
#[derive(Debug)]
pub struct Derivations(AtomicU64);

impl Default for Derivations {
    fn default() -> Self {
        Self(AtomicU64::new(MAX_OF_MOUNT))
    }
}

impl Derivations {
    fn spend(&self, blocks: u64) -> Result<(), PfxError> {
        let left = |left: u64| left.checked_sub(blocks);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, left)
            .map(drop)
            .map_err(|_| PfxError::TooMuchWorkTogether)
    }
}

/// What is left of the work that one file may cause, in blocks of SHA-1 or SHA-256 hashed; a block of
/// SHA-512 counts [`Hash::cost`]. All derivations of a file, for either password, share it.
#[derive(Debug)]
pub(super) struct Work<'a> {
    left: u64,
    of_mount: &'a Derivations,
    stop: &'a Stop,
}

impl<'a> Work<'a> {
    /// What one file of a mount may cost.
    pub(super) fn new(effort: &'a Effort) -> Self {
        Self::limited_to(MAX_OF_FILE, effort)
    }

    /// A smaller bound, for tests that run thousands of damaged files.
    pub(super) fn limited_to(blocks: u64, effort: &'a Effort) -> Self {
        Self {
            left: blocks,
            of_mount: &effort.derivations,
            stop: &effort.stop,
        }
    }

    fn spend(&mut self, blocks: u64) -> Result<(), PfxError> {
        self.left = self.left.checked_sub(blocks).ok_or(PfxError::TooMuchWork)?;
        self.of_mount.spend(blocks)
    }
}

/// Runs `next` for each iteration but the first, while somebody waits for what comes of them.
fn iterate(iterations: u32, stop: &Stop, mut next: impl FnMut()) -> Result<(), PfxError> {
    for done in 1..iterations {
        if done % STEP == 0 && stop.is_set() {
            return Err(PfxError::Stopped);
        }
        next();
    }
    Ok(())
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
    work: &mut Work<'_>,
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
    let password = password.bytes();
    derive(password, salt, iterations, purpose, length, work.stop)
}

/// RFC 7292 appendix B.2, whose names are D, S, P, I, A and B.
fn derive<H: Digest + BlockSizeUser>(
    password: &[u8],
    salt: &[u8],
    iterations: u32,
    purpose: Purpose,
    length: usize,
    stop: &Stop,
) -> Result<Zeroizing<Vec<u8>>, PfxError> {
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
        iterate(iterations, stop, || hashed = H::digest(&hashed))?;
        let wanted = hashed.len().min(length - derived.len());
        derived.extend_from_slice(&hashed[..wanted]);
        if derived.len() == length {
            return Ok(derived);
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
    work: &mut Work<'_>,
) -> Result<Zeroizing<Vec<u8>>, PfxError> {
    let rounds = length.div_ceil(hash.size()) as u64;
    // HMAC hashes two blocks.
    work.spend(u64::from(iterations) * rounds * 2 * hash.cost())?;
    let derive = match hash {
        Hash::Sha1 => derive_by_hmac::<Hmac<Sha1>>,
        Hash::Sha224 => derive_by_hmac::<Hmac<Sha224>>,
        Hash::Sha256 => derive_by_hmac::<Hmac<Sha256>>,
        Hash::Sha384 => derive_by_hmac::<Hmac<Sha384>>,
        Hash::Sha512 => derive_by_hmac::<Hmac<Sha512>>,
    };
    let mut derived = Zeroizing::new(vec![0; length]);
    derive(salt, iterations, &mut derived, work.stop)?;
    Ok(derived)
}

/// RFC 8018 section 5.2, whose names are U and T. The library for it cannot be stopped.
fn derive_by_hmac<M: Mac + KeyInit + Clone>(
    salt: &[u8],
    iterations: u32,
    derived: &mut [u8],
    stop: &Stop,
) -> Result<(), PfxError> {
    let Ok(keyed) = <M as KeyInit>::new_from_slice(&[]) else {
        // HMAC takes a key of any length.
        return Err(PfxError::Integrity);
    };
    for (number, block) in (1_u32..).zip(derived.chunks_mut(M::output_size())) {
        let first = keyed.clone().chain_update(salt);
        let mut hashed = first.chain_update(number.to_be_bytes()).finalize();
        let mut sum = hashed.as_bytes().clone();
        iterate(iterations, stop, || {
            hashed = keyed.clone().chain_update(hashed.as_bytes()).finalize();
            for (byte, other) in sum.iter_mut().zip(hashed.as_bytes()) {
                *byte ^= other;
            }
        })?;
        let wanted = block.len();
        block.copy_from_slice(&sum[..wanted]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Bouncy Castle's and Botan's tests, whose passwords are not empty.
    #[test]
    fn known_answers_of_pkcs12() {
        let stop = Stop::default();
        let smeg = [0, b's', 0, b'm', 0, b'e', 0, b'g', 0, 0];
        let queeg = [0, b'q', 0, b'u', 0, b'e', 0, b'e', 0, b'g', 0, 0];
        let salt = [0x0a, 0x58, 0xcf, 0x64, 0x53, 0x0d, 0x82, 0x3f];
        let key = derive::<Sha1>(&smeg, &salt, 1, Purpose::Encryption, 24, &stop).unwrap();
        assert_eq!(
            *key,
            [
                0x8a, 0xaa, 0xe6, 0x29, 0x7b, 0x6c, 0xb0, 0x46, 0x42, 0xab, 0x5b, 0x07, 0x78, 0x51,
                0x28, 0x4e, 0xb7, 0x12, 0x8f, 0x1a, 0x2a, 0x7f, 0xbc, 0xa3
            ]
        );
        let iv = derive::<Sha1>(&smeg, &salt, 1, Purpose::InitialVector, 8, &stop).unwrap();
        assert_eq!(*iv, [0x79, 0x99, 0x3d, 0xfe, 0x04, 0x8d, 0x3b, 0x76]);

        let salt = [0x05, 0xde, 0xc9, 0x59, 0xac, 0xff, 0x72, 0xf7];
        let key = derive::<Sha1>(&queeg, &salt, 1000, Purpose::Encryption, 24, &stop).unwrap();
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
            let effort = Effort::default();
            let mut work = Work::new(&effort);
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
        let effort = Effort::default();
        let mut work = Work::limited_to(450, &effort);
        let mut derive = || pbkdf2(Hash::Sha256, b"", 100, 32, &mut work);
        assert!(derive().is_ok() && derive().is_ok());
        assert_eq!(derive(), Err(PfxError::TooMuchWork));
    }

    /// What OWASP recommends for passwords, for both the key and the certificates.
    #[test]
    fn recommended_iteration_counts_are_within_the_bound() {
        let effort = Effort::default();
        let mut work = Work::new(&effort);
        for blocks in [2 * 600_000, 2 * 600_000, 600_000] {
            assert_eq!(work.spend(blocks), Ok(()));
        }
    }

    #[test]
    fn the_files_of_a_mount_share_one_bound_too() {
        let effort = Effort::default();
        let file = || Work::new(&effort).spend(MAX_OF_FILE);
        for _ in 0..MAX_OF_MOUNT / MAX_OF_FILE {
            assert_eq!(file(), Ok(()));
        }
        assert_eq!(file(), Err(PfxError::TooMuchWorkTogether));
        // A thousand certificates as Key Vault makes them.
        let effort = Effort::default();
        for _ in 0..1000 {
            assert_eq!(Work::new(&effort).spend(2 * 14_000), Ok(()));
        }
    }

    #[test]
    fn a_derivation_ends_with_its_caller() {
        let effort = Effort::default();
        effort.stop.set();
        let mut work = Work::new(&effort);
        let derived = pbkdf2(Hash::Sha256, b"", STEP + 1, 32, &mut work);
        assert_eq!(derived, Err(PfxError::Stopped));
        let (password, purpose) = (Password::Null, Purpose::Integrity);
        let derived = pkcs12(Hash::Sha1, password, b"", STEP + 1, purpose, 20, &mut work);
        assert_eq!(derived, Err(PfxError::Stopped));
    }

    #[test]
    fn known_answers_of_pbkdf2() {
        let effort = Effort::default();
        for (hash, library) in [
            (
                Hash::Sha1,
                pbkdf2::pbkdf2_hmac::<Sha1> as fn(&[u8], &[u8], u32, &mut [u8]),
            ),
            (Hash::Sha224, pbkdf2::pbkdf2_hmac::<Sha224>),
            (Hash::Sha256, pbkdf2::pbkdf2_hmac::<Sha256>),
            (Hash::Sha384, pbkdf2::pbkdf2_hmac::<Sha384>),
            (Hash::Sha512, pbkdf2::pbkdf2_hmac::<Sha512>),
        ] {
            for (iterations, length) in [(1, 16), (2, 24), (17, 32), (5, 100)] {
                let mut expected = vec![0; length];
                library(b"", b"salt", iterations, &mut expected);
                let mut work = Work::new(&effort);
                let derived = super::pbkdf2(hash, b"salt", iterations, length, &mut work);
                assert_eq!(
                    *derived.unwrap(),
                    expected,
                    "{hash:?} {iterations} {length}"
                );
            }
        }
    }
}
