//! `objectEncoding`: how a secret's text stands for the bytes of its file. Key Vault stores text, so
//! a binary file is stored as base64 or hex and decoded here, last of all.
//!
//! The alphabets and tolerances are those of the Go provider, which uses Go's `encoding/base64`
//! `StdEncoding` (RFC 4648 section 4: padding required, line breaks ignored) and `encoding/hex`
//! (RFC 4648 section 8: either case, nothing else).

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::text::sensitive::Sensitive;

/// Go does not look at the unused bits of the last character, so neither do we.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// The values of `objectEncoding`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// `utf-8`: the file holds the text as it is.
    #[default]
    Utf8,
    /// `hex`: two digits for each byte.
    Hex,
    /// `base64`: the standard alphabet with padding.
    Base64,
}

/// Why a value is not in the encoding that its object names. Offsets count bytes from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodingError {
    /// A character that is not a hex digit.
    #[error("expected hex digits (0-9, a-f, A-F) only: the byte at offset {offset} is none")]
    HexDigit {
        /// Where the character is.
        offset: usize,
    },
    /// The last byte has one digit only.
    #[error("expected two hex digits for each byte: the number of digits, {digits}, is odd")]
    HexLength {
        /// How many digits there are.
        digits: usize,
    },
    /// A character outside of base64's standard alphabet, or padding before the end.
    #[error(
        "expected base64 of the standard alphabet (A-Z, a-z, 0-9, +, /): the byte at offset \
         {offset} is not allowed there"
    )]
    Base64Character {
        /// Where the character is.
        offset: usize,
    },
    /// Characters are missing at the end: the value is cut off, or written without padding.
    #[error(
        "expected base64 padded with \"=\" to a multiple of four characters: there are {characters}"
    )]
    Base64Length {
        /// How many characters there are, line breaks not counted.
        characters: usize,
    },
}

/// Decodes a value into the bytes of the file.
pub(super) fn decode(value: Sensitive, encoding: Encoding) -> Result<Sensitive, EncodingError> {
    match encoding {
        Encoding::Utf8 => Ok(value),
        Encoding::Hex => hex(value.expose()).map(sensitive),
        Encoding::Base64 => base64(value.expose()).map(sensitive),
    }
}

/// Moves the bytes without a copy.
pub(super) fn sensitive(mut bytes: Zeroizing<Vec<u8>>) -> Sensitive {
    std::mem::take(&mut *bytes).into()
}

fn hex(text: &[u8]) -> Result<Zeroizing<Vec<u8>>, EncodingError> {
    let digit = |offset: usize| match text[offset] {
        digit @ b'0'..=b'9' => Ok(digit - b'0'),
        digit @ b'a'..=b'f' => Ok(digit - b'a' + 10),
        digit @ b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(EncodingError::HexDigit { offset }),
    };
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() / 2));
    for offset in (0..text.len() / 2).map(|index| 2 * index) {
        bytes.push(digit(offset)? << 4 | digit(offset + 1)?);
    }
    if text.len() % 2 == 1 {
        // A wrong character says more than the odd length it may cause.
        digit(text.len() - 1)?;
        return Err(EncodingError::HexLength { digits: text.len() });
    }
    Ok(bytes)
}

/// Decodes base64 as Go's `StdEncoding` does. Also used for PFX files and PEM blocks.
pub(super) fn base64(text: &[u8]) -> Result<Zeroizing<Vec<u8>>, EncodingError> {
    let is_line_break = |byte: &u8| matches!(byte, b'\r' | b'\n');
    // Room for all of it at once: growing would leave copies of a secret behind.
    let mut characters = Zeroizing::new(Vec::with_capacity(text.len()));
    characters.extend(text.iter().copied().filter(|byte| !is_line_break(byte)));
    // The offset in the value, line breaks counted, of a character found wrong.
    let in_text = |character: usize| {
        text.iter()
            .enumerate()
            .filter(|(_, byte)| !is_line_break(byte))
            .nth(character)
            .map_or(text.len(), |(offset, _)| offset)
    };

    let mut bytes = Zeroizing::new(vec![0; characters.len().div_ceil(4) * 3]);
    match BASE64.decode_slice(&*characters, &mut bytes) {
        Ok(length) => {
            bytes.truncate(length);
            Ok(bytes)
        }
        Err(error) => Err(base64_error(&error, &characters, in_text)),
    }
}

