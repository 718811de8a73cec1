//! Private keys: whatever form they were stored in (PKCS#8, PKCS#1, SEC 1), they are served as PKCS#8
//! (RFC 5208), encoded as the Go provider's `x509.MarshalPKCS8PrivateKey` does, so that a file does
//! not change when one provider replaces the other:
//!
//! - no attributes (Windows adds a key usage);
//! - an RSA key's algorithm has NULL parameters;
//! - an elliptic curve key (RFC 5915) names its curve in the algorithm and not once more inside, has
//!   the size of the curve's order, and carries its public key even when it was stored without.
//!
//! Keys of other kinds (Ed25519, explicitly given curves) are passed on as they are.

use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{Decode as _, Encode as _};
use pkcs8::PrivateKeyInfoRef;
use spki::AlgorithmIdentifierRef;
use zeroize::Zeroizing;

use super::asn1::{INTEGER, Malformed, OBJECT_IDENTIFIER, OCTET_STRING, Reader, context};
use super::curve::Curve;
use super::public_key::{EC, RSA};

/// An RSA key restricted to PSS signatures (RFC 4055 section 1.2); the key inside is an RSA key.
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");

/// A private key ready to be served.
pub(super) struct PrivateKey {
    /// The key as PKCS#8 in DER.
    pub(super) pkcs8: Zeroizing<Vec<u8>>,
    /// Its public half as a certificate's `subjectPublicKey` has it, where we can tell.
    pub(super) public_key: Option<Vec<u8>>,
}

impl PrivateKey {
    /// Reads a key in any of the three forms. PKCS#8 comes first: a version, then a SEQUENCE, which
    /// neither of the others has.
    pub(super) fn from_any(der: &[u8]) -> Result<Self, Malformed> {
        Self::from_pkcs8(der)
            .or_else(|_| Self::from_pkcs1(der))
            .or_else(|_| Self::from_sec1(der))
    }

    /// Reads RFC 5208's `PrivateKeyInfo` and its successor, RFC 5958's `OneAsymmetricKey`.
    pub(super) fn from_pkcs8(der: &[u8]) -> Result<Self, Malformed> {
        let mut info = Reader::new(der).sequence()?;
        info.expect(INTEGER)?;
        let mut algorithm = info.sequence()?;
        let oid = algorithm.expect(OBJECT_IDENTIFIER)?;
        let parameters = algorithm.next()?;
        let key = info.octet_string()?;

        if oid.is(RSA) {
            return Self::from_pkcs1(&key);
        }
        if oid.is(EC) {
            let named = parameters.filter(|parameters| parameters.tag == OBJECT_IDENTIFIER);
            if let Some(curve) = named.and_then(|named| Curve::from_oid(named.contents)) {
                return elliptic_curve(curve, &key);
            }
        }
        let public_key = if oid.is(RSA_PSS) {
            rsa_public_key(&key).ok()
        } else {
            None
        };
        Ok(Self {
            pkcs8: Zeroizing::new(der.to_vec()),
            public_key,
        })
    }

    /// Reads RFC 8017 appendix A.1.2's `RSAPrivateKey`.
    pub(super) fn from_pkcs1(der: &[u8]) -> Result<Self, Malformed> {
        let public_key = rsa_public_key(der)?;
        let pkcs8 = wrap(RSA, AnyRef::NULL, der)?;
        Ok(Self {
            pkcs8,
            public_key: Some(public_key),
        })
    }

    /// Reads RFC 5915's `ECPrivateKey`, which must name its curve.
    pub(super) fn from_sec1(der: &[u8]) -> Result<Self, Malformed> {
        let mut key = Reader::new(der).sequence()?;
        key.expect(INTEGER)?;
        key.expect(OCTET_STRING)?;
        let curve = key.expect(context(0))?.inside().expect(OBJECT_IDENTIFIER)?;
        elliptic_curve(Curve::from_oid(curve.contents).ok_or(Malformed)?, der)
    }
}

