//! A Key Vault key's public half, as the file of an object of type `key`: a JSON Web Key (RFC 7518
//! section 6) becomes a `SubjectPublicKeyInfo` (RFC 5280 section 4.1.2.7) in PEM (RFC 7468 section 13).

use der::Encode as _;
use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, UintRef};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use super::curve::{Curve, UNCOMPRESSED};
use super::pem;
use crate::text::excerpt::Excerpt;
use crate::text::sensitive::Sensitive;

pub(super) const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
pub(super) const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

/// The public members of a key as Key Vault answers it, base64url already decoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JsonWebKey<'a> {
    /// `kty`, such as `RSA-HSM`.
    pub kty: Option<&'a str>,
    /// `crv`, such as `P-256`; of elliptic curve keys only.
    pub crv: Option<&'a str>,
    /// `n`, the modulus, big-endian; of RSA keys only.
    pub n: Option<&'a [u8]>,
    /// `e`, the public exponent, big-endian; of RSA keys only.
    pub e: Option<&'a [u8]>,
    /// `x`, the first coordinate, big-endian; of elliptic curve keys only.
    pub x: Option<&'a [u8]>,
    /// `y`, the second coordinate, big-endian; of elliptic curve keys only.
    pub y: Option<&'a [u8]>,
}

/// Why a key cannot be written as a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// A symmetric key (`oct`, `oct-HSM`) has no public half.
    #[error("a key of type {kty:?} is symmetric: it has no public key to write")]
    Symmetric {
        /// The key's `kty`.
        kty: String,
    },
    /// Neither RSA nor an elliptic curve that Key Vault documents.
    #[error(
        "keys of type {} are not supported: expected RSA, RSA-HSM, EC or EC-HSM",
        Excerpt(kty)
    )]
    KeyType {
        /// The key's `kty`.
        kty: String,
    },
    /// An elliptic curve key on a curve we do not know.
    #[error(
        "the curve {} is not supported: expected P-256, P-384, P-521 or P-256K",
        Excerpt(crv)
    )]
    Curve {
        /// The key's `crv`.
        crv: String,
    },
    /// Key Vault's answer lacks a member, or holds the number 0.
    #[error("Key Vault's answer lacks the member {member:?} of the key")]
    Missing {
        /// The member's name.
        member: &'static str,
    },
    /// A coordinate is longer than the curve's field.
    #[error("the key's member {member:?} has more bytes than the {expected} of its curve")]
    TooLong {
        /// The member's name.
        member: &'static str,
        /// The most bytes it may have.
        expected: usize,
    },
    /// The two coordinates belong to no point of the curve.
    #[error("the key's members \"x\" and \"y\" are no point on the curve {curve}")]
    NotOnCurve {
        /// The curve's name.
        curve: &'static str,
    },
    /// The key is beyond what DER can hold (256 MiB).
    #[error("the key is too large to be written")]
    TooLarge(#[from] der::Error),
}

/// Writes the key as PEM, `PUBLIC KEY`.
pub fn render(key: &JsonWebKey<'_>) -> Result<Sensitive, PublicKeyError> {
    let der = match required("kty", key.kty)? {
        "RSA" | "RSA-HSM" => rsa(key)?,
        "EC" | "EC-HSM" => elliptic_curve(key)?,
        kty @ ("oct" | "oct-HSM") => return Err(PublicKeyError::Symmetric { kty: kty.into() }),
        kty => return Err(PublicKeyError::KeyType { kty: kty.into() }),
    };
    Ok(pem::document("PUBLIC KEY", &der))
}

/// RFC 3279 section 2.3.1: the parameters are NULL, the key is PKCS#1's `RSAPublicKey`.
fn rsa(key: &JsonWebKey<'_>) -> Result<Vec<u8>, PublicKeyError> {
    let public_key = pkcs1::RsaPublicKeyRef {
        modulus: UintRef::new(number("n", key.n)?)?,
        public_exponent: UintRef::new(number("e", key.e)?)?,
    };
    subject_public_key_info(RSA, AnyRef::NULL, &public_key.to_der()?)
}

