//! Certificates and keys: those that become files, and those that servers show.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;

use super::{Secrets, choice_and_rest, has};
use crate::azure::credential::token_proxy::server_name;
use crate::rendering::{
    self, Effort, Encoding, Format, RenderError, Rendered, Rendering, SecretContent,
};
use crate::text::excerpt::causes;
use crate::text::sensitive::Sensitive;
use crate::transport::ServerCertificate;

/// What one PFX file may cost here: the seeds need no more, and a bound of the released one's size takes half
/// a second.
const BLOCKS: u64 = 20_000;

fn how(choice: u8) -> Rendering {
    Rendering {
        format: if choice & 1 == 0 {
            Format::Pem
        } else {
            Format::Pfx
        },
        encoding: match choice >> 1 & 3 {
            0 | 3 => Encoding::Utf8,
            1 => Encoding::Hex,
            _ => Encoding::Base64,
        },
        construct_pem_chain: choice >> 3 & 1 == 0,
        separate_files: choice >> 4 & 1 == 1,
    }
}

/// The most bytes that files may have: each is written anew at most once, a line break and a label at most for
/// each block.
fn bound(input: &[u8]) -> usize {
    3 * (4 * input.len() + 1024)
}

fn rendered(value: &[u8], content: SecretContent, how: Rendering) -> Option<Vec<Rendered>> {
    match rendering::secret(
        Sensitive::from(value.to_vec()),
        content,
        how,
        &Effort::default(),
    ) {
        Ok(files) => {
            let total: usize = files.iter().map(|file| file.contents.len()).sum();
            assert!(total <= bound(value), "{total} bytes of {}", value.len());
            assert_eq!(files.last().map(|file| file.suffix), Some(""));
            Some(files)
        }
        Err(error) => {
            judge_error(&error, value);
            None
        }
    }
}

fn judge_error(error: &RenderError, value: &[u8]) {
    let secret = Secrets::new(value, has(value, super::CANARY));
    secret.keep_out_of(&causes(error));
    secret.keep_out_of_text(&format!("{error:?}"));
}

/// A secret's value in PEM. The first byte chooses how it is rendered.
pub fn pem(input: &[u8]) {
    let (choice, value) = choice_and_rest(input);
    let how = how(choice);
    _ = rendered(value, SecretContent::Plain, how);
    let Some(files) = rendered(value, SecretContent::CertificatePem, how) else {
        return;
    };
    if how.encoding != Encoding::Utf8 {
        return;
    }
    // What is in order stays as it is.
    let Some(whole) = files.last() else { return };
    let whole = whole.contents.expose();
    if how.construct_pem_chain {
        let again = rendered(whole, SecretContent::CertificatePem, how);
        assert_eq!(
            again
                .as_deref()
                .and_then(<[_]>::last)
                .map(|file| file.contents.expose()),
            Some(whole)
        );
    } else {
        assert_eq!(whole, value);
    }
    for file in &files {
        // Not in a header of a block, where such words are text.
        let begins = |what: &str| {
            let mut lines = file.contents.expose().split(|byte| *byte == b'\n');
            lines.any(|line| line.starts_with(b"-----BEGIN ") && has(line, what))
        };
        let key_in_crt = file.suffix == ".crt" && begins("PRIVATE KEY");
        assert!(!key_in_crt, "a private key is in the .crt file");
        let certificate_in_key = file.suffix == ".key" && begins(" CERTIFICATE-----");
        assert!(!certificate_in_key, "a certificate is in the .key file");
    }
}

/// A PFX file. The first byte chooses how it is rendered.
pub fn pfx(input: &[u8]) {
    let (choice, bytes) = choice_and_rest(input);
    let how = how(choice);
    match rendering::pfx_in_blocks(bytes, BLOCKS, how.construct_pem_chain) {
        Ok(text) => {
            let text = text.expose();
            assert!(text.is_ascii() && text.len() <= bound(bytes));
            assert!(has(text, "-----BEGIN "));
            if how.construct_pem_chain {
                let files = rendered(text, SecretContent::CertificatePem, Rendering::default());
                assert_eq!(
                    files
                        .as_deref()
                        .and_then(<[_]>::last)
                        .map(|file| file.contents.expose()),
                    Some(text)
                );
            }
        }
        Err(error) => judge_error(&RenderError::Pfx(error), bytes),
    }
    // Left as it is, it is not even read.
    let value = STANDARD.encode(bytes);
    let left = Rendering {
        format: Format::Pfx,
        encoding: Encoding::Base64,
        ..Rendering::default()
    };
    let files = rendered(value.as_bytes(), SecretContent::CertificatePfx, left);
    assert_eq!(
        files
            .as_deref()
            .and_then(<[_]>::last)
            .map(|file| file.contents.expose()),
        Some(bytes)
    );
}

/// What a server shows in its handshake, by which the token proxy is found and `doctor` explains.
pub fn server_certificate(input: &[u8]) {
    let certificate = CertificateDer::from(input);
    if let Some(read) = ServerCertificate::read(&certificate) {
        assert!(read.names.len() <= 20);
        for text in read.names.iter().chain([&read.issuer]) {
            Secrets::NONE.keep_out_of(text);
            assert!(text.chars().count() <= 101, "{text:?}");
        }
    }
    if let Some(name) = server_name::of_certificate(&certificate) {
        let label = name.strip_suffix(".ests.aks");
        assert!(label.is_some_and(|label| label.len() == 53), "{name:?}");
        assert!(rustls::pki_types::ServerName::try_from(name).is_ok());
    }
}
