//! From what Key Vault answers to the bytes of files: pure functions, called by the mount path once an
//! object is fetched.
//!
//! - a secret is its value, decoded if the object names an encoding ([`secret()`]);
//! - a certificate fetched as a secret is one PEM text, the private key and then the chain from the
//!   leaf to the root, or the PFX file that the vault holds ([`secret()`]);
//! - a key is its public half in PEM ([`public_key()`]);
//! - a certificate fetched as a certificate is its own certificate in PEM ([`certificate()`]).
//!
//! A file has the same bytes as the Go provider's wherever that one has a well-formed answer; where
//! the two differ on purpose, the module that decides says so.

mod asn1;
mod bundle;
mod certificate;
mod chain;
mod chain_oddity;
mod curve;
mod encoding;
#[cfg(test)]
mod fixtures;
mod pem;
mod pfx;
mod private_key;
mod public_key;

use std::sync::Arc;

pub use self::encoding::{Encoding, EncodingError};
pub use self::pfx::{Derivations, PfxError};
pub use self::public_key::{JsonWebKey, PublicKeyError, render as public_key};
use crate::shares::Stop;
use crate::text::excerpt::Excerpt;
use crate::text::sensitive::Sensitive;

/// What a secret's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretContent {
    /// Anything; the value belongs to whoever stored it.
    Plain,
    /// A certificate and its private key in PEM.
    CertificatePem,
    /// A certificate and its private key in a PFX file, in base64.
    CertificatePfx,
}

impl SecretContent {
    /// The content of a secret by two members of Key Vault's answer: `kid`, which only a certificate's
    /// secret has, and `contentType`, which means something only then.
    pub fn of(kid: Option<&str>, content_type: Option<&str>) -> Result<Self, RenderError> {
        if kid.is_none_or(str::is_empty) {
            return Ok(Self::Plain);
        }
        match content_type {
            Some("application/x-pem-file") => Ok(Self::CertificatePem),
            Some("application/x-pkcs12") => Ok(Self::CertificatePfx),
            other => Err(RenderError::ContentType {
                found: other.unwrap_or_default().to_owned(),
            }),
        }
    }
}

/// The values of `objectFormat`. They matter to PFX files only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// `pem`: a PFX file is converted.
    #[default]
    Pem,
    /// `pfx`: a PFX file is left as it is.
    Pfx,
}

/// How a secret is turned into files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rendering {
    /// The object's `objectFormat`.
    pub format: Format,
    /// The object's `objectEncoding`.
    pub encoding: Encoding,
    /// The provider's `--construct-pem-chain`: certificates from the leaf to the root. Without it
    /// they, and everything of a PEM text, stay in their stored order.
    pub construct_pem_chain: bool,
    /// The provider's `--write-cert-and-key-in-separate-files`: a certificate's secret gives two more
    /// files.
    pub separate_files: bool,
}

impl Default for Rendering {
    /// What the Go provider does when nobody says otherwise.
    fn default() -> Self {
        Self {
            format: Format::default(),
            encoding: Encoding::default(),
            construct_pem_chain: true,
            separate_files: false,
        }
    }
}

/// What rendering may cost, and for how long somebody waits for it.
#[derive(Debug, Clone, Default)]
pub struct Effort {
    /// What all objects of a mount share.
    pub derivations: Arc<Derivations>,
    /// Ends the work on one of them.
    pub stop: Stop,
}

/// One file of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// What is appended to the object's file name: nothing, `.crt` or `.key`.
    pub suffix: &'static str,
    /// The file's contents.
    pub contents: Sensitive,
    /// Whether it comes of a certificate whose private key the vault does not give.
    pub lacks_key: bool,
}

impl Rendered {
    /// The only file of an object.
    pub fn whole(contents: Sensitive) -> Self {
        Self {
            suffix: "",
            contents,
            lacks_key: false,
        }
    }
}

