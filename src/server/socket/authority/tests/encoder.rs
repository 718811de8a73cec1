//! [`Encoder`], HPACK as a caller may write it: in every form, which no client of ours does.

use std::collections::VecDeque;

/// The bits of each octet's code; the codes themselves follow from them, since the code is canonical.
///
/// Source: RFC 7541, appendix B.
const CODE_LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/// A few of the static table.
///
/// Source: RFC 7541, appendix A.
const STATIC: [(usize, &str, &str); 10] = [
    (1, ":authority", ""),
    (2, ":method", "GET"),
    (3, ":method", "POST"),
    (4, ":path", "/"),
    (6, ":scheme", "http"),
    (7, ":scheme", "https"),
    (8, ":status", "200"),
    (31, "content-type", ""),
    (58, "user-agent", ""),
    (61, "www-authenticate", ""),
];

/// A form of a literal, by the pattern and the bits of the index in its first octet.
pub type Form = (u8, u8);
pub const FORMS: [Form; 3] = [(0x40, 6), (0, 4), (0x10, 4)];

#[derive(Clone, Debug)]
pub struct Field {
    pub name: Vec<u8>,
    pub value: Vec<u8>,
    pub form: Form,
    /// Whether the name, and the value, are shortened by Huffman's code.
    pub by_huffman: [bool; 2],
    /// Whether the tables are used.
    pub by_index: bool,
}

pub struct Encoder {
    entries: VecDeque<(Vec<u8>, Vec<u8>)>,
    max_size: usize,
}

impl Default for Encoder {
    fn default() -> Self {
        let max_size = 4096;
        let entries = VecDeque::new();
        Self { entries, max_size }
    }
}

impl Encoder {
    pub fn resize(&mut self, max_size: usize, out: &mut Vec<u8>) {
        integer(0x20, 5, max_size, out);
        self.max_size = max_size;
        self.evict();
    }

    pub fn field(&mut self, field: &Field, out: &mut Vec<u8>) {
        let (pattern, prefix) = field.form;
        let index = |index: Option<usize>| index.filter(|_| field.by_index);
        if let Some(index) =
            index(self.find(|name, value| *name == field.name && *value == field.value))
        {
            return integer(0x80, 7, index, out);
        }
        let name = index(self.find(|name, _| *name == field.name));
        integer(pattern, prefix, name.unwrap_or(0), out);
        if name.is_none() {
            text(&field.name, field.by_huffman[0], out);
        }
        text(&field.value, field.by_huffman[1], out);
        if pattern == 0x40 {
            self.entries
                .push_front((field.name.clone(), field.value.clone()));
            self.evict();
        }
    }

    fn find(&self, is_it: impl Fn(&[u8], &[u8]) -> bool) -> Option<usize> {
        let mut entries = self.entries.iter();
        let dynamic = entries.position(|(name, value)| is_it(name, value));
        dynamic.map(|place| 62 + place).or_else(|| {
            let mut fields = STATIC.iter();
            let (index, ..) =
                fields.find(|(_, name, value)| is_it(name.as_bytes(), value.as_bytes()))?;
            Some(*index)
        })
    }

    fn evict(&mut self) {
        let size = |entries: &VecDeque<(Vec<u8>, Vec<u8>)>| -> usize {
            let sizes = entries
                .iter()
                .map(|(name, value)| name.len() + value.len() + 32);
            sizes.sum()
        };
        while size(&self.entries) > self.max_size {
            self.entries.pop_back();
        }
    }
}

pub fn integer(pattern: u8, prefix: u8, value: usize, out: &mut Vec<u8>) {
    let most = (1 << prefix) - 1;
    if value < most {
        return out.push(pattern | u8::try_from(value).unwrap());
    }
    out.push(pattern | u8::try_from(most).unwrap());
    let mut rest = value - most;
    while rest >= 128 {
        out.push(u8::try_from(rest % 128 + 128).unwrap());
        rest /= 128;
    }
    out.push(u8::try_from(rest).unwrap());
}

fn text(text: &[u8], by_huffman: bool, out: &mut Vec<u8>) {
    let (flag, octets) = if by_huffman {
        (0x80, huffman(text))
    } else {
        (0, text.to_vec())
    };
    integer(flag, 7, octets.len(), out);
    out.extend_from_slice(&octets);
}

/// The text in HPACK's Huffman code.
pub fn huffman(text: &[u8]) -> Vec<u8> {
    let mut order: Vec<u8> = (0..=255).collect();
    order.sort_by_key(|octet| CODE_LENGTHS[usize::from(*octet)]);
    let mut codes = [0_u32; 256];
    let (mut code, mut bits) = (0, 0);
    for octet in order {
        let length = CODE_LENGTHS[usize::from(octet)];
        code <<= length - bits;
        bits = length;
        codes[usize::from(octet)] = code;
        code += 1;
    }
    let mut bits: Vec<bool> = Vec::new();
    for octet in text.iter().map(|octet| usize::from(*octet)) {
        bits.extend(
            (0..CODE_LENGTHS[octet])
                .rev()
                .map(|bit| codes[octet] >> bit & 1 == 1),
        );
    }
    let octet = |bits: &[bool]| {
        (0..8).fold(0, |octet, bit| {
            octet << 1 | u8::from(*bits.get(bit).unwrap_or(&true))
        })
    };
    bits.chunks(8).map(octet).collect()
}
