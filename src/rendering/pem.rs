//! PEM (RFC 7468, and RFC 1421 for headers): reading blocks out of text and writing them.
//!
//! Both directions do what Go's `encoding/pem` does, byte for byte, since the Go provider splits
//! certificates from keys with it: text around blocks is skipped, broken blocks are skipped, headers
//! are kept, and what is written has lines of 64 characters that end in a line feed. (One exception:
//! Go takes the END line of an empty block for a header when it holds a colon.)

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::encoding;
use crate::text::sensitive::Sensitive;

pub(super) const CERTIFICATE: &str = "CERTIFICATE";
pub(super) const PRIVATE_KEY: &str = "PRIVATE KEY";

const BEGIN: &[u8] = b"-----BEGIN ";
const LINE_AND_END: &[u8] = b"\n-----END ";
const DASHES: &[u8] = b"-----";

/// 64 characters of base64.
const BYTES_PER_LINE: usize = 48;

/// Everything between a BEGIN line and its END line.
#[derive(Clone)]
pub(super) struct Block<'a> {
    /// What the block holds, such as `CERTIFICATE`.
    pub(super) label: &'a [u8],
    /// RFC 1421 headers, such as `Proc-Type`. The last of equal names counts.
    headers: BTreeMap<&'a [u8], &'a [u8]>,
    /// The decoded contents.
    pub(super) contents: Zeroizing<Vec<u8>>,
}

impl<'a> Block<'a> {
    /// A block without headers.
    pub(super) fn new(label: &'a str, contents: Zeroizing<Vec<u8>>) -> Self {
        Self {
            label: label.as_bytes(),
            headers: BTreeMap::new(),
            contents,
        }
    }

    /// Whether it holds a certificate.
    pub(super) fn is_certificate(&self) -> bool {
        self.label == CERTIFICATE.as_bytes()
    }

    /// Whether it has headers. Those of an encrypted key are needed to decrypt it.
    pub(super) fn has_headers(&self) -> bool {
        !self.headers.is_empty()
    }

    fn written_length(&self) -> usize {
        let base64 = self.contents.len().div_ceil(3) * 4;
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len() + 3)
            .sum();
        2 * (self.label.len() + 20) + headers + 1 + base64 + base64.div_ceil(64)
    }

    fn write(&self, text: &mut Vec<u8>) {
        text.extend([BEGIN, self.label, DASHES, b"\n"].concat());
        if self.has_headers() {
            // RFC 1421 section 4.6.1.1 wants Proc-Type first; the others are sorted, as Go does.
            let is_first = |name: &[u8]| name == b"Proc-Type";
            let first = self.headers.iter().filter(|(name, _)| is_first(name));
            let others = self.headers.iter().filter(|(name, _)| !is_first(name));
            for (name, value) in first.chain(others) {
                text.extend([name, b": ".as_slice(), value, b"\n"].concat());
            }
            text.push(b'\n');
        }
        for bytes in self.contents.chunks(BYTES_PER_LINE) {
            let mut line = Zeroizing::new([0; 64]);
            let used = STANDARD
                .encode_slice(bytes, line.as_mut_slice())
                .unwrap_or_default();
            text.extend_from_slice(&line[..used]);
            text.push(b'\n');
        }
        text.extend([b"-----END ", self.label, DASHES, b"\n"].concat());
    }
}

/// Writes blocks one after the other.
pub(super) fn write<'b, 'a: 'b>(blocks: impl Iterator<Item = &'b Block<'a>> + Clone) -> Sensitive {
    // Room for all of it at once: growing would leave copies of a key behind.
    let length = blocks.clone().map(Block::written_length).sum();
    let mut text = Vec::with_capacity(length);
    blocks.for_each(|block| block.write(&mut text));
    text.into()
}

/// A text of one block.
pub(super) fn document(label: &str, der: &[u8]) -> Sensitive {
    write(std::iter::once(&Block::new(
        label,
        Zeroizing::new(der.to_vec()),
    )))
}

/// The blocks of a text, in order.
pub(super) fn read(text: &[u8]) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((block, after)) = next_block(rest) {
        blocks.push(block);
        rest = after;
    }
    blocks
}

/// How many blocks a text begins, readable or not.
pub(super) fn count_begun(text: &[u8]) -> usize {
    text.windows(BEGIN.len())
        .filter(|window| *window == BEGIN)
        .count()
}

/// Whether a text has a block of a private key, readable or not.
pub(super) fn mentions_private_key(text: &[u8]) -> bool {
    let end_of_label = b"PRIVATE KEY-----";
    text.windows(end_of_label.len())
        .any(|window| window == end_of_label)
}

