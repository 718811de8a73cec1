//! A reader of ASN.1's Basic Encoding Rules (ITU-T X.690), for the two structures that arrive from
//! outside: PFX files and certificates.
//!
//! The `der` crate writes what we produce, but refuses much of what is found in PFX files:
//! indefinite lengths (X.690 section 8.1.3.6) and octet strings cut into pieces (section 8.7.3), as
//! Java, NSS and Windows write them. This reader takes both. It copies nothing until octets are asked
//! for, never reads past its input, and goes no deeper than [`MAX_DEPTH`].

use der::asn1::ObjectIdentifier;
use zeroize::Zeroizing;

/// How deep indefinite lengths and pieces of octet strings may be nested. A PFX needs six.
const MAX_DEPTH: u8 = 16;

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;

/// The bit of a tag that says that the contents are elements again.
const CONSTRUCTED: u8 = 0x20;

/// The tag of a context-specific element that holds other elements, `[number] EXPLICIT`.
pub(super) const fn context(number: u8) -> u8 {
    0x80 | CONSTRUCTED | number
}

/// The tag of a context-specific element that replaces a primitive one, `[number] IMPLICIT`.
pub(super) const fn context_primitive(number: u8) -> u8 {
    0x80 | number
}

/// The bytes are not the structure that was expected. The caller knows which structure that was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the expected ASN.1 structure")]
pub(super) struct Malformed;

/// One tag, length and value.
#[derive(Clone, Copy)]
pub(super) struct Element<'a> {
    /// The identifier octet; tags above 30 do not occur in what we read.
    pub(super) tag: u8,
    /// The value, without the end-of-contents octets of an indefinite length.
    pub(super) contents: &'a [u8],
    /// Tag, length and value as they were stored.
    pub(super) encoded: &'a [u8],
}

impl<'a> Element<'a> {
    /// The elements inside a constructed element.
    pub(super) fn inside(&self) -> Reader<'a> {
        Reader::new(self.contents)
    }

    /// An octet string's bytes, whether in one piece or in several. The tag is not looked at except
    /// for its "constructed" bit, so that `[n] IMPLICIT OCTET STRING` can be read as well.
    pub(super) fn octets(&self) -> Result<Zeroizing<Vec<u8>>, Malformed> {
        // The capacity is never exceeded, so that no piece of a secret is left by a reallocation.
        let mut joined = Zeroizing::new(Vec::with_capacity(self.contents.len()));
        self.append_octets(&mut joined, MAX_DEPTH)?;
        Ok(joined)
    }

    fn append_octets(&self, joined: &mut Vec<u8>, depth: u8) -> Result<(), Malformed> {
        if self.tag & CONSTRUCTED == 0 {
            joined.extend_from_slice(self.contents);
            return Ok(());
        }
        let depth = depth.checked_sub(1).ok_or(Malformed)?;
        let mut pieces = self.inside();
        while let Some(piece) = pieces.next()? {
            if piece.tag & !CONSTRUCTED != OCTET_STRING {
                return Err(Malformed);
            }
            piece.append_octets(joined, depth)?;
        }
        Ok(())
    }

    /// A bit string's bytes. Bit strings that are not whole bytes do not occur in keys.
    pub(super) fn bits(&self) -> Result<&'a [u8], Malformed> {
        match (self.tag, self.contents.split_first()) {
            (BIT_STRING, Some((0, bytes))) => Ok(bytes),
            _ => Err(Malformed),
        }
    }

    /// A non-negative integer that fits 32 bits (a version, an iteration count).
    pub(super) fn small_integer(&self) -> Result<u32, Malformed> {
        if self.tag != INTEGER || self.contents.is_empty() || self.contents[0] & 0x80 != 0 {
            return Err(Malformed);
        }
        self.contents.iter().try_fold(0_u32, |value, byte| {
            let shifted = value.checked_mul(256).ok_or(Malformed)?;
            Ok(shifted + u32::from(*byte))
        })
    }

    /// Whether this is the object identifier `oid`.
    pub(super) fn is(&self, oid: ObjectIdentifier) -> bool {
        self.tag == OBJECT_IDENTIFIER && self.contents == oid.as_bytes()
    }

    /// An object identifier in its dotted form, for an error's message.
    pub(super) fn dotted(&self) -> String {
        ObjectIdentifier::from_bytes(self.contents).map_or_else(
            |_| "with an unreadable identifier".to_owned(),
            |oid| oid.to_string(),
        )
    }
}

/// Elements one after the other.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next element, or nothing at the end.
    pub(super) fn next(&mut self) -> Result<Option<Element<'a>>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (element, rest) = split_element(self.rest, MAX_DEPTH)?;
        self.rest = rest;
        Ok(Some(element))
    }

    /// The next element whatever its tag, which must be there.
    pub(super) fn any(&mut self) -> Result<Element<'a>, Malformed> {
        self.next()?.ok_or(Malformed)
    }

    /// The next element, which must have this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Result<Element<'a>, Malformed> {
        self.optional(tag)?.ok_or(Malformed)
    }

    /// The next element if it has this tag; otherwise it stays the next one.
    pub(super) fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>, Malformed> {
        if self.rest.first() == Some(&tag) {
            self.next()
        } else {
            Ok(None)
        }
    }

    /// The elements inside the SEQUENCE that comes next.
    pub(super) fn sequence(&mut self) -> Result<Reader<'a>, Malformed> {
        Ok(self.expect(SEQUENCE)?.inside())
    }

    /// The OCTET STRING that comes next, in one piece or several.
    pub(super) fn octet_string(&mut self) -> Result<Zeroizing<Vec<u8>>, Malformed> {
        let element = self.any()?;
        if element.tag & !CONSTRUCTED != OCTET_STRING {
            return Err(Malformed);
        }
        element.octets()
    }
}