/// Why a secret cannot be turned into files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// A certificate's secret with a content type that Key Vault does not give.
    #[error(
        "the certificate's content type is {}: expected application/x-pem-file or application/x-pkcs12",
        Excerpt(found)
    )]
    ContentType {
        /// The secret's `contentType`, empty when there is none.
        found: String,
    },
    /// The value of a PFX certificate is not base64.
    #[error("the certificate's PFX file is not in base64")]
    PfxEncoding(#[source] EncodingError),
    /// The PFX file cannot be turned into PEM.
    #[error("cannot turn the certificate's PFX file into PEM")]
    Pfx(#[from] PfxError),
    /// The contents are not in the encoding that the object names.
    #[error("cannot decode the contents as the object's objectEncoding says")]
    Encoding(#[source] EncodingError),
}

/// Whether a value of so many bytes becomes files in well under a millisecond.
pub fn is_cheap(content: SecretContent, bytes: usize) -> bool {
    const MAX_PEM: usize = 16 * 1024;
    match content {
        SecretContent::Plain => true,
        SecretContent::CertificatePem => bytes <= MAX_PEM,
        SecretContent::CertificatePfx => false,
    }
}

/// Turns a secret into its files, in the Go provider's order: `.crt`, `.key`, then the one without a
/// suffix.
///
/// `objectEncoding` applies to all of them, as it does in the Go provider. That only makes sense for
/// plain secrets and for PFX files left as they are: PEM text is neither base64 nor hex. Of a PFX file
/// left as it is, `.crt` and `.key` are empty, as the Go provider writes them.
///
/// Of a certificate whose policy does not let its key be exported, Key Vault gives the certificates alone. There is no
/// `.key` then: an empty one would be taken for a key.
pub fn secret(
    value: Sensitive,
    content: SecretContent,
    how: Rendering,
    effort: &Effort,
) -> Result<Vec<Rendered>, RenderError> {
    let (contents, lacks_key) = match (content, how.format) {
        (SecretContent::Plain, _) => (value, false),
        (SecretContent::CertificatePem, _) => {
            let lacks_key = !pem::mentions_private_key(value.expose());
            let contents = if how.construct_pem_chain {
                bundle::from_pem(value)
            } else {
                value
            };
            (contents, lacks_key)
        }
        (SecretContent::CertificatePfx, Format::Pem) => {
            let bytes = encoding::base64(value.expose()).map_err(RenderError::PfxEncoding)?;
            let pfx = pfx::Pfx::read(&bytes, effort)?;
            let contents = bundle::from_pfx(&pfx, how.construct_pem_chain)?;
            (contents, pfx.keys.is_empty())
        }
        (SecretContent::CertificatePfx, Format::Pfx) => {
            // It is left as it is, also where it cannot be read here.
            let bytes = encoding::base64(value.expose()).ok();
            let pfx = bytes.and_then(|bytes| pfx::Pfx::read(&bytes, effort).ok());
            (value, pfx.is_some_and(|pfx| pfx.keys.is_empty()))
        }
    };

    let mut files = Vec::with_capacity(3);
    if how.separate_files && content != SecretContent::Plain {
        let (certificates, keys) = pem::split(contents.expose());
        files.push((".crt", certificates));
        if !(lacks_key && keys.len() == 0) {
            files.push((".key", keys));
        }
    }
    files.push(("", contents));
    files
        .into_iter()
        .map(|(suffix, contents)| {
            let contents =
                encoding::decode(contents, how.encoding).map_err(RenderError::Encoding)?;
            Ok(Rendered {
                suffix,
                contents,
                lacks_key,
            })
        })
        .collect()
}

/// What is odd about the chain in the files of a certificate's secret: an issuer that is missing, or a certificate that
/// signs nothing here. It is served as it is. Of a PFX file that stays one nothing is known.
pub fn chain_oddity(files: &[Rendered]) -> Option<String> {
    let whole = files.iter().find(|file| file.suffix.is_empty())?;
    bundle::oddity(whole.contents.expose())
}

/// A PFX file as PEM, with a bound on the work that lets millions of them be tried.
#[cfg(any(test, feature = "fuzzing"))]
pub fn pfx_in_blocks(
    bytes: &[u8],
    blocks: u64,
    construct_pem_chain: bool,
) -> Result<Sensitive, PfxError> {
    bundle::from_pfx(
        &pfx::Pfx::read_in_blocks(bytes, blocks)?,
        construct_pem_chain,
    )
}

/// Writes a certificate, given in DER, as PEM.
pub fn certificate(der: &[u8]) -> Sensitive {
    pem::document(pem::CERTIFICATE, der)
}

#[cfg(test)]
mod tests;
