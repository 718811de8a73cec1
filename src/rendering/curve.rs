//! The elliptic curves that Key Vault has keys on: their names, their sizes, and the little arithmetic
//! that is needed to tell which certificate a private key belongs to.

use der::asn1::ObjectIdentifier;
use p256::elliptic_curve::sec1::{FromSec1Point, ModulusSize, Sec1Point, ToSec1Point};
use p256::elliptic_curve::{AffinePoint, CurveArithmetic, FieldBytesSize, PublicKey, SecretKey};

/// The first byte of a point of which both coordinates are given (SEC 1 section 2.3.3).
pub(super) const UNCOMPRESSED: u8 = 4;

/// A curve by the names of SEC 2, RFC 5480 section 2.1.1.1, and Key Vault's documentation of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    /// `P-256`, `secp256r1`.
    P256,
    /// `P-384`, `secp384r1`.
    P384,
    /// `P-521`, `secp521r1`.
    P521,
    /// `P-256K`, `secp256k1`.
    P256K,
}

impl Curve {
    const ALL: [Self; 4] = [Self::P256, Self::P384, Self::P521, Self::P256K];

    /// The name that Key Vault gives the curve in a JSON Web Key.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
            Self::P256K => "P-256K",
        }
    }

    /// The curve of that name.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|curve| curve.name() == name)
    }

    /// The object identifier that stands for the curve in PKCS#8, SEC 1 and X.509.
    pub(super) const fn oid(self) -> ObjectIdentifier {
        ObjectIdentifier::new_unwrap(match self {
            Self::P256 => "1.2.840.10045.3.1.7",
            Self::P384 => "1.3.132.0.34",
            Self::P521 => "1.3.132.0.35",
            Self::P256K => "1.3.132.0.10",
        })
    }

    /// The curve of that object identifier, given without tag and length.
    pub(super) fn from_oid(oid: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|curve| curve.oid().as_bytes() == oid)
    }

    /// The bytes of a coordinate, which for these curves are those of a private key as well.
    pub(super) const fn size(self) -> usize {
        match self {
            Self::P256 | Self::P256K => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// The public key, as an uncompressed point, of a private key of [`Curve::size`] bytes. Nothing
    /// when the number is 0 or not below the curve's order.
    pub(super) fn public_point(self, private_key: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::P256 => public_point::<p256::NistP256>(private_key),
            Self::P384 => public_point::<p384::NistP384>(private_key),
            Self::P521 => public_point::<p521::NistP521>(private_key),
            Self::P256K => public_point::<k256::Secp256k1>(private_key),
        }
    }

    /// The uncompressed form of a point, compressed or not. Nothing when it is not on the curve.
    pub(super) fn uncompressed(self, point: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::P256 => uncompressed::<p256::NistP256>(point),
            Self::P384 => uncompressed::<p384::NistP384>(point),
            Self::P521 => uncompressed::<p521::NistP521>(point),
            Self::P256K => uncompressed::<k256::Secp256k1>(point),
        }
    }
}

fn public_point<C>(private_key: &[u8]) -> Option<Vec<u8>>
where
    C: CurveArithmetic,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
    FieldBytesSize<C>: ModulusSize,
{
    // Overwrites its copy of the private key when dropped.
    let key = SecretKey::<C>::from_slice(private_key).ok()?;
    Some(key.public_key().to_sec1_point(false).as_bytes().to_vec())
}

fn uncompressed<C>(point: &[u8]) -> Option<Vec<u8>>
where
    C: CurveArithmetic,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
    FieldBytesSize<C>: ModulusSize,
{
    let key = PublicKey::<C>::from_sec1_bytes(point).ok()?;
    let point: Sec1Point<C> = key.to_sec1_point(false);
    Some(point.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The private key 1 belongs to the curve's base point, of which SEC 2 lists the coordinates.
    #[test]
    fn the_base_point_is_the_public_key_of_one() {
        let starts = [
            (Curve::P256, [0x6b, 0x17, 0xd1, 0xf2]),
            (Curve::P384, [0xaa, 0x87, 0xca, 0x22]),
            (Curve::P521, [0x00, 0xc6, 0x85, 0x8e]),
            (Curve::P256K, [0x79, 0xbe, 0x66, 0x7e]),
        ];
        for (curve, start) in starts {
            let mut one = vec![0; curve.size()];
            one[curve.size() - 1] = 1;
            let point = curve.public_point(&one).unwrap();
            assert_eq!(point.len(), 1 + 2 * curve.size());
            assert_eq!(
                (point[0], &point[1..5]),
                (UNCOMPRESSED, &start[..]),
                "{curve:?}"
            );
            assert_eq!(curve.uncompressed(&point).as_ref(), Some(&point));

            let mut compressed = vec![2 + (point[point.len() - 1] & 1)];
            compressed.extend_from_slice(&point[1..=curve.size()]);
            assert_eq!(curve.uncompressed(&compressed), Some(point));
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for curve in Curve::ALL {
            assert_eq!(curve.public_point(&vec![0; curve.size()]), None);
            assert_eq!(curve.public_point(&vec![0xff; curve.size()]), None);
            assert_eq!(curve.public_point(&[]), None);
            let mut point = vec![1; 1 + 2 * curve.size()];
            point[0] = UNCOMPRESSED;
            assert_eq!(curve.uncompressed(&point), None);
            // The point at infinity.
            assert_eq!(curve.uncompressed(&[0]), None);
        }
    }

    #[test]
    fn names_and_identifiers_lead_back() {
        for curve in Curve::ALL {
            assert_eq!(Curve::from_name(curve.name()), Some(curve));
            assert_eq!(Curve::from_oid(curve.oid().as_bytes()), Some(curve));
        }
        assert_eq!(Curve::from_name("p-256"), None);
    }
}
