//! What the order of a chain depends on, read from a certificate (RFC 5280 section 4.1).
//!
//! Only the few fields that are needed are read, and nothing is validated: a certificate that a strict
//! reader refuses (a long serial number, a wrong time) is one that the vault holds and the pod asked
//! for.

use std::cmp::Reverse;

use der::asn1::ObjectIdentifier;

use super::asn1::{
    BOOLEAN, GENERALIZED_TIME, INTEGER, Malformed, OBJECT_IDENTIFIER, OCTET_STRING, Reader,
    SEQUENCE, UTC_TIME, context, context_primitive,
};
use super::curve::Curve;
use super::public_key::EC;
use crate::text::excerpt::one_line;

/// RFC 5280 section 4.2.1.2.
const SUBJECT_KEY_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
/// RFC 5280 section 4.2.1.1.
const AUTHORITY_KEY_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");

/// The parts of a name that are shown (RFC 5280 section 4.1.2.4).
const NAME_PARTS: [(ObjectIdentifier, &str); 3] = [
    (ObjectIdentifier::new_unwrap("2.5.4.3"), "CN"),
    (ObjectIdentifier::new_unwrap("2.5.4.11"), "OU"),
    (ObjectIdentifier::new_unwrap("2.5.4.10"), "O"),
];
/// The most of them.
const MAX_NAME_PARTS: usize = 4;
/// The most characters of a name.
const MAX_NAME: usize = 150;

/// A certificate's place among others.
pub(super) struct Certificate<'a> {
    /// All of it, as stored.
    pub(super) der: &'a [u8],
    subject: &'a [u8],
    issuer: &'a [u8],
    subject_key_id: Option<&'a [u8]>,
    authority_key_id: Option<&'a [u8]>,
    public_key: Vec<u8>,
    not_after: Vec<u8>,
}

/// How sure it is that one certificate issued another; the smaller, the surer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Evidence {
    /// The names and the key identifiers are equal.
    NameAndKey,
    /// The key identifiers are equal, the names are not: they may be the same name encoded in two
    /// ways. The Go provider looks at the key identifiers only.
    Key,
    /// The names are equal, and one of the two has no key identifier.
    Name,
}

impl<'a> Certificate<'a> {
    /// Reads the fields of one certificate.
    pub(super) fn read(der: &'a [u8]) -> Result<Self, Malformed> {
        let certificate = Reader::new(der).expect(SEQUENCE)?;
        if certificate.encoded.len() != der.len() {
            return Err(Malformed);
        }
        let mut fields = certificate.inside().sequence()?;
        fields.optional(context(0))?; // version
        fields.expect(INTEGER)?; // serial number
        fields.expect(SEQUENCE)?; // signature algorithm
        let issuer = fields.expect(SEQUENCE)?.encoded;
        let mut validity = fields.sequence()?;
        let subject = fields.expect(SEQUENCE)?.encoded;
        let public_key = subject_public_key(fields.sequence()?)?;

        let mut certificate = Self {
            der,
            subject,
            issuer,
            subject_key_id: None,
            authority_key_id: None,
            public_key,
            not_after: Vec::new(),
        };
        validity.any()?; // not before
        certificate.not_after = comparable_time(&mut validity)?;
        while let Some(field) = fields.next()? {
            if field.tag == context(3) {
                certificate.read_extensions(field.inside().sequence()?)?;
            }
        }
        Ok(certificate)
    }

    fn read_extensions(&mut self, mut extensions: Reader<'a>) -> Result<(), Malformed> {
        while let Some(extension) = extensions.next()? {
            let mut parts = extension.inside();
            let oid = parts.expect(OBJECT_IDENTIFIER)?;
            parts.optional(BOOLEAN)?; // critical
            let value = parts.expect(OCTET_STRING)?;
            // An identifier that cannot be read is none: the names remain.
            if oid.is(SUBJECT_KEY_IDENTIFIER) {
                let key_id = value.inside().expect(OCTET_STRING).ok();
                self.subject_key_id = key_id.map(|key_id| key_id.contents);
            } else if oid.is(AUTHORITY_KEY_IDENTIFIER) {
                let key_id = value.inside().sequence();
                let key_id = key_id.and_then(|mut ids| ids.optional(context_primitive(0)));
                self.authority_key_id = key_id.ok().flatten().map(|key_id| key_id.contents);
            }
        }
        Ok(())
    }