/// Splits the first element from what follows it.
fn split_element(bytes: &[u8], depth: u8) -> Result<(Element<'_>, &[u8]), Malformed> {
    let (&tag, after_tag) = bytes.split_first().ok_or(Malformed)?;
    if tag & 0x1f == 0x1f {
        return Err(Malformed);
    }
    let (&first, after_first) = after_tag.split_first().ok_or(Malformed)?;

    if first == 0x80 {
        if tag & CONSTRUCTED == 0 {
            return Err(Malformed);
        }
        let length = indefinite_length(after_first, depth)?;
        let end = bytes.len() - after_first.len() + length + 2;
        let contents = &after_first[..length];
        return Ok((
            Element {
                tag,
                contents,
                encoded: &bytes[..end],
            },
            &bytes[end..],
        ));
    }

    let (length, after_length) = if first < 0x80 {
        (usize::from(first), after_first)
    } else {
        let (octets, rest) = after_first
            .split_at_checked(usize::from(first & 0x7f))
            .ok_or(Malformed)?;
        let length = octets.iter().try_fold(0_usize, |length, octet| {
            length
                .checked_mul(256)
                .map(|length| length + usize::from(*octet))
        });
        (length.ok_or(Malformed)?, rest)
    };
    let (contents, rest) = after_length.split_at_checked(length).ok_or(Malformed)?;
    let end = bytes.len() - rest.len();
    Ok((
        Element {
            tag,
            contents,
            encoded: &bytes[..end],
        },
        rest,
    ))
}

/// How many bytes come before the end-of-contents octets, which are an element of tag and length 0.
fn indefinite_length(bytes: &[u8], depth: u8) -> Result<usize, Malformed> {
    let depth = depth.checked_sub(1).ok_or(Malformed)?;
    let mut rest = bytes;
    while !rest.starts_with(&[0, 0]) {
        rest = split_element(rest, depth)?.1;
    }
    Ok(bytes.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn octets_in_one_piece_and_in_several() {
        let cases: [&[u8]; 5] = [
            &[0x04, 3, 1, 2, 3],
            &[0x04, 0x81, 3, 1, 2, 3],
            &[0x24, 7, 0x04, 1, 1, 0x04, 2, 2, 3],
            &[0x24, 0x80, 0x04, 1, 1, 0x04, 2, 2, 3, 0, 0],
            &[
                0x24, 0x80, 0x24, 0x80, 0x04, 2, 1, 2, 0, 0, 0x04, 1, 3, 0, 0,
            ],
        ];
        for case in cases {
            let mut reader = Reader::new(case);
            assert_eq!(*reader.octet_string().unwrap(), [1, 2, 3], "{case:?}");
            assert!(reader.next().unwrap().is_none());
        }
    }

    #[test]
    fn an_element_keeps_its_stored_form() {
        let bytes = [0x30, 0x80, 0x02, 1, 5, 0, 0, 0x05, 0];
        let mut reader = Reader::new(&bytes);
        let element = reader.expect(SEQUENCE).unwrap();
        assert_eq!(element.encoded, &bytes[..7]);
        assert_eq!(element.inside().any().unwrap().small_integer(), Ok(5));
        assert_eq!(reader.any().unwrap().tag, 0x05);
    }

    #[test]
    fn what_is_refused() {
        let cases: [(&str, &[u8]); 7] = [
            ("no length", &[0x30]),
            ("longer than the input", &[0x30, 2, 0]),
            ("a length longer than the input", &[0x30, 0x84, 0, 0]),
            (
                "a length beyond any memory",
                &[0x30, 0x89, 255, 255, 255, 255, 255, 255, 255, 255, 9],
            ),
            (
                "an indefinite length without an end",
                &[0x30, 0x80, 0x02, 1, 5],
            ),
            ("an indefinite length of a primitive", &[0x04, 0x80, 0, 0]),
            ("a tag above 30", &[0x1f, 0x81, 0x01, 0]),
        ];
        for (name, case) in cases {
            assert!(Reader::new(case).next().is_err(), "{name}");
        }
        let deep = [0x24, 0x80].repeat(10_000);
        assert!(Reader::new(&deep).next().is_err());
    }

    #[test]
    fn integers() {
        let integer = |contents: &[u8]| {
            let mut bytes = vec![INTEGER, u8::try_from(contents.len()).unwrap()];
            bytes.extend_from_slice(contents);
            Reader::new(&bytes).any().unwrap().small_integer().ok()
        };
        assert_eq!(integer(&[0x08, 0x00]), Some(2048));
        assert_eq!(integer(&[0, 0xff, 0xff, 0xff, 0xff]), Some(u32::MAX));
        assert_eq!(integer(&[1, 0, 0, 0, 0]), None);
        assert_eq!(integer(&[0xff]), None);
        assert_eq!(integer(&[]), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_end_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new(&bytes);
            while let Ok(Some(element)) = reader.next() {
                let _ = element.octets();
                let _ = element.small_integer();
                let _ = element.bits();
                let _ = element.dotted();
            }
        }
    }
}
