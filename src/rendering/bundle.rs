//! A certificate fetched as a secret, as one PEM text: the private key, then the certificates from the
//! leaf to the root.

use zeroize::Zeroizing;

use super::certificate::Certificate;
use super::chain;
use super::chain_oddity;
use super::pem::{self, Block, CERTIFICATE, PRIVATE_KEY};
use super::pfx::{Pfx, PfxError};
use super::private_key::PrivateKey;
use crate::text::sensitive::Sensitive;

/// Writes what a PFX holds. All keys come first, in their stored order; the certificates follow, in
/// their stored order unless `construct_pem_chain`.
pub(super) fn from_pfx(pfx: &Pfx, construct_pem_chain: bool) -> Result<Sensitive, PfxError> {
    let public_keys: Vec<&[u8]> = pfx
        .keys
        .iter()
        .filter_map(|key| key.public_key.as_deref())
        .collect();
    let order = if construct_pem_chain {
        chain::order(&read_certificates(&pfx.certificates)?, &public_keys)
    } else {
        (0..pfx.certificates.len()).collect()
    };

    let keys: Vec<Block<'_>> = pfx
        .keys
        .iter()
        .map(|key| Block::new(PRIVATE_KEY, key.pkcs8.clone()))
        .collect();
    let certificates: Vec<Block<'_>> = order
        .into_iter()
        .map(|position| Block::new(CERTIFICATE, pfx.certificates[position].clone()))
        .collect();
    Ok(pem::write(keys.iter().chain(&certificates)))
}

fn read_certificates(stored: &[Zeroizing<Vec<u8>>]) -> Result<Vec<Certificate<'_>>, PfxError> {
    let mut certificates = Vec::with_capacity(stored.len());
    for (index, der) in stored.iter().enumerate() {
        let unreadable = |_| PfxError::Certificate { number: index + 1 };
        certificates.push(Certificate::read(der).map_err(unreadable)?);
    }
    Ok(certificates)
}

/// Puts a PEM text into that order. Where its certificates already are, with no key after one of them,
/// the stored text is returned untouched, with whatever form its key has and whatever text is around
/// its blocks: this is what the Go provider returns for every PEM text.
///
/// Otherwise all blocks are written anew: the keys, as PKCS#8 where we can read them; the certificates,
/// exact duplicates once; then blocks of any other kind. Only the text between blocks is lost. A text
/// of which not every block can be read is returned untouched, lest something be lost.
pub(super) fn from_pem(stored: Sensitive) -> Sensitive {
    arrange(stored.expose()).unwrap_or(stored)
}

