//! Key material: the kinds of keys that Key Vault makes, their public JSON Web Keys, and
//! certificates with their private keys as PFX or PEM.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::elliptic_curve::array::typenum::Unsigned as _;
use p256::elliptic_curve::sec1::{FromSec1Point, ModulusSize, ToSec1Point};
use p256::elliptic_curve::{AffinePoint, CurveArithmetic, FieldBytesSize, SecretKey};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::errors::VaultError;
use crate::identifier;

mod private_key_chain;
mod rsa;

pub(crate) use private_key_chain::{PEM, PKCS12, PrivateKeyChain};
pub(crate) use rsa::RsaKey;

/// A kind of key that Key Vault makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyType {
    /// RSA with 2,048 bits.
    #[default]
    #[serde(rename = "RSA-2048")]
    Rsa2048,
    /// RSA with 3,072 bits.
    #[serde(rename = "RSA-3072")]
    Rsa3072,
    /// RSA with 4,096 bits.
    #[serde(rename = "RSA-4096")]
    Rsa4096,
    /// NIST P-256.
    #[serde(rename = "P-256")]
    P256,
    /// NIST P-384.
    #[serde(rename = "P-384")]
    P384,
    /// NIST P-521.
    #[serde(rename = "P-521")]
    P521,
    /// secp256k1, which Key Vault calls P-256K.
    #[serde(rename = "P-256K")]
    P256K,
}

impl KeyType {
    /// Reads the `kty`, `key_size` and `crv` of a request or a policy.
    pub(crate) fn from_parameters(
        kty: &str,
        size: Option<u32>,
        curve: Option<&str>,
    ) -> Result<Self, VaultError> {
        match (kty, size, curve) {
            ("RSA" | "RSA-HSM", None | Some(2048), _) => Ok(Self::Rsa2048),
            ("RSA" | "RSA-HSM", Some(3072), _) => Ok(Self::Rsa3072),
            ("RSA" | "RSA-HSM", Some(4096), _) => Ok(Self::Rsa4096),
            ("EC" | "EC-HSM", _, None | Some("P-256")) => Ok(Self::P256),
            ("EC" | "EC-HSM", _, Some("P-384")) => Ok(Self::P384),
            ("EC" | "EC-HSM", _, Some("P-521")) => Ok(Self::P521),
            ("EC" | "EC-HSM", _, Some("P-256K")) => Ok(Self::P256K),
            ("RSA" | "RSA-HSM", Some(size), _) => Err(VaultError::bad_parameter(format!(
                "Property has invalid value: key_size {size}"
            ))),
            ("EC" | "EC-HSM", ..) => {
                Err(VaultError::bad_parameter("Property has invalid value: crv"))
            }
            _ => Err(VaultError::bad_parameter(format!(
                "Property has invalid value: kty {kty}"
            ))),
        }
    }

    /// RSA's modulus size; none for elliptic curves.
    pub(crate) fn rsa_bits(self) -> Option<u32> {
        match self {
            Self::Rsa2048 => Some(2048),
            Self::Rsa3072 => Some(3072),
            Self::Rsa4096 => Some(4096),
            _ => None,
        }
    }

    /// The curve's name; none for RSA.
    pub(crate) fn curve(self) -> Option<&'static str> {
        match self {
            Self::P256 => Some("P-256"),
            Self::P384 => Some("P-384"),
            Self::P521 => Some("P-521"),
            Self::P256K => Some("P-256K"),
            _ => None,
        }
    }
}

/// Makes a key and forgets its private half, which nothing here would use.
pub(crate) fn generate_public(kind: KeyType) -> Map<String, Value> {
    match kind {
        KeyType::Rsa2048 => RsaKey::generate(2048).jwk(),
        KeyType::Rsa3072 => RsaKey::generate(3072).jwk(),
        KeyType::Rsa4096 => RsaKey::generate(4096).jwk(),
        KeyType::P256 => ec_jwk("P-256", &generate_point::<p256::NistP256>()),
        KeyType::P384 => ec_jwk("P-384", &generate_point::<p384::NistP384>()),
        KeyType::P521 => ec_jwk("P-521", &generate_point::<p521::NistP521>()),
        KeyType::P256K => ec_jwk("P-256K", &generate_point::<k256::Secp256k1>()),
    }
}

