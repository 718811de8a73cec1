//! From a stored value to files, as the mount path asks for it.

use std::error::Error as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::fixtures::{der, file, names, text};
use super::*;

const HOW: Rendering = Rendering {
    format: Format::Pem,
    encoding: Encoding::Utf8,
    construct_pem_chain: true,
    separate_files: false,
};

/// A PFX file as Key Vault answers it.
fn value(name: &str) -> String {
    STANDARD.encode(file(&format!("{name}.pfx")))
}

fn rendered(
    value: &str,
    content: SecretContent,
    how: Rendering,
) -> Result<Vec<(&'static str, Vec<u8>)>, RenderError> {
    let files = secret(
        Sensitive::from(value.to_owned()),
        content,
        how,
        &Effort::default(),
    )?;
    Ok(files
        .into_iter()
        .map(|file| (file.suffix, file.contents.expose().to_vec()))
        .collect())
}

/// The one file of a PFX certificate, as text.
fn pem_of(name: &str, how: Rendering) -> String {
    let files = rendered(&value(name), SecretContent::CertificatePfx, how).unwrap();
    assert_eq!(files.len(), 1, "{name}");
    String::from_utf8(files[0].1.clone()).unwrap()
}

/// Where the Go provider gives up on a chain it keeps the stored order or fails, and we do neither; see
/// `chain.rs`. The expected files of these hold the stored order.
const IN_STORED_ORDER: [&str; 3] = ["duplicates", "mixed", "two-keys"];

/// `expected.txt` names the text of each PFX file and who gave it: the Go provider's own steps, or
/// OpenSSL where that provider reads no such file.
#[test]
fn every_pfx_file_gives_the_text_that_go_or_openssl_give() {
    let table = text("expected.txt");
    assert_eq!(table.lines().count(), 41);
    assert_eq!(
        table.lines().filter(|line| line.ends_with(" go")).count(),
        14
    );
    for line in table.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let (name, expected) = (words[0], text(&format!("{}.pem", words[1])));
        let construct_pem_chain = !IN_STORED_ORDER.contains(&name);
        assert_eq!(
            pem_of(
                name,
                Rendering {
                    construct_pem_chain,
                    ..HOW
                }
            ),
            expected,
            "{line}"
        );
    }
}

#[test]
fn pfx_files_that_neither_go_nor_openssl_put_in_order() {
    let p256 = text("p256.pem");
    for name in ["duplicates", "mixed", "null-3des-nomac"] {
        assert_eq!(pem_of(name, HOW), p256, "{name}");
    }
    let two_keys = [
        "p256.key",
        "rsa.key",
        "p256.crt",
        "issuing.crt",
        "root.crt",
        "rsa.crt",
    ];
    assert_eq!(pem_of("two-keys", HOW), two_keys.map(text).concat());
}

#[test]
fn the_stored_order_is_kept_when_asked_for() {
    let how = Rendering {
        construct_pem_chain: false,
        ..HOW
    };
    let reversed = ["p256.key", "root.crt", "issuing.crt", "p256.crt"]
        .map(text)
        .concat();
    assert_eq!(pem_of("reversed", how), reversed);
    let stored = ["root.crt", "p256.key", "p256.crt"].map(text).concat();
    let files = rendered(&stored, SecretContent::CertificatePem, how).unwrap();
    assert_eq!(files, [("", stored.into_bytes())]);
}

#[test]
fn plain_secrets_are_their_value_whatever_they_look_like() {
    let how = Rendering {
        separate_files: true,
        format: Format::Pfx,
        ..HOW
    };
    for value in ["", "s3cret\n", &text("two-keys.pem"), &value("reversed")] {
        let files = rendered(value, SecretContent::Plain, how).unwrap();
        assert_eq!(files, [("", value.as_bytes().to_vec())]);
    }
}

#[test]
fn plain_secrets_are_decoded() {
    for (encoding, value) in [
        (Encoding::Base64, "aGk="),
        (Encoding::Hex, "6869"),
        (Encoding::Utf8, "hi"),
    ] {
        let files = rendered(value, SecretContent::Plain, Rendering { encoding, ..HOW }).unwrap();
        assert_eq!(files, [("", b"hi".to_vec())]);
    }
}

#[test]
fn separate_files_come_before_the_whole() {
    let how = Rendering {
        separate_files: true,
        ..HOW
    };
    let certificates = ["p256.crt", "issuing.crt", "root.crt"]
        .map(text)
        .concat()
        .into_bytes();
    let expected = [
        (".crt", certificates),
        (".key", file("p256.key")),
        ("", file("p256.pem")),
    ];
    let pfx = rendered(&value("reversed"), SecretContent::CertificatePfx, how);
    assert_eq!(pfx.unwrap(), expected);
    let reversed = ["root.crt", "issuing.crt", "p256.crt", "p256.key"]
        .map(text)
        .concat();
    let pem = rendered(&reversed, SecretContent::CertificatePem, how);
    assert_eq!(pem.unwrap(), expected);
}