/// Splits a text into its certificates and everything else in it: the contents of the `.crt` and the
/// `.key` file. Either may be empty.
pub(super) fn split(text: &[u8]) -> (Sensitive, Sensitive) {
    let blocks = read(text);
    let certificates = blocks.iter().filter(|block| block.is_certificate());
    let others = blocks.iter().filter(|block| !block.is_certificate());
    (write(certificates), write(others))
}

/// Finds the next readable block, and what follows it.
fn next_block(text: &[u8]) -> Option<(Block<'_>, &[u8])> {
    let mut rest = text;
    loop {
        // From the first END line back to the last BEGIN line before it, so that a BEGIN line without
        // an END line is skipped.
        let end = find(rest, LINE_AND_END)?;
        let after_end = end + LINE_AND_END.len();
        let begin =
            find_last(&rest[..end], BEGIN).filter(|begin| *begin == 0 || rest[begin - 1] == b'\n');
        let found = begin.and_then(|begin| {
            // The body keeps the line break before END: a block may be empty.
            let body = &rest[begin + BEGIN.len()..=end];
            read_block(body, &rest[after_end..])
        });
        if found.is_some() {
            return found;
        }
        rest = &rest[after_end..];
    }
}

/// Reads a block. `body` is what follows "-----BEGIN " up to the line break before the END line,
/// inclusive; `trailer` is what follows "-----END ".
fn read_block<'a>(body: &'a [u8], trailer: &'a [u8]) -> Option<(Block<'a>, &'a [u8])> {
    let (begin_line, mut body) = split_line(body);
    let label = begin_line.strip_suffix(DASHES)?;

    let mut headers = BTreeMap::new();
    loop {
        let (line, after) = split_line(body);
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            break;
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        headers.insert(name.trim_ascii(), value.trim_ascii());
        body = after;
    }

    if body.is_empty() && !headers.is_empty() {
        // Headers without the empty line that ends them.
        return None;
    }

    let (end_line, rest) = split_line(trailer);
    if end_line.strip_suffix(DASHES)? != label {
        return None;
    }

    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let mut base64 = Zeroizing::new(Vec::with_capacity(body.len()));
    base64.extend(body.iter().copied().filter(|byte| !is_space(byte)));
    let contents = encoding::base64(&base64).ok()?;
    Some((
        Block {
            label,
            headers,
            contents,
        },
        rest,
    ))
}

/// The first line without its line break and the spaces before it, and what follows.
fn split_line(text: &[u8]) -> (&[u8], &[u8]) {
    let (line, rest) = match text.iter().position(|byte| *byte == b'\n') {
        Some(line_feed) => {
            let line = &text[..line_feed];
            (
                line.strip_suffix(b"\r").unwrap_or(line),
                &text[line_feed + 1..],
            )
        }
        None => (text, &text[text.len()..]),
    };
    let length = line
        .iter()
        .rposition(|byte| !matches!(byte, b' ' | b'\t'))
        .map_or(0, |last| last + 1);
    (&line[..length], rest)
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len())
        .position(|window| window == wanted)
}