    /// Its subject, for a message.
    pub(super) fn subject_name(&self) -> String {
        name(self.subject)
    }

    /// Its issuer, for a message.
    pub(super) fn issuer_name(&self) -> String {
        name(self.issuer)
    }

    /// Whether this is the certificate of a private key, given the key's public half.
    pub(super) fn certifies(&self, public_key: &[u8]) -> bool {
        self.public_key == public_key
    }

    /// Whether it names itself as its issuer. A certificate for the same name by another key (a
    /// cross-signed root, a root's renewed key) does not.
    pub(super) fn is_self_signed(&self) -> bool {
        self.subject == self.issuer
            && match (self.authority_key_id, self.subject_key_id) {
                (Some(authority), Some(subject)) => authority == subject,
                _ => true,
            }
    }

    /// Whether `issuer` may have issued this certificate. Signatures are not verified: whoever uses
    /// the file does that, and a chain in a doubtful order serves better than none.
    pub(super) fn issued_by(&self, issuer: &Self) -> Option<Evidence> {
        let names = self.issuer == issuer.subject;
        match (self.authority_key_id, issuer.subject_key_id) {
            (Some(authority), Some(subject)) if authority == subject => Some(if names {
                Evidence::NameAndKey
            } else {
                Evidence::Key
            }),
            (Some(_), Some(_)) => None,
            _ => names.then_some(Evidence::Name),
        }
    }

    /// What decides between certificates that would do equally well: one that another issued, then
    /// the one that is valid for longer, then any fixed order.
    pub(super) fn preference(&self) -> impl Ord + '_ {
        (self.is_self_signed(), Reverse(&self.not_after), self.der)
    }
}

/// What people know a name by, such as `CN=Example CA, O=Example`. A name that cannot be read is nobody's.
fn name(der: &[u8]) -> String {
    let mut parts = Vec::new();
    // A name that stops making sense is known by what comes before.
    _ = read_name(der, &mut parts);
    if parts.is_empty() {
        return "a name without CN, OU and O".to_owned();
    }
    one_line(&parts.join(", "), MAX_NAME)
}

/// RFC 5280 section 4.1.2.4: a sequence of sets of pairs.
fn read_name(der: &[u8], parts: &mut Vec<String>) -> Result<(), Malformed> {
    let mut sets = Reader::new(der).sequence()?;
    while let Some(set) = sets.next()? {
        let mut pairs = set.inside();
        while let Some(pair) = pairs.next()? {
            let mut pair = pair.inside();
            let kind = pair.expect(OBJECT_IDENTIFIER)?;
            let value = String::from_utf8_lossy(pair.any()?.contents).into_owned();
            for (oid, short) in NAME_PARTS {
                if kind.is(oid) && parts.len() < MAX_NAME_PARTS {
                    parts.push(format!("{short}={value}"));
                }
            }
        }
    }
    // The most telling part is written last.
    parts.reverse();
    Ok(())
}

/// The key of a `SubjectPublicKeyInfo`, a compressed point decompressed, so that equal keys are equal
/// bytes.
fn subject_public_key(mut info: Reader<'_>) -> Result<Vec<u8>, Malformed> {
    let mut algorithm = info.sequence()?;
    let is_elliptic_curve = algorithm.expect(OBJECT_IDENTIFIER)?.is(EC);
    let curve = algorithm
        .next()?
        .and_then(|curve| Curve::from_oid(curve.contents));
    let key = info.any()?.bits()?;
    let decompressed = match curve {
        Some(curve) if is_elliptic_curve && matches!(key.first(), Some(2 | 3)) => {
            curve.uncompressed(key)
        }
        _ => None,
    };
    Ok(decompressed.unwrap_or_else(|| key.to_vec()))
}

