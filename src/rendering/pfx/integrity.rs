//! The integrity check of a PFX file (RFC 7292 section 4, `MacData`).
//!
//! Without a password it keeps nobody from changing a file, but it finds damage, tells a file that has
//! a password from one that has none, and which form of "no password" it was written with.

use hmac::Hmac;
use hmac::digest::KeyInit;
use sha1::Sha1;
use sha2::{Sha224, Sha256, Sha384, Sha512};

use super::PfxError;
use super::derivation::{Hash, Password, Purpose, Work, pkcs12};
use crate::rendering::asn1::{Element, INTEGER, Malformed, OBJECT_IDENTIFIER};

/// The first password with which the check of `message` succeeds.
pub(super) fn verify(
    mac_data: Element<'_>,
    message: &[u8],
    passwords: &[Password],
    work: &mut Work<'_>,
) -> Result<Password, PfxError> {
    let malformed = |_: Malformed| PfxError::Malformed {
        part: "integrity check",
    };
    let mut parts = mac_data.inside();
    let mut digest_info = parts.sequence().map_err(malformed)?;
    let salt = parts.octet_string().map_err(malformed)?;
    let iterations = match parts.optional(INTEGER).map_err(malformed)? {
        Some(iterations) => iterations.small_integer().map_err(malformed)?,
        None => 1,
    };
    let mut algorithm = digest_info.sequence().map_err(malformed)?;
    let oid = algorithm.expect(OBJECT_IDENTIFIER).map_err(malformed)?;
    let expected = digest_info.octet_string().map_err(malformed)?;

    let hash = Hash::from_digest(&oid).ok_or_else(|| PfxError::Algorithm {
        purpose: "integrity check",
        oid: oid.dotted(),
    })?;
    for password in passwords {
        let purpose = Purpose::Integrity;
        let key = pkcs12(
            hash,
            *password,
            &salt,
            iterations,
            purpose,
            hash.size(),
            work,
        )?;
        if matches(hash, &key, message, &expected) {
            return Ok(*password);
        }
    }
    Err(PfxError::Integrity)
}

fn matches(hash: Hash, key: &[u8], message: &[u8], expected: &[u8]) -> bool {
    fn check<M: hmac::Mac + KeyInit>(key: &[u8], message: &[u8], expected: &[u8]) -> bool {
        <M as KeyInit>::new_from_slice(key)
            .is_ok_and(|mac| mac.chain_update(message).verify_slice(expected).is_ok())
    }
    let check = match hash {
        Hash::Sha1 => check::<Hmac<Sha1>>,
        Hash::Sha224 => check::<Hmac<Sha224>>,
        Hash::Sha256 => check::<Hmac<Sha256>>,
        Hash::Sha384 => check::<Hmac<Sha384>>,
        Hash::Sha512 => check::<Hmac<Sha512>>,
    };
    check(key, message, expected)
}
