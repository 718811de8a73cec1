//! PFX files of every kind that OpenSSL writes, in DER and in BER, whole and damaged.

use proptest::prelude::*;

use super::*;
use crate::rendering::asn1::{OCTET_STRING, context_primitive};
use crate::rendering::fixtures::{der, element, file, names, oid};

/// A PFX file of the given safe contents, in clear, without integrity.
fn clear(bags: &[&[u8]]) -> Vec<u8> {
    around(&element(
        SEQUENCE,
        &[&content_info(
            "1.2.840.113549.1.7.1",
            &data(&element(SEQUENCE, bags)),
        )],
    ))
}

/// A PFX file of the given authenticated safe, without integrity.
fn around(safe: &[u8]) -> Vec<u8> {
    let info = content_info("1.2.840.113549.1.7.1", &data(safe));
    element(SEQUENCE, &[&element(INTEGER, &[&[3]]), &info])
}

fn data(contents: &[u8]) -> Vec<u8> {
    element(OCTET_STRING, &[contents])
}

fn content_info(content_type: &str, contents: &[u8]) -> Vec<u8> {
    element(
        SEQUENCE,
        &[&oid(content_type), &element(context(0), &[contents])],
    )
}

fn bag(number: u8, value: &[u8]) -> Vec<u8> {
    content_info(&format!("1.2.840.113549.1.12.10.1.{number}"), value)
}

fn certificate_bag(certificate: &[u8]) -> Vec<u8> {
    bag(
        3,
        &content_info("1.2.840.113549.1.9.22.1", &data(certificate)),
    )
}

/// The same structure in the other encoding that BER allows: lengths indefinite, octet strings in two
/// pieces. `[0] IMPLICIT`, which only encrypted contents are, is an octet string as well.
fn with_indefinite_lengths(bytes: &[u8]) -> Vec<u8> {
    let mut written = Vec::new();
    let mut reader = Reader::new(bytes);
    while let Some(part) = reader.next().unwrap() {
        let inside = if part.tag == OCTET_STRING || part.tag == context_primitive(0) {
            let (left, right) = part.contents.split_at(part.contents.len() / 3);
            [
                element(OCTET_STRING, &[left]),
                element(OCTET_STRING, &[right]),
            ]
            .concat()
        } else if part.tag & 0x20 != 0 {
            with_indefinite_lengths(part.contents)
        } else {
            written.extend(part.encoded);
            continue;
        };
        written.extend([&[part.tag | 0x20, 0x80], &inside[..], &[0, 0]].concat());
    }
    written
}

fn error(bytes: &[u8]) -> PfxError {
    Pfx::read(bytes, &Effort::default()).err().unwrap()
}

#[test]
fn every_file_reads_the_same_with_indefinite_lengths() {
    for name in names(".pfx") {
        let stored = file(&format!("{name}.pfx"));
        let summary = |bytes: &[u8]| {
            Pfx::read(bytes, &Effort::default()).map(|pfx| {
                let keys: Vec<_> = pfx.keys.into_iter().map(|key| key.pkcs8).collect();
                (keys, pfx.certificates)
            })
        };
        assert_eq!(
            summary(&with_indefinite_lengths(&stored)),
            summary(&stored),
            "{name}"
        );
    }
}

#[test]
fn bags_in_bags_and_keys_in_older_forms() {
    let rsa = bag(1, &der("rsa-pkcs1.key"));
    let p256 = bag(1, &der("p256-sec1.key"));
    let nested = bag(
        6,
        &element(SEQUENCE, &[&p256, &certificate_bag(b"any bytes")]),
    );
    let pfx = Pfx::read(&clear(&[&rsa, &nested]), &Effort::default()).unwrap();
    let keys: Vec<_> = pfx.keys.iter().map(|key| key.pkcs8.to_vec()).collect();
    assert_eq!(keys, [der("rsa.key"), der("p256.key")]);
    assert_eq!(*pfx.certificates[0], b"any bytes");
}