/// A time in a form that sorts: a two-digit year gets its century (RFC 5280 section 4.1.2.5.1).
fn comparable_time(validity: &mut Reader<'_>) -> Result<Vec<u8>, Malformed> {
    let time = validity.any()?;
    match time.tag {
        GENERALIZED_TIME => Ok(time.contents.to_vec()),
        UTC_TIME => {
            let century: &[u8] = if time.contents < b"50".as_slice() {
                b"20"
            } else {
                b"19"
            };
            Ok([century, time.contents].concat())
        }
        _ => Err(Malformed),
    }
}

#[cfg(test)]
impl<'a> Certificate<'a> {
    /// A certificate of any description, for tests of their order.
    pub(super) fn described(
        der: &'a [u8],
        [subject, issuer]: [&'a [u8]; 2],
        [subject_key_id, authority_key_id]: [Option<&'a [u8]>; 2],
        public_key: &[u8],
        not_after: &[u8],
    ) -> Self {
        let (public_key, not_after) = (public_key.to_vec(), not_after.to_vec());
        Self {
            der,
            subject,
            issuer,
            subject_key_id,
            authority_key_id,
            public_key,
            not_after,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rendering::fixtures::{der, names};
    use crate::rendering::private_key::PrivateKey;

    #[test]
    fn a_certificate_belongs_to_its_own_key_only() {
        let keys = ["rsa", "p256", "p384", "p521", "p256k"];
        for certificate_name in keys {
            let stored = der(&format!("{certificate_name}.crt"));
            let certificate = Certificate::read(&stored).unwrap();
            for key_name in keys {
                let key = PrivateKey::from_pkcs8(&der(&format!("{key_name}.key"))).unwrap();
                let belongs = certificate.certifies(&key.public_key.unwrap());
                assert_eq!(
                    belongs,
                    certificate_name == key_name,
                    "{certificate_name} {key_name}"
                );
            }
        }
    }

    #[test]
    fn who_issued_whom() {
        let names = [
            "p256",
            "issuing",
            "root",
            "cross",
            "other-root",
            "plain",
            "plain-issuing",
        ];
        let stored = names.map(|name| der(&format!("{name}.crt")));
        let certificates: Vec<_> = stored
            .iter()
            .map(|der| Certificate::read(der).unwrap())
            .collect();
        let evidence = |child: &str, issuer: &str| {
            let at = |wanted| names.iter().position(|name| *name == wanted).unwrap();
            certificates[at(child)].issued_by(&certificates[at(issuer)])
        };
        assert_eq!(evidence("p256", "issuing"), Some(Evidence::NameAndKey));
        assert_eq!(evidence("issuing", "root"), Some(Evidence::NameAndKey));
        assert_eq!(evidence("issuing", "cross"), Some(Evidence::NameAndKey));
        assert_eq!(evidence("cross", "other-root"), Some(Evidence::NameAndKey));
        assert_eq!(evidence("plain", "plain-issuing"), Some(Evidence::Name));
        assert_eq!(evidence("p256", "root"), None);
        assert_eq!(evidence("plain", "issuing"), None);

        let self_signed = certificates.iter().map(Certificate::is_self_signed);
        let expected = [false, false, true, false, true, false, false];
        assert_eq!(self_signed.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn times_of_both_kinds_compare() {
        let time = |tag: u8, text: &str| {
            let mut bytes = vec![tag, u8::try_from(text.len()).unwrap()];
            bytes.extend(text.as_bytes());
            comparable_time(&mut Reader::new(&bytes)).unwrap()
        };
        let sorted = [
            time(UTC_TIME, "700101000000Z"),
            time(UTC_TIME, "991231235959Z"),
            time(UTC_TIME, "000101000000Z"),
            time(UTC_TIME, "491231235959Z"),
            time(GENERALIZED_TIME, "20500101000000Z"),
        ];
        assert!(sorted.is_sorted());
    }

    proptest! {
        #[test]
        fn damaged_certificates_end_without_a_panic(
            certificate in any::<prop::sample::Index>(),
            place in any::<prop::sample::Index>(),
            bit in 0_u8..8,
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = der(&format!("{}.crt", certificate.get(&names(".crt"))));
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
            let _ = Certificate::read(&bytes);
            let _ = Certificate::read(&bytes[..cut.index(bytes.len())]);
        }
    }
}