/// RFC 5480 section 2: the parameters are the curve's name, the key is the uncompressed point, whose
/// coordinates both have the size of the field whatever their value (SEC 1 section 2.3.5).
fn elliptic_curve(key: &JsonWebKey<'_>) -> Result<Vec<u8>, PublicKeyError> {
    let crv = required("crv", key.crv)?;
    let curve = Curve::from_name(crv).ok_or_else(|| PublicKeyError::Curve { crv: crv.into() })?;

    let mut point = vec![UNCOMPRESSED];
    for (member, value) in [("x", key.x), ("y", key.y)] {
        let value = without_leading_zeros(required(member, value)?);
        let padding = curve
            .size()
            .checked_sub(value.len())
            .ok_or(PublicKeyError::TooLong {
                member,
                expected: curve.size(),
            })?;
        point.resize(point.len() + padding, 0);
        point.extend_from_slice(value);
    }
    if curve.uncompressed(&point).is_none() {
        return Err(PublicKeyError::NotOnCurve {
            curve: curve.name(),
        });
    }

    let oid = curve.oid();
    subject_public_key_info(EC, AnyRef::from(&oid), &point)
}

fn subject_public_key_info(
    oid: ObjectIdentifier,
    parameters: AnyRef<'_>,
    public_key: &[u8],
) -> Result<Vec<u8>, PublicKeyError> {
    let info = SubjectPublicKeyInfoRef {
        algorithm: AlgorithmIdentifierRef {
            oid,
            parameters: Some(parameters),
        },
        subject_public_key: BitStringRef::from_bytes(public_key)?,
    };
    Ok(info.to_der()?)
}

fn required<T>(member: &'static str, value: Option<T>) -> Result<T, PublicKeyError> {
    value.ok_or(PublicKeyError::Missing { member })
}

/// A number that cannot be 0: an RSA key with modulus or exponent 0 is one that was not answered.
fn number<'a>(member: &'static str, value: Option<&'a [u8]>) -> Result<&'a [u8], PublicKeyError> {
    let digits = without_leading_zeros(required(member, value)?);
    if digits.is_empty() {
        Err(PublicKeyError::Missing { member })
    } else {
        Ok(digits)
    }
}

