//! [`ServerCertificate`], what a server's certificate says of itself: for people who look for the reason that it
//! is not accepted, or soon will not be. Nothing is decided by it.

use der::asn1::{AnyRef, BitStringRef, GeneralizedTime, ObjectIdentifier, UtcTime};
use der::{Decode as _, Reader as _, SliceReader, Tag, TagMode, TagNumber, Tagged as _};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;

use crate::text::excerpt::one_line;

/// The most names that are kept: one certificate of Azure's has dozens.
const MAX_NAMES: usize = 20;
/// The most characters of a name that are shown.
const MAX_CHARS: usize = 100;
/// The parts of an issuer's name that people know it by, most telling first (RFC 5280 section 4.1.2.4).
const TELLING: [ObjectIdentifier; 3] = [
    ObjectIdentifier::new_unwrap("2.5.4.3"),  // common name
    ObjectIdentifier::new_unwrap("2.5.4.11"), // organizational unit
    ObjectIdentifier::new_unwrap("2.5.4.10"), // organization
];

/// What a server's certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerCertificate {
    /// Who made it: the common name, or what stands in its place.
    pub issuer: String,
    /// The host names that it is for; some of them, where there are many.
    pub names: Vec<String>,
    /// When it expires.
    pub not_after: OffsetDateTime,
}

impl ServerCertificate {
    /// Reads a certificate; nothing where it cannot be read.
    pub fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (issuer, not_after) = fields(certificate).ok()?;
        let names = webpki::EndEntityCert::try_from(certificate).ok()?;
        Some(Self {
            issuer: name(issuer).unwrap_or_else(|| "an issuer without a name".to_owned()),
            names: names
                .valid_dns_names()
                .take(MAX_NAMES)
                .map(|name| one_line(name, MAX_CHARS))
                .collect(),
            not_after: OffsetDateTime::from_unix_timestamp(not_after).ok()?,
        })
    }
}

/// The issuer and the end of the validity, in seconds.
fn fields(certificate: &[u8]) -> der::Result<(AnyRef<'_>, i64)> {
    let certificate = AnyRef::from_der(certificate)?;
    certificate.sequence(|certificate| {
        let fields = certificate.sequence(|fields| {
            fields.context_specific::<u8>(TagNumber(0), TagMode::Explicit)?; // version
            AnyRef::decode(fields)?; // serial number
            AnyRef::decode(fields)?; // signature algorithm
            let issuer = AnyRef::decode(fields)?;
            let not_after = fields.sequence(|validity| {
                AnyRef::decode(validity)?; // not before
                seconds(AnyRef::decode(validity)?)
            })?;
            fields.drain(fields.remaining_len())?;
            Ok::<_, der::Error>((issuer, not_after))
        })?;
        AnyRef::decode(certificate)?; // signature algorithm
        BitStringRef::decode(certificate)?; // signature
        Ok(fields)
    })
}

fn seconds(time: AnyRef<'_>) -> der::Result<i64> {
    let since = match time.tag() {
        Tag::UtcTime => time.decode_as::<UtcTime>()?.to_unix_duration(),
        _ => time.decode_as::<GeneralizedTime>()?.to_unix_duration(),
    };
    Ok(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// The most telling part of a name: a sequence of sets of pairs.
fn name(name: AnyRef<'_>) -> Option<String> {
    let mut sets = SliceReader::new(name.value()).ok()?;
    let mut best: Option<(usize, String)> = None;
    while !sets.is_finished() {
        let set = AnyRef::decode(&mut sets).ok()?;
        let pair = AnyRef::from_der(set.value()).ok()?;
        let (kind, value) = pair
            .sequence(|pair| {
                let kind = ObjectIdentifier::decode(pair)?;
                Ok::<_, der::Error>((kind, AnyRef::decode(pair)?))
            })
            .ok()?;
        let Some(rank) = TELLING.iter().position(|telling| *telling == kind) else {
            continue;
        };
        if best.as_ref().is_none_or(|(known, _)| rank < *known) {
            let text = String::from_utf8_lossy(value.value());
            best = Some((rank, one_line(&text, MAX_CHARS)));
        }
    }
    best.map(|(_, text)| text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Made with OpenSSL: issuer `/C=US/O=Example Org/CN=Example CA`, names `a.example` and `*.b.example`,
    /// valid until Oct 19 11:09:37 2048 GMT.
    const PEM: &str = include_str!("server_certificate/example.pem");

    fn example() -> CertificateDer<'static> {
        use rustls::pki_types::pem::PemObject as _;
        CertificateDer::from_pem_slice(PEM.as_bytes()).unwrap()
    }

    #[test]
    fn a_certificate_says_who_made_it_for_whom_and_until_when() {
        assert_eq!(
            ServerCertificate::read(&example()),
            Some(ServerCertificate {
                issuer: "Example CA".into(),
                names: vec!["a.example".into(), "*.b.example".into()],
                not_after: OffsetDateTime::from_unix_timestamp(2_486_718_577).unwrap(),
            })
        );
    }

    #[test]
    fn what_is_none_is_not_read() {
        let whole = example();
        for end in 0..whole.len() {
            let cut = CertificateDer::from(whole[..end].to_vec());
            assert_eq!(ServerCertificate::read(&cut), None, "{end}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_may_be_a_certificate(at in 0..400_usize, byte: u8) {
            let mut changed = example().to_vec();
            let at = at % changed.len();
            changed[at] = byte;
            _ = ServerCertificate::read(&CertificateDer::from(changed));
        }
    }
}