#[test]
fn bags_of_other_kinds_are_ignored() {
    let list = bag(
        4,
        &content_info("1.2.840.113549.1.9.23.1", &data(b"a revocation list")),
    );
    let sdsi = bag(
        3,
        &content_info("1.2.840.113549.1.9.22.2", &data(b"an SDSI certificate")),
    );
    let unknown = content_info("1.2.3.4", &data(b"anything"));
    let pfx = Pfx::read(
        &clear(&[&list, &sdsi, &unknown, &certificate_bag(b"x")]),
        &Effort::default(),
    )
    .unwrap();
    assert_eq!((pfx.keys.len(), pfx.certificates.len()), (0, 1));
    assert_eq!(error(&clear(&[&list, &sdsi, &unknown])), PfxError::Empty);
    assert_eq!(error(&clear(&[])), PfxError::Empty);
}

fn refused_as(cases: impl IntoIterator<Item = (Vec<u8>, PfxError)>) {
    for (bytes, expected) in cases {
        assert_eq!(error(&bytes), expected);
    }
}

/// A PFX file of one safe of that type.
fn safe(content_type: &str, contents: &[u8]) -> Vec<u8> {
    around(&element(SEQUENCE, &[&content_info(content_type, contents)]))
}

/// A PFX file of contents encrypted in the way of that algorithm.
fn encrypted(algorithm: &[&[u8]]) -> Vec<u8> {
    let algorithm = element(SEQUENCE, algorithm);
    let contents = element(context_primitive(0), &[&[0; 16]]);
    let info = element(
        SEQUENCE,
        &[&oid("1.2.840.113549.1.7.1"), &algorithm, &contents],
    );
    safe(
        "1.2.840.113549.1.7.6",
        &element(SEQUENCE, &[&element(INTEGER, &[&[0]]), &info]),
    )
}

#[test]
fn a_structure_that_is_none_says_which() {
    let malformed = |part| PfxError::Malformed { part };
    let version = element(INTEGER, &[&[3]]);
    let none = element(SEQUENCE, &[]);
    let deep = (0..9).fold(certificate_bag(b"x"), |bags, _| {
        bag(6, &element(SEQUENCE, &[&bags]))
    });
    refused_as([
        (Vec::new(), malformed("outermost structure")),
        (
            b"-----BEGIN CERTIFICATE-----".to_vec(),
            malformed("outermost structure"),
        ),
        (der("p256.crt"), malformed("outermost structure")),
        (
            element(SEQUENCE, &[&version, &none]),
            malformed("authenticated safe"),
        ),
        (around(b"x"), malformed("authenticated safe")),
        (clear(&[b"x"]), malformed("safe contents")),
        (clear(&[&none]), malformed("safe contents")),
        (clear(&[&deep]), malformed("safe contents")),
        (clear(&[&bag(1, b"x")]), malformed("safe contents")),
        (
            encrypted(&[&oid("1.2.840.113549.1.12.1.3")]),
            malformed("encryption parameters"),
        ),
        (
            clear(&[&bag(1, &der("p256.crt"))]),
            PfxError::Key { number: 1 },
        ),
        (
            clear(&[&certificate_bag(b"x"), &bag(3, &none)]),
            PfxError::Certificate { number: 2 },
        ),
    ]);
}

#[test]
fn protection_other_than_no_password_is_refused() {
    let version = element(INTEGER, &[&[3]]);
    let none = element(SEQUENCE, &[]);
    let signed = element(
        SEQUENCE,
        &[&version, &content_info("1.2.840.113549.1.7.2", &none)],
    );
    refused_as([
        (
            signed,
            PfxError::Protection {
                protection: "a signature",
            },
        ),
        (
            safe("1.2.840.113549.1.7.3", &none),
            PfxError::Protection {
                protection: "a public key",
            },
        ),
        (file("p256-password.pfx"), PfxError::Integrity),
        (
            file("p256-password-nomac.pfx"),
            PfxError::Decryption {
                part: "private key",
            },
        ),
    ]);
}