fn without_leading_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rendering::fixtures::{der, text};

    const FIXTURES: [(&str, &str); 5] = [
        ("p256", "P-256"),
        ("p256-zero", "P-256"),
        ("p384", "P-384"),
        ("p521", "P-521"),
        ("p256k", "P-256K"),
    ];

    /// The coordinates are the last bytes of what OpenSSL wrote.
    fn coordinates(name: &str, crv: &str) -> (Vec<u8>, Vec<u8>) {
        let size = Curve::from_name(crv).unwrap().size();
        let written = der(&format!("{name}.pub"));
        let (x, y) = written[written.len() - 2 * size..].split_at(size);
        (x.to_vec(), y.to_vec())
    }

    fn elliptic<'a>(crv: &'a str, x: &'a [u8], y: &'a [u8]) -> JsonWebKey<'a> {
        JsonWebKey {
            kty: Some("EC"),
            crv: Some(crv),
            x: Some(x),
            y: Some(y),
            ..JsonWebKey::default()
        }
    }

    #[test]
    fn elliptic_curve_keys_are_what_openssl_writes() {
        for (name, crv) in FIXTURES {
            let (x, y) = coordinates(name, crv);
            let long = [&[0, 0, 0], &x[..]].concat();
            for kty in ["EC", "EC-HSM"] {
                for x in [&x, &long, without_leading_zeros(&x)] {
                    let y = without_leading_zeros(&y);
                    let key = JsonWebKey {
                        kty: Some(kty),
                        ..elliptic(crv, x, y)
                    };
                    let rendered = render(&key).unwrap();
                    assert_eq!(
                        rendered.expose_str(),
                        Some(text(&format!("{name}.pub")).as_str())
                    );
                }
            }
        }
        assert_eq!(
            coordinates("p256-zero", "P-256").0[0],
            0,
            "the case that padding is for"
        );
    }

    #[test]
    fn rsa_keys_are_what_openssl_writes() {
        let spki = der("rsa.pub");
        // The modulus has its sign byte, 256 bytes, and the exponent 65537 after it.
        let (rest, e) = spki.split_at(spki.len() - 3);
        let n = &rest[rest.len() - 2 - 256..rest.len() - 2];
        for kty in ["RSA", "RSA-HSM"] {
            for zeros in [0, 1, 3] {
                let (n, e) = ([&vec![0; zeros], n].concat(), [&vec![0; zeros], e].concat());
                let key = JsonWebKey {
                    kty: Some(kty),
                    n: Some(&n),
                    e: Some(&e),
                    ..JsonWebKey::default()
                };
                assert_eq!(
                    render(&key).unwrap().expose_str(),
                    Some(text("rsa.pub").as_str())
                );
            }
        }
    }

    #[test]
    fn what_is_refused() {
        use PublicKeyError as Error;
        let (x, y) = coordinates("p256", "P-256");
        let of = |kty| JsonWebKey {
            kty: Some(kty),
            ..JsonWebKey::default()
        };
        let missing = |member| Error::Missing { member };
        let (long, off) = ([&[1], &x[..]].concat(), [&[0], &x[1..]].concat());
        let cases = [
            (JsonWebKey::default(), missing("kty")),
            (of("oct"), Error::Symmetric { kty: "oct".into() }),
            (
                of("oct-HSM"),
                Error::Symmetric {
                    kty: "oct-HSM".into(),
                },
            ),
            (of("OKP"), Error::KeyType { kty: "OKP".into() }),
            (of("rsa"), Error::KeyType { kty: "rsa".into() }),
            (of("RSA"), missing("n")),
            (
                JsonWebKey {
                    n: Some(&[0, 0]),
                    ..of("RSA")
                },
                missing("n"),
            ),
            (
                JsonWebKey {
                    n: Some(&[9]),
                    ..of("RSA")
                },
                missing("e"),
            ),
            (
                JsonWebKey {
                    n: Some(&[9]),
                    e: Some(&[]),
                    ..of("RSA")
                },
                missing("e"),
            ),
            (of("EC"), missing("crv")),
            (
                elliptic("Ed25519", &x, &y),
                Error::Curve {
                    crv: "Ed25519".into(),
                },
            ),
            (
                JsonWebKey {
                    crv: Some("P-256"),
                    ..of("EC-HSM")
                },
                missing("x"),
            ),
            (
                JsonWebKey {
                    y: None,
                    ..elliptic("P-256", &x, &y)
                },
                missing("y"),
            ),
            (
                elliptic("P-256", &long, &y),
                Error::TooLong {
                    member: "x",
                    expected: 32,
                },
            ),
            (
                elliptic("P-256", &x, &long),
                Error::TooLong {
                    member: "y",
                    expected: 32,
                },
            ),
            (
                elliptic("P-256", &off, &y),
                Error::NotOnCurve { curve: "P-256" },
            ),
            (
                elliptic("P-256K", &x, &y),
                Error::NotOnCurve { curve: "P-256K" },
            ),
        ];
        for (key, expected) in cases {
            assert_eq!(render(&key), Err(expected));
        }
    }

    proptest! {
        #[test]
        fn any_members_end_without_a_panic(
            kty in prop::sample::select(vec!["RSA", "EC", "oct"]),
            crv in prop::option::of(prop::sample::select(vec!["P-256", "P-384", "P-521", "P-256K"])),
            members in prop::array::uniform4(prop::option::of(prop::collection::vec(any::<u8>(), 0..70))),
        ) {
            let [n, e, x, y] = members.each_ref().map(Option::as_deref);
            let _ = render(&JsonWebKey { kty: Some(kty), crv, n, e, x, y });
        }
    }
}