/// The text in another order, or nothing when it is to stay as it is.
fn arrange(text: &[u8]) -> Option<Sensitive> {
    let blocks = pem::read(text);
    if blocks.len() != pem::count_begun(text) {
        return None;
    }
    let first_certificate = blocks.iter().position(Block::is_certificate)?;
    let key_follows = blocks[first_certificate..].iter().any(is_private_key);

    let certificates: Vec<&Block<'_>> = blocks
        .iter()
        .filter(|block| block.is_certificate())
        .collect();
    let read: Vec<Certificate<'_>> = certificates
        .iter()
        .map(|block| Certificate::read(&block.contents))
        .collect::<Result<_, _>>()
        .ok()?;
    let keys: Vec<(&Block<'_>, Option<PrivateKey>)> = blocks
        .iter()
        .filter(|block| is_private_key(block))
        .map(|block| (block, read_private_key(block)))
        .collect();
    let public_keys: Vec<&[u8]> = keys
        .iter()
        .filter_map(|(_, key)| key.as_ref()?.public_key.as_deref())
        .collect();

    let order = chain::order(&read, &public_keys);
    if !key_follows && order.iter().copied().eq(0..certificates.len()) {
        return None;
    }

    let keys: Vec<Block<'_>> = keys
        .iter()
        .map(|(stored, key)| match key {
            Some(key) => Block::new(PRIVATE_KEY, key.pkcs8.clone()),
            None => (*stored).clone(),
        })
        .collect();
    let certificates: Vec<Block<'_>> = order
        .into_iter()
        .map(|position| Block::new(CERTIFICATE, certificates[position].contents.clone()))
        .collect();
    let others = blocks
        .iter()
        .filter(|block| !block.is_certificate() && !is_private_key(block));
    Some(pem::write(keys.iter().chain(&certificates).chain(others)))
}

/// What is odd about the chain in a PEM text; nothing where it cannot be read as one.
pub(super) fn oddity(text: &[u8]) -> Option<String> {
    let blocks = pem::read(text);
    let certificates: Vec<_> = blocks
        .iter()
        .filter(|block| block.is_certificate())
        .map(|block| Certificate::read(&block.contents))
        .collect::<Result<_, _>>()
        .ok()?;
    // Nearly every certificate that Key Vault made itself: there is nothing to look for, and no key to read.
    if let [only] = &certificates[..]
        && only.is_self_signed()
    {
        return None;
    }
    let keys: Vec<_> = blocks.iter().filter_map(read_private_key).collect();
    let public_keys: Vec<_> = keys
        .iter()
        .filter_map(|key| key.public_key.as_deref())
        .collect();
    chain_oddity::of(&certificates, &public_keys)
}

fn is_private_key(block: &Block<'_>) -> bool {
    block.label.ends_with(PRIVATE_KEY.as_bytes())
}

/// An encrypted key (`ENCRYPTED PRIVATE KEY`, or with a `Proc-Type` header) cannot be read, and is
/// passed on as it is.
fn read_private_key(block: &Block<'_>) -> Option<PrivateKey> {
    match block.label {
        b"PRIVATE KEY" => PrivateKey::from_pkcs8(&block.contents).ok(),
        b"RSA PRIVATE KEY" if !block.has_headers() => PrivateKey::from_pkcs1(&block.contents).ok(),
        b"EC PRIVATE KEY" if !block.has_headers() => PrivateKey::from_sec1(&block.contents).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rendering::fixtures::{file, text};

    /// The concatenation of fixtures.
    fn stored(names: &[&str]) -> String {
        names.iter().map(|name| text(name)).collect()
    }

    fn arranged(stored: &str) -> String {
        from_pem(Sensitive::from(stored.to_owned()))
            .expose_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn a_text_in_order_is_returned_as_it_is() {
        let bag_attributes = format!(
            "Bag Attributes\n    friendlyName: p256\n{}subject=CN = p256\n\n{}\n\n",
            text("p256.key"),
            text("p256.crt"),
        );
        let cases = [
            String::new(),
            "not PEM".to_owned(),
            stored(&["p256.pem"]),
            stored(&["p256.pem"]).replace('\n', "\r\n"),
            stored(&["p256.pem"]).trim_end().to_owned(),
            bag_attributes,
            // Older forms of keys stay too.
            stored(&["rsa-pkcs1.key", "rsa.crt", "issuing.crt", "root.crt"]),
            stored(&["p256-sec1.key", "p256.crt", "issuing.crt", "root.crt"]),
            stored(&["p256-encrypted.key", "p256.crt", "issuing.crt"]),
            stored(&["p256.key"]),
            stored(&["p256.crt"]),
            stored(&["p256.crt", "issuing.crt", "root.crt"]),
            // Blocks of other kinds do not matter, wherever they are.
            stored(&["p256.pub", "p256.key", "p256.crt", "p256.pub"]),
        ];
        for case in cases {
            assert_eq!(arranged(&case), case);
        }
    }

    #[test]
    fn a_text_out_of_order_is_put_in_order() {
        let cases: [(&[&str], &[&str]); 12] = [
            (
                &["p256.crt", "issuing.crt", "root.crt", "p256.key"],
                &["p256.pem"],
            ),
            (
                &["root.crt", "issuing.crt", "p256.crt", "p256.key"],
                &["p256.pem"],
            ),
            (
                &["p256.key", "root.crt", "p256.crt", "issuing.crt"],
                &["p256.pem"],
            ),
            // Keys in older forms become PKCS#8.
            (
                &["rsa.crt", "issuing.crt", "root.crt", "rsa-pkcs1.key"],
                &["rsa.pem"],
            ),
            (
                &["p256-sec1.key", "root.crt", "issuing.crt", "p256.crt"],
                &["p256.pem"],
            ),
            // Without a key.
            (
                &["root.crt", "issuing.crt", "p256.crt"],
                &["p256.crt", "issuing.crt", "root.crt"],
            ),
            // Exact duplicates once.
            (&["p256.pem", "root.crt", "p256.crt"], &["p256.pem"]),
            // All keys, in their order; the first one's certificate leads.
            (
                &["issuing.crt", "rsa.key", "p256.crt", "p256.key", "rsa.crt"],
                &["rsa.key", "p256.key", "rsa.crt", "issuing.crt", "p256.crt"],
            ),
            // Keys that cannot be read are passed on.
            (
                &["p256.crt", "p256-encrypted.key"],
                &["p256-encrypted.key", "p256.crt"],
            ),
            (
                &["issuing.crt", "p256.crt", "p256-encrypted-sec1.key"],
                &["p256-encrypted-sec1.key", "p256.crt", "issuing.crt"],
            ),
            // Blocks of other kinds come last.
            (
                &["p256.pub", "p256.crt", "p256.key"],
                &["p256.key", "p256.crt", "p256.pub"],
            ),
            (
                &["p256.key", "rsa.pub", "issuing.crt", "p256.pub", "p256.crt"],
                &["p256.key", "p256.crt", "issuing.crt", "rsa.pub", "p256.pub"],
            ),
        ];
        for (names, expected) in cases {
            assert_eq!(arranged(&stored(names)), stored(expected), "{names:?}");
            let with_text = format!("text\n{}", stored(names).replace('\n', "\r\n"));
            assert_eq!(arranged(&with_text), stored(expected), "{names:?}");
        }
    }

    #[test]
    fn a_text_with_a_block_that_cannot_be_read_is_returned_as_it_is() {
        let reversed = stored(&["root.crt", "issuing.crt", "p256.crt", "p256.key"]);
        let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let cases = [
            reversed.replacen("END", "ENDE", 1),
            format!("{reversed}-----BEGIN CERTIFICATE-----\nAAAA\n"),
            format!("{no_certificate}{reversed}"),
        ];
        for case in cases {
            assert_eq!(arranged(&case), case);
        }
    }

    #[test]
    fn a_pfx_with_a_certificate_that_is_none_is_refused() {
        let certificates = vec![Zeroizing::new(b"none".to_vec())];
        let pfx = Pfx {
            keys: Vec::new(),
            certificates,
        };
        let refused = from_pfx(&pfx, true).unwrap_err();
        assert_eq!(refused, PfxError::Certificate { number: 1 });
        assert!(from_pfx(&pfx, false).is_ok());
    }

    proptest! {
        #[test]
        fn any_permutation_gives_the_same_text(
            kind in prop::sample::select(vec!["rsa", "p256", "p384", "p521", "p256k"]),
            shuffled in Just(vec!["leaf", "key", "issuing.crt", "root.crt", "cross.crt", "other-root.crt",
                "second.crt", "plain-root.crt", "loop-a.crt", "loop-b.crt"]).prop_shuffle(),
        ) {
            let leaf = format!("{kind}.crt");
            let key = format!("{kind}.key");
            let name = |name: &'static str| match name {
                "leaf" => leaf.clone(),
                "key" => key.clone(),
                other => other.to_owned(),
            };
            let with = |names: &[&'static str]| -> String {
                names.iter().map(|part| text(&name(part))).collect()
            };
            let mut sorted = shuffled.clone();
            sorted.sort_unstable();
            let served = arranged(&with(&shuffled));
            prop_assert_eq!(&served, &arranged(&with(&sorted)));
            // What was served is in order, and so stays.
            prop_assert_eq!(arranged(&served), served.clone());
            prop_assert!(served.starts_with(&with(&["key", "leaf", "issuing.crt", "cross.crt"])));
            prop_assert_eq!(pem::read(served.as_bytes()).len(), shuffled.len());
        }

        #[test]
        fn damaged_texts_end_without_a_panic(
            name in prop::sample::select(vec!["p256.pem", "two-keys.pem", "mixed.pem"]),
            place in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut bytes = file(name);
            let place = place.index(bytes.len());
            bytes[place] = byte;
            let _ = from_pem(Sensitive::from(bytes));
        }
    }
}
