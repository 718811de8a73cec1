//! [`HuffmanLength`], how long a text is that HPACK's Huffman code shortens.

/// How many octets have a code of this many bits. The code is canonical: codes of one length follow each
/// other, and the first of them follows the last of those that are shorter. So their numbers say where each
/// code ends, which is all that a length needs. The 31st place leaves out EOS, which no text may have.
///
/// Source: RFC 7541, appendix B, and section 5.2 for what is no code.
const CODES: [u32; 31] = [
    0, 0, 0, 0, 0, 10, 26, 32, 6, 0, 5, 3, 2, 6, 2, 3, 0, 0, 0, 3, 8, 13, 26, 29, 12, 4, 15, 19,
    29, 0, 3,
];
/// The bits of the longest code.
const LONGEST: usize = CODES.len() - 1;
/// The most bits after the last code, all of them ones.
const MAX_PADDING: usize = 7;

/// The octets that a text has had so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HuffmanLength {
    octets: usize,
    /// The bits of a code that has begun, and how many there are.
    code: u32,
    bits: usize,
    /// The first code of as many bits.
    first: u32,
    is_invalid: bool,
}

impl HuffmanLength {
    /// The text goes on.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            for shift in (0..u8::BITS).rev() {
                self.push_bit(u32::from(byte >> shift & 1));
            }
        }
    }

    fn push_bit(&mut self, bit: u32) {
        if self.bits == LONGEST {
            self.is_invalid = true;
            return;
        }
        self.first = (self.first + CODES[self.bits]) << 1;
        self.code = self.code << 1 | bit;
        self.bits += 1;
        if self.code - self.first < CODES[self.bits] {
            let octets = self.octets + 1;
            *self = Self { octets, ..*self };
            (self.code, self.bits, self.first) = (0, 0, 0);
        }
    }

    /// The octets of a text that ends here; nothing if it is none.
    pub(super) fn end(self) -> Option<usize> {
        let is_padding = self.bits <= MAX_PADDING && self.code + 1 == 1 << self.bits;
        (is_padding && !self.is_invalid).then_some(self.octets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(bytes: &[u8]) -> Option<usize> {
        let mut length = HuffmanLength::default();
        length.push(bytes);
        length.end()
    }

    #[test]
    fn a_text_is_as_long_as_it_was() {
        // RFC 7541, appendix C.4 and C.6.
        for (coded, text) in [
            (
                &b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"[..],
                "www.example.com",
            ),
            (b"\xa8\xeb\x10\x64\x9c\xbf", "no-cache"),
            (b"\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f", "custom-key"),
            (b"\x64\x02", "302"),
            (b"\xae\xc3\x77\x1a\x4b", "private"),
            (b"", ""),
            // One octet of the shortest code, one of the longest.
            (b"\x07", "0"),
            (b"\xff\xff\xff\xf3", "\n"),
        ] {
            assert_eq!(length(coded), Some(text.len()), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_text_has_no_length() {
        for coded in [
            // Padding: of zeros, of eight bits.
            &b"\x00"[..],
            b"\xa8\xeb\x10\x64\x9c\xbf\xff",
            b"\xff",
            // EOS, also with something behind it, and a code that breaks off.
            b"\xff\xff\xff\xff",
            b"\xff\xff\xff\xfc\x07",
            b"\xff\xff",
        ] {
            assert_eq!(length(coded), None, "{coded:x?}");
        }
    }

    #[test]
    fn the_code_is_whole() {
        // Kraft's sum, in units of the longest code, with EOS.
        let sum: u64 = (1..=LONGEST)
            .map(|bits| u64::from(CODES[bits]) << (LONGEST - bits))
            .sum();
        assert_eq!(sum + 1, 1 << LONGEST);
        assert_eq!(CODES.iter().sum::<u32>(), 256);
    }
}