#[test]
fn a_pfx_file_is_left_as_it_is_when_asked_for() {
    let how = Rendering {
        format: Format::Pfx,
        separate_files: true,
        ..HOW
    };
    let value = value("p256-password");
    let files = rendered(&value, SecretContent::CertificatePfx, how).unwrap();
    assert_eq!(
        files,
        [
            (".crt", vec![]),
            (".key", vec![]),
            ("", value.clone().into_bytes())
        ]
    );

    let how = Rendering {
        encoding: Encoding::Base64,
        ..how
    };
    let files = rendered(&value, SecretContent::CertificatePfx, how).unwrap();
    assert_eq!(
        files,
        [
            (".crt", vec![]),
            (".key", vec![]),
            ("", file("p256-password.pfx"))
        ]
    );
}

#[test]
fn a_pem_text_is_no_pfx_file_whatever_the_format() {
    let how = Rendering {
        format: Format::Pfx,
        ..HOW
    };
    let reversed = ["p256.crt", "p256.key"].map(text).concat();
    let files = rendered(&reversed, SecretContent::CertificatePem, how).unwrap();
    assert_eq!(
        files,
        [("", ["p256.key", "p256.crt"].map(text).concat().into_bytes())]
    );
}

#[test]
fn errors_name_what_failed_and_never_the_value() {
    use SecretContent::{CertificatePem, CertificatePfx, Plain};
    let base64 = Rendering {
        encoding: Encoding::Base64,
        ..HOW
    };
    let hex = Rendering {
        encoding: Encoding::Hex,
        ..HOW
    };
    let cases = [
        ("Zebra!", Plain, base64, "base64 of the standard alphabet"),
        ("Zebra!", Plain, hex, "at offset 0"),
        ("Zebra!", CertificatePfx, HOW, "at offset 5"),
        ("WmVicmE=", CertificatePfx, HOW, "not a PFX file"),
        (&text("p256.pem"), CertificatePem, base64, "at offset 0"),
        (
            &value("p256-password"),
            CertificatePfx,
            HOW,
            "protected by a password",
        ),
    ];
    for (value, content, how, expected) in cases {
        let error = rendered(value, content, how).unwrap_err();
        let messages = format!("{error}: {}", error.source().unwrap());
        assert!(messages.contains(expected), "{messages}");
        assert!(!messages.contains("Zebra") && !format!("{error:?}").contains("Zebra"));
    }
}

#[test]
fn content_by_kid_and_content_type() {
    let kid = Some("https://v.vault.azure.net/keys/k/1");
    let of = SecretContent::of;
    assert_eq!(of(None, None), Ok(SecretContent::Plain));
    assert_eq!(
        of(Some(""), Some("application/x-pkcs12")),
        Ok(SecretContent::Plain)
    );
    assert_eq!(
        of(None, Some("application/x-pem-file")),
        Ok(SecretContent::Plain)
    );
    assert_eq!(
        of(kid, Some("application/x-pem-file")),
        Ok(SecretContent::CertificatePem)
    );
    assert_eq!(
        of(kid, Some("application/x-pkcs12")),
        Ok(SecretContent::CertificatePfx)
    );
    for found in [None, Some("text/plain"), Some("Application/X-Pkcs12")] {
        let expected = RenderError::ContentType {
            found: found.unwrap_or_default().to_owned(),
        };
        assert_eq!(of(kid, found), Err(expected));
    }
}

#[test]
fn certificates_are_written_as_openssl_writes_them() {
    for name in names(".crt") {
        let name = format!("{name}.crt");
        assert_eq!(certificate(&der(&name)).expose(), file(&name), "{name}");
    }
}

proptest! {
    #[test]
    fn any_value_ends_without_a_panic(
        value in prop::collection::vec(any::<u8>(), 0..100),
        content in prop::sample::select(vec![
            SecretContent::Plain, SecretContent::CertificatePem, SecretContent::CertificatePfx,
        ]),
        encoding in prop::sample::select(vec![Encoding::Utf8, Encoding::Hex, Encoding::Base64]),
        format in prop::sample::select(vec![Format::Pem, Format::Pfx]),
        [construct_pem_chain, separate_files] in any::<[bool; 2]>(),
    ) {
        let how = Rendering { format, encoding, construct_pem_chain, separate_files };
        let _ = secret(Sensitive::from(value), content, how, &Effort::default());
    }
}