/// The x and y of a fresh public key, each as long as the field.
fn generate_point<C>() -> Vec<u8>
where
    C: CurveArithmetic,
    FieldBytesSize<C>: ModulusSize,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
{
    loop {
        // P-521's scalars have 66 bytes of which the first is 0 or 1.
        let mut scalar = identifier::random::<66>();
        scalar[0] &= 1;
        let size = FieldBytesSize::<C>::USIZE;
        let scalar = &scalar[usize::from(size < scalar.len())..][..size];
        // Zero and what is not below the curve's order are refused, which is rare.
        if let Ok(secret) = SecretKey::<C>::from_slice(scalar) {
            return secret.public_key().to_sec1_point(false).as_bytes()[1..].to_vec();
        }
    }
}

/// The public JSON Web Key of a certificate.
pub(crate) fn jwk_of(spki: &SubjectPublicKeyInfo<'_>) -> Result<Map<String, Value>, VaultError> {
    let unsupported = || VaultError::bad_parameter("The certificate's key type is not supported.");
    match spki.parsed().map_err(|_| unsupported())? {
        PublicKey::RSA(key) => Ok(rsa_jwk(
            without_leading_zeros(key.modulus),
            without_leading_zeros(key.exponent),
        )),
        PublicKey::EC(point) => {
            let curve = spki
                .algorithm
                .parameters
                .as_ref()
                .and_then(|parameters| parameters.as_oid().ok())
                .map(|oid| oid.to_id_string());
            let curve = match curve.as_deref() {
                Some("1.2.840.10045.3.1.7") => "P-256",
                Some("1.3.132.0.34") => "P-384",
                Some("1.3.132.0.35") => "P-521",
                Some("1.3.132.0.10") => "P-256K",
                _ => return Err(unsupported()),
            };
            match point.data() {
                [4, coordinates @ ..] => Ok(ec_jwk(curve, coordinates)),
                _ => Err(unsupported()),
            }
        }
        _ => Err(unsupported()),
    }
}

fn without_leading_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    &bytes[zeros..]
}

pub(crate) fn rsa_jwk(modulus: &[u8], exponent: &[u8]) -> Map<String, Value> {
    members([
        ("kty", "RSA".into()),
        ("key_ops", operations(true)),
        ("n", URL_SAFE_NO_PAD.encode(modulus).into()),
        ("e", URL_SAFE_NO_PAD.encode(exponent).into()),
    ])
}

fn ec_jwk(curve: &str, coordinates: &[u8]) -> Map<String, Value> {
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    members([
        ("kty", "EC".into()),
        ("key_ops", operations(false)),
        ("crv", curve.into()),
        ("x", URL_SAFE_NO_PAD.encode(x).into()),
        ("y", URL_SAFE_NO_PAD.encode(y).into()),
    ])
}

fn members<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    members
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
}

/// The `key_ops` of a new key.
pub(crate) fn operations(rsa: bool) -> Value {
    if rsa {
        [
            "encrypt",
            "decrypt",
            "sign",
            "verify",
            "wrapKey",
            "unwrapKey",
        ][..]
            .into()
    } else {
        ["sign", "verify"][..].into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_have_the_lengths_of_their_kinds() {
        let cases = [
            (KeyType::Rsa2048, "n", 256),
            (KeyType::Rsa3072, "n", 384),
            (KeyType::Rsa4096, "n", 512),
            (KeyType::P256, "x", 32),
            (KeyType::P384, "y", 48),
            (KeyType::P521, "x", 66),
            (KeyType::P256K, "y", 32),
        ];
        for (kind, member, length) in cases {
            let jwk = generate_public(kind);
            let bytes = URL_SAFE_NO_PAD
                .decode(jwk[member].as_str().unwrap())
                .unwrap();
            assert_eq!(bytes.len(), length, "{kind:?}");
            // Two RSA keys may be of the same pair of primes: the pool is small.
            let differs = (0..16).any(|_| generate_public(kind) != jwk);
            assert!(differs, "{kind:?}");
        }
    }

    #[test]
    fn parameters() {
        let cases = [
            ("RSA", None, None, Some(KeyType::Rsa2048)),
            ("RSA-HSM", Some(4096), None, Some(KeyType::Rsa4096)),
            ("RSA", Some(1024), None, None),
            ("EC", None, None, Some(KeyType::P256)),
            ("EC", None, Some("P-256K"), Some(KeyType::P256K)),
            ("EC", None, Some("P-192"), None),
            ("oct", None, None, None),
        ];
        for (kty, size, curve, expected) in cases {
            assert_eq!(
                KeyType::from_parameters(kty, size, curve).ok(),
                expected,
                "{kty} {size:?}"
            );
        }
    }
}