/// The `RSAPublicKey` of an `RSAPrivateKey`. Reading all of the key is what tells a damaged one.
fn rsa_public_key(pkcs1: &[u8]) -> Result<Vec<u8>, Malformed> {
    let key = pkcs1::RsaPrivateKeyRef::from_der(pkcs1).map_err(|_| Malformed)?;
    key.public_key().to_der().map_err(|_| Malformed)
}

/// Encodes an `ECPrivateKey` anew. The public key is computed, as Go does, and not taken from the
/// input, where it is optional and need not be true.
fn elliptic_curve(curve: Curve, sec1: &[u8]) -> Result<PrivateKey, Malformed> {
    let mut key = Reader::new(sec1).sequence()?;
    if key.expect(INTEGER)?.small_integer()? != 1 {
        return Err(Malformed);
    }
    let stored = key.octet_string()?;
    // Some programs write the number without its leading zeros, or with too many.
    let zeros = stored.iter().take_while(|byte| **byte == 0).count();
    let digits = &stored[zeros..];
    let padding = curve.size().checked_sub(digits.len()).ok_or(Malformed)?;
    let mut private_key = Zeroizing::new(vec![0; curve.size()]);
    private_key[padding..].copy_from_slice(digits);

    let public_key = curve.public_point(&private_key).ok_or(Malformed)?;
    let sec1 = sec1::EcPrivateKey {
        private_key: &private_key,
        parameters: None,
        public_key: Some(&public_key),
    };
    let sec1 = Zeroizing::new(sec1.to_der().map_err(|_| Malformed)?);
    let oid = curve.oid();
    Ok(PrivateKey {
        pkcs8: wrap(EC, AnyRef::from(&oid), &sec1)?,
        public_key: Some(public_key),
    })
}