#[test]
fn algorithms_that_are_not_supported_are_named() {
    let with = |oid_of: &str, parameters: &[u8]| element(SEQUENCE, &[&oid(oid_of), parameters]);
    let none = element(SEQUENCE, &[]);
    let unsupported = |purpose, oid: &str| PfxError::Algorithm {
        purpose,
        oid: oid.to_owned(),
    };
    let pbes2 = |derivation: &[u8], scheme: &[u8]| {
        encrypted(&[
            &oid("1.2.840.113549.1.5.13"),
            &element(SEQUENCE, &[derivation, scheme]),
        ])
    };
    let pbkdf2 = |function: &[u8]| {
        let parameters = [&data(b"salt"), &element(INTEGER, &[&[1]]), function];
        with("1.2.840.113549.1.5.12", &element(SEQUENCE, &parameters))
    };
    let scrypt = with("1.3.6.1.4.1.11591.4.11", &none);
    let sm3 = with("1.2.156.10197.1.401.2", &[5, 0]);
    let aes = with("2.16.840.1.101.3.4.1.42", &data(&[0; 16]));
    let short_vector = with("2.16.840.1.101.3.4.1.42", &data(&[0; 3]));
    let gcm = with("2.16.840.1.101.3.4.1.46", &data(&[0; 12]));
    let undecryptable = PfxError::Decryption {
        part: "encrypted contents",
    };
    // RFC 9579, which OpenSSL writes on request only.
    let pbmac1 = element(
        SEQUENCE,
        &[&with("1.2.840.113549.1.5.14", &[]), &data(b"x")],
    );
    let pbmac1 = element(SEQUENCE, &[&pbmac1, &data(b"salt")]);
    let contents = content_info("1.2.840.113549.1.7.1", &data(&none));
    let pbmac1 = element(SEQUENCE, &[&element(INTEGER, &[&[3]]), &contents, &pbmac1]);
    refused_as([
        (
            safe("1.2.3.4", &none),
            unsupported("content type", "1.2.3.4"),
        ),
        (
            pbmac1,
            unsupported("integrity check", "1.2.840.113549.1.5.14"),
        ),
        (
            encrypted(&[&oid("1.2.840.113549.1.5.3"), &none]),
            unsupported("encryption scheme", "1.2.840.113549.1.5.3"),
        ),
        (
            pbes2(&scrypt, &aes),
            unsupported("key derivation", "1.3.6.1.4.1.11591.4.11"),
        ),
        (
            pbes2(&pbkdf2(&sm3), &aes),
            unsupported("hash function", "1.2.156.10197.1.401.2"),
        ),
        (
            pbes2(&pbkdf2(&[]), &gcm),
            unsupported("cipher", "2.16.840.1.101.3.4.1.46"),
        ),
        (pbes2(&pbkdf2(&[]), &short_vector), undecryptable.clone()),
        (pbes2(&pbkdf2(&[]), &aes), undecryptable),
    ]);
}

#[test]
fn damage_is_found_by_the_integrity_check() {
    let mut stored = file("p256-3des.pfx");
    let middle = stored.len() / 2;
    stored[middle] ^= 1;
    assert_eq!(error(&stored), PfxError::Integrity);
}

#[test]
fn too_much_work_is_refused() {
    let stored = file("p256-aes256.pfx");
    let refused = Pfx::read_in_blocks(&stored, 10_000);
    assert_eq!(refused.err(), Some(PfxError::TooMuchWork));
}

#[test]
fn truncated_files_are_refused_at_every_length() {
    for name in ["p256-clear-nomac", "p256-noiter"] {
        let stored = file(&format!("{name}.pfx"));
        for length in 0..stored.len() {
            assert!(
                Pfx::read(&stored[..length], &Effort::default()).is_err(),
                "{name} {length}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases * 12))]
    #[test]
    fn damaged_files_end_without_a_panic(
        // Where nothing is checked or encrypted, damage reaches every part of the reader.
        name in prop_oneof![
            prop::sample::select(names(".pfx")),
            prop::sample::select(vec!["p256-clear-nomac".to_owned(), "p256-noiter".to_owned()]),
        ],
        indefinite in any::<bool>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..8), 1..4),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut bytes = file(&format!("{name}.pfx"));
        if indefinite {
            bytes = with_indefinite_lengths(&bytes);
        }
        for (place, bit) in flips {
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
        }
        bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len())));
        // Enough for the files that need little work; the others end at the bound, sooner.
        let _ = Pfx::read_in_blocks(&bytes, 2_500);
    }

    #[test]
    fn arbitrary_bytes_end_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Pfx::read_in_blocks(&bytes, 2_500);
        let _ = Pfx::read_in_blocks(&clear(&[&bytes]), 2_500);
    }
}
