//! What the tests of this folder read: the files that `tests/fixtures/certificates/generate.sh` made
//! with OpenSSL, and a writer of ASN.1 for what OpenSSL does not write.

use std::path::Path;

use super::pem;

/// A file's bytes.
pub(super) fn file(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/certificates");
    std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A PEM file's text.
pub(super) fn text(name: &str) -> String {
    String::from_utf8(file(name)).unwrap()
}

/// The contents of a PEM file's first block.
pub(super) fn der(name: &str) -> Vec<u8> {
    pem::read(&file(name))[0].contents.to_vec()
}

/// The names of all files with that ending, without it, sorted.
pub(super) fn names(ending: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/certificates");
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = files
        .filter_map(|name| Some(name.to_str()?.strip_suffix(ending)?.to_owned()))
        .collect();
    names.sort();
    names
}

/// An element of ASN.1 in DER.
pub(super) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let contents = parts.concat();
    let mut bytes = vec![tag];
    match u16::try_from(contents.len()).unwrap().to_be_bytes() {
        [0, length @ 0..=0x7f] => bytes.push(length),
        length => bytes.extend([&[0x82], &length[..]].concat()),
    }
    bytes.extend(contents);
    bytes
}

/// An object identifier in DER.
pub(super) fn oid(dotted: &str) -> Vec<u8> {
    element(
        0x06,
        &[der::asn1::ObjectIdentifier::new_unwrap(dotted).as_bytes()],
    )
}