/// Puts a key into a `PrivateKeyInfo` of version 0 without attributes.
fn wrap(
    oid: ObjectIdentifier,
    parameters: AnyRef<'_>,
    key: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Malformed> {
    let key = <&OctetStringRef>::try_from(key).map_err(|_| Malformed)?;
    let algorithm = AlgorithmIdentifierRef {
        oid,
        parameters: Some(parameters),
    };
    let der = PrivateKeyInfoRef::new(algorithm, key)
        .to_der()
        .map_err(|_| Malformed)?;
    Ok(Zeroizing::new(der))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rendering::asn1::SEQUENCE;
    use crate::rendering::fixtures::{der, element, oid};

    #[test]
    fn openssl_and_we_write_the_same_pkcs8() {
        for name in ["rsa", "p256", "p256-zero", "p384", "p521", "p256k"] {
            let stored = der(&format!("{name}.key"));
            for key in [
                PrivateKey::from_pkcs8(&stored),
                PrivateKey::from_any(&stored),
            ] {
                let key = key.unwrap();
                assert_eq!(*key.pkcs8, stored, "{name}");
                let written = der(&format!("{name}.pub"));
                assert!(written.ends_with(&key.public_key.unwrap()), "{name}");
            }
        }
    }

    #[test]
    fn older_forms_become_pkcs8() {
        let rsa = PrivateKey::from_pkcs1(&der("rsa-pkcs1.key")).unwrap();
        assert_eq!(*rsa.pkcs8, der("rsa.key"));
        let p256 = PrivateKey::from_sec1(&der("p256-sec1.key")).unwrap();
        assert_eq!(*p256.pkcs8, der("p256.key"));
        for (older, name) in [("rsa-pkcs1.key", "rsa.key"), ("p256-sec1.key", "p256.key")] {
            assert_eq!(*PrivateKey::from_any(&der(older)).unwrap().pkcs8, der(name));
        }
    }

    fn pkcs8(algorithm: &[&[u8]], key: &[u8], after: &[u8]) -> Vec<u8> {
        let version = element(INTEGER, &[&[0]]);
        let algorithm = element(SEQUENCE, algorithm);
        element(
            SEQUENCE,
            &[&version, &algorithm, &element(OCTET_STRING, &[key]), after],
        )
    }

    /// An `ECPrivateKey` of version 1.
    fn sec1(number: &[u8], after: &[u8]) -> Vec<u8> {
        let version = element(INTEGER, &[&[1]]);
        element(
            SEQUENCE,
            &[&version, &element(OCTET_STRING, &[number]), after],
        )
    }

    #[test]
    fn everything_but_the_key_is_dropped() {
        let attributes = element(context(0), &[&element(SEQUENCE, &[&oid("2.5.29.15")])]);
        let rsa = pkcs8(
            &[&oid("1.2.840.113549.1.1.1")],
            &der("rsa-pkcs1.key"),
            &attributes,
        );
        assert_eq!(*PrivateKey::from_pkcs8(&rsa).unwrap().pkcs8, der("rsa.key"));

        let named = [oid("1.2.840.10045.2.1"), oid("1.2.840.10045.3.1.7")];
        let named: Vec<&[u8]> = named.iter().map(Vec::as_slice).collect();
        let p256 = pkcs8(&named, &der("p256-sec1.key"), &attributes);
        assert_eq!(
            *PrivateKey::from_pkcs8(&p256).unwrap().pkcs8,
            der("p256.key")
        );
    }

    #[test]
    fn a_number_of_any_length_gets_the_length_of_its_curve() {
        let named = [oid("1.2.840.10045.2.1"), oid("1.2.840.10045.3.1.7")];
        let named: Vec<&[u8]> = named.iter().map(Vec::as_slice).collect();
        let long = [&[0; 40], &[7][..]].concat();
        let written = [&[7][..], &long].map(|number| {
            PrivateKey::from_pkcs8(&pkcs8(&named, &sec1(number, &[]), &[]))
                .unwrap()
                .pkcs8
        });
        assert_eq!(written[0], written[1]);
        assert_eq!(written[0].len(), der("p256.key").len());
        for refused in [&[0][..], &[1; 33], &[0xff; 32]] {
            assert!(PrivateKey::from_pkcs8(&pkcs8(&named, &sec1(refused, &[]), &[])).is_err());
        }
    }

    #[test]
    fn keys_of_other_kinds_are_passed_on() {
        let ed25519 = pkcs8(
            &[&oid("1.3.101.112")],
            &element(OCTET_STRING, &[&[7; 32]]),
            &[],
        );
        let brainpool = [oid("1.2.840.10045.2.1"), oid("1.3.36.3.3.2.8.1.1.7")];
        let brainpool: Vec<&[u8]> = brainpool.iter().map(Vec::as_slice).collect();
        for stored in [ed25519, pkcs8(&brainpool, &sec1(&[7; 32], &[]), &[])] {
            let key = PrivateKey::from_any(&stored).unwrap();
            assert_eq!((&*key.pkcs8, key.public_key), (&stored, None));
        }
        let pss = pkcs8(&[&oid("1.2.840.113549.1.1.10")], &der("rsa-pkcs1.key"), &[]);
        let key = PrivateKey::from_any(&pss).unwrap();
        assert_eq!(*key.pkcs8, pss);
        assert!(der("rsa.pub").ends_with(&key.public_key.unwrap()));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let certificate = der("p256.crt");
        let rsa_without_key = pkcs8(&[&oid("1.2.840.113549.1.1.1")], b"", b"");
        let no_curve = sec1(&[7; 32], &[]);
        for stored in [
            &certificate[..],
            &rsa_without_key,
            &no_curve,
            b"",
            b"\x30\x80",
        ] {
            assert!(PrivateKey::from_any(stored).is_err());
        }
    }

    proptest! {
        #[test]
        fn damaged_keys_end_without_a_panic(
            name in prop::sample::select(vec!["rsa", "p256", "p384", "p521", "p256k", "p256-sec1"]),
            place in any::<prop::sample::Index>(),
            bit in 0_u8..8,
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = der(&format!("{name}.key"));
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
            let _ = PrivateKey::from_any(&bytes);
            let _ = PrivateKey::from_any(&bytes[..cut.index(bytes.len())]);
        }
    }
}