fn find_last(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len())
        .rposition(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rendering::fixtures::{file, names};

    fn labels(text: &str) -> Vec<String> {
        let label = |block: Block<'_>| String::from_utf8(block.label.to_vec()).unwrap();
        read(text.as_bytes()).into_iter().map(label).collect()
    }

    #[test]
    fn what_openssl_wrote_is_written_the_same() {
        let endings = [".crt", ".pub", ".pem"].map(|ending| {
            names(ending)
                .into_iter()
                .map(move |name| format!("{name}{ending}"))
        });
        for name in endings.into_iter().flatten() {
            let stored = file(&name);
            assert_eq!(write(read(&stored).iter()).expose(), stored, "{name}");
        }
    }

    #[test]
    fn lines_have_64_characters_and_the_reserved_length_is_enough() {
        for length in [0, 1, 2, 3, 47, 48, 49, 95, 96, 97, 1000] {
            let contents = Zeroizing::new(vec![0xa5; length]);
            let block = Block::new("X", contents.clone());
            let text = write([&block].into_iter());
            let text = text.expose_str().unwrap();
            assert!(text.len() <= block.written_length(), "{length}");
            let lines: Vec<_> = text.lines().collect();
            let body = &lines[1..lines.len() - 1];
            assert!(
                body.iter().rev().skip(1).all(|line| line.len() == 64),
                "{length}"
            );
            assert!(
                body.iter().all(|line| !line.is_empty() && line.len() <= 64),
                "{length}"
            );
            assert_eq!(read(text.as_bytes())[0].contents, contents);
        }
    }

    /// Every case was given to Go's `encoding/pem`, which finds the same blocks.
    #[test]
    fn which_blocks_are_found() {
        let cases: [(&str, &[&str]); 22] = [
            ("", &[]),
            ("no block", &[]),
            ("-----BEGIN A-----\nAAAA\n-----END A-----\n", &["A"]),
            ("-----BEGIN A-----\nAAAA\n-----END A-----", &["A"]),
            ("-----BEGIN A-----\r\nAAAA\r\n-----END A-----\r\n", &["A"]),
            ("-----BEGIN A-----  \nAA AA\t\n-----END A-----\t \n", &["A"]),
            ("-----BEGIN A-----\n-----END A-----\n", &["A"]),
            ("-----BEGIN A-----\nA\nA\nA\nA\n-----END A-----\n", &["A"]),
            ("-----BEGIN A B-----\nAAAA\n-----END A B-----\n", &["A B"]),
            ("-----BEGIN -----\nAAAA\n-----END -----\n", &[""]),
            (
                "text\n-----BEGIN A-----\nAAAA\n-----END A-----\ntext\n",
                &["A"],
            ),
            ("text -----BEGIN A-----\nAAAA\n-----END A-----\n", &[]),
            ("-----BEGIN A-----\nAAAA\n-----END B-----\n", &[]),
            ("-----BEGIN A-----\nAAAA\n-----END A----- x\n", &[]),
            ("-----BEGIN A-----\nAAAA\n-----END A\n", &[]),
            ("-----BEGIN A\nAAAA\n-----END A-----\n", &[]),
            ("-----BEGIN A-----\nAAA\n-----END A-----\n", &[]),
            ("-----BEGIN A-----\nAAAA-----END A-----\n", &[]),
            (
                "-----BEGIN A-----\nName: value\n\nAAAA\n-----END A-----\n",
                &["A"],
            ),
            ("-----BEGIN A-----\nName: value\n-----END A-----\n", &[]),
            (
                "-----BEGIN A-----\n-----BEGIN B-----\nAAAA\n-----END B-----\n-----END A-----\n",
                &["B"],
            ),
            (
                "-----BEGIN A-----\nA!\n-----END A-----\n-----BEGIN B-----\nAAAA\n-----END B-----\n",
                &["B"],
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(labels(text), expected, "{text:?}");
        }
    }

    /// The headers of a key that is encrypted in OpenSSL's older way are needed to decrypt it.
    #[test]
    fn headers_are_kept_with_proc_type_first() {
        let stored = "-----BEGIN A-----\nZ: 1\nDEK-Info:AES-128-CBC,00\nProc-Type: 4,ENCRYPTED \n\
                      \nAAAA\n-----END A-----\n";
        let written = "-----BEGIN A-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\nZ: 1\n\
                       \nAAAA\n-----END A-----\n";
        let (certificates, others) = split(stored.as_bytes());
        assert!(certificates.expose().is_empty());
        assert_eq!(others.expose_str(), Some(written));
        let encrypted = file("p256-encrypted-sec1.key");
        assert_eq!(split(&encrypted).1.expose(), encrypted);
    }

    proptest! {
        #[test]
        fn blocks_read_are_blocks_written(
            list in prop::collection::vec(
                ("[A-Z ]{0,9}", prop::collection::vec(any::<u8>(), 0..200)), 0..4),
        ) {
            let blocks: Vec<_> = list
                .iter()
                .map(|(label, contents)| Block::new(label, Zeroizing::new(contents.clone())))
                .collect();
            let text = write(blocks.iter());
            let found = read(text.expose());
            prop_assert_eq!(found.len(), blocks.len());
            for (found, block) in found.iter().zip(&blocks) {
                prop_assert_eq!(found.label, block.label);
                prop_assert_eq!(&found.contents, &block.contents);
            }
            prop_assert!(list.is_empty() || count_begun(text.expose()) >= list.len());
        }

        #[test]
        fn pieces_of_blocks_end_without_a_panic(
            pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..30),
        ) {
            let text = pieces.concat();
            let (certificates, others) = split(text.as_bytes());
            let both = [certificates.expose(), others.expose()].concat();
            prop_assert_eq!(read(&both).len(), read(text.as_bytes()).len());
        }
    }

    const PIECES: [&str; 16] = [
        "-----BEGIN ",
        "-----END ",
        "-----",
        "CERTIFICATE",
        "A",
        ":",
        "\n",
        "\n",
        "\r\n",
        " ",
        "AAAA",
        "AA==",
        "-----BEGIN CERTIFICATE-----\n",
        "\n-----END CERTIFICATE-----\n",
        "-----BEGIN KEY-----\n",
        "\n-----END KEY-----\n",
    ];
}