/// Names the failure, and finds its place by our own rules, as the library's own errors repeat the
/// character that was wrong: a byte of the secret.
fn base64_error(
    error: &base64::DecodeSliceError,
    characters: &[u8],
    in_text: impl Fn(usize) -> usize,
) -> EncodingError {
    use base64::DecodeError::{InvalidByte, InvalidLastSymbol};
    use base64::DecodeSliceError::DecodeError;

    match error {
        DecodeError(InvalidByte(index, _) | InvalidLastSymbol(index, _)) => {
            EncodingError::Base64Character {
                offset: in_text(*index),
            }
        }
        _ => EncodingError::Base64Length {
            characters: characters.len(),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(value: &str, encoding: Encoding) -> Result<Vec<u8>, EncodingError> {
        decode(Sensitive::from(value.to_owned()), encoding).map(|bytes| bytes.expose().to_vec())
    }

    #[test]
    fn utf8_is_left_alone() {
        assert_eq!(
            decoded(" a\r\n\u{e9}", Encoding::Utf8).unwrap(),
            " a\r\n\u{e9}".as_bytes()
        );
    }

    #[test]
    fn hex_as_go_reads_it() {
        let ok: [(&str, &[u8]); 4] = [
            ("", b""),
            ("00", &[0]),
            ("deadBEEF", &[0xde, 0xad, 0xbe, 0xef]),
            ("7f80", &[127, 128]),
        ];
        for (value, expected) in ok {
            assert_eq!(
                decoded(value, Encoding::Hex).as_deref(),
                Ok(expected),
                "{value}"
            );
        }
        let refused = [
            ("0", EncodingError::HexLength { digits: 1 }),
            ("000", EncodingError::HexLength { digits: 3 }),
            ("0g", EncodingError::HexDigit { offset: 1 }),
            ("00 00", EncodingError::HexDigit { offset: 2 }),
            ("0000\n", EncodingError::HexDigit { offset: 4 }),
            ("0x00", EncodingError::HexDigit { offset: 1 }),
        ];
        for (value, expected) in refused {
            assert_eq!(decoded(value, Encoding::Hex), Err(expected), "{value}");
        }
    }

    #[test]
    fn base64_as_go_reads_it() {
        let ok: [(&str, &[u8]); 9] = [
            ("", b""),
            ("\r\n", b""),
            ("aGk=", b"hi"),
            ("aGkh", b"hi!"),
            ("aA==", b"h"),
            ("aG\nk\r=\n", b"hi"),
            ("a\nA=\r\n=", b"h"),
            // The unused bits of the last character are not zero.
            ("aGl=", b"hi"),
            ("+/+/", &[0xfb, 0xff, 0xbf]),
        ];
        for (value, expected) in ok {
            assert_eq!(
                decoded(value, Encoding::Base64).as_deref(),
                Ok(expected),
                "{value:?}"
            );
        }
        let refused = [
            ("aGk", EncodingError::Base64Length { characters: 3 }),
            ("aGkha", EncodingError::Base64Length { characters: 5 }),
            ("aA=", EncodingError::Base64Length { characters: 3 }),
            ("aG k", EncodingError::Base64Character { offset: 2 }),
            ("-_-_", EncodingError::Base64Character { offset: 0 }),
            ("aGkh\naG?h", EncodingError::Base64Character { offset: 7 }),
            ("aA==aA==", EncodingError::Base64Character { offset: 2 }),
            ("=", EncodingError::Base64Character { offset: 0 }),
            ("a===", EncodingError::Base64Character { offset: 1 }),
            ("aA=A", EncodingError::Base64Character { offset: 2 }),
            ("====", EncodingError::Base64Character { offset: 0 }),
        ];
        for (value, expected) in refused {
            assert_eq!(decoded(value, Encoding::Base64), Err(expected), "{value:?}");
        }
    }

    #[test]
    fn a_message_never_repeats_the_value() {
        for encoding in [Encoding::Hex, Encoding::Base64] {
            let error = decoded("Zebra\u{1F993}!", encoding).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(!text.contains("Zebra") && !text.contains('!'), "{text}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_ends_without_a_panic(value in ".{0,100}") {
            let _ = decoded(&value, Encoding::Hex);
            let _ = decoded(&value, Encoding::Base64);
        }

        #[test]
        fn what_was_encoded_is_decoded(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let digits = |byte: &u8| [byte >> 4, byte & 15].map(|digit| char::from(b"0123456789aBcDeF"[usize::from(digit)]));
            let hex: String = bytes.iter().flat_map(digits).collect();
            prop_assert_eq!(decoded(&hex, Encoding::Hex).unwrap(), bytes.clone());
            let text = BASE64.encode(&bytes);
            prop_assert_eq!(decoded(&text, Encoding::Base64).unwrap(), bytes);
        }
    }
}
