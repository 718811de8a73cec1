//! What is odd about the certificates of a chain, in words: they are served as the vault has them, and a server that
//! presents them is refused by some of its clients.

use super::certificate::Certificate;
use super::chain::MAX_ORDERED;

/// The most certificates that are named.
const MAX_NAMED: usize = 3;

/// What is odd about certificates that are served with these keys; nothing where they are a chain.
///
/// A root need not be there, since whoever trusts it has it. So an issuer counts as missing where it is that of a key's
/// own certificate, or where others are there that the chain does not reach: beyond the gap, most likely.
pub(super) fn of(certificates: &[Certificate<'_>], public_keys: &[&[u8]]) -> Option<String> {
    // What follows costs time quadratic in their number.
    if certificates.len() > MAX_ORDERED {
        let count = certificates.len();
        return Some(format!("{count} certificates are more than a chain has"));
    }
    let mut leaves: Vec<usize> = (0..certificates.len())
        .filter(|position| {
            public_keys
                .iter()
                .any(|key| certificates[*position].certifies(key))
        })
        .collect();
    if leaves.is_empty() && !certificates.is_empty() {
        leaves.push(0);
    }
    let is_leaf: Vec<bool> = (0..certificates.len())
        .map(|position| leaves.contains(&position))
        .collect();
    // Everything that leads on from a leaf, whichever way.
    let mut is_reached = is_leaf.clone();
    let mut waiting = leaves;
    let mut ends = Vec::new();
    while let Some(child) = waiting.pop() {
        let certificate = &certificates[child];
        if certificate.is_self_signed() {
            continue;
        }
        let mut has_issuer = false;
        for (position, issuer) in certificates.iter().enumerate() {
            if position == child || certificate.issued_by(issuer).is_none() {
                continue;
            }
            has_issuer = true;
            if !is_reached[position] {
                is_reached[position] = true;
                waiting.push(position);
            }
        }
        if !has_issuer {
            ends.push(child);
        }
    }
    let strangers: Vec<_> = (0..certificates.len())
        .filter(|position| !is_reached[*position])
        .collect();
    ends.retain(|end| is_leaf[*end] || !strangers.is_empty());
    ends.sort_unstable();
    let missing = ends.iter().take(MAX_NAMED).map(|end| {
        let certificate = &certificates[*end];
        format!(
            "{}, the issuer of {}, is missing",
            certificate.issuer_name(),
            certificate.subject_name()
        )
    });
    let strangers = strangers.iter().take(MAX_NAMED).map(|position| {
        format!(
            "{} signs nothing here",
            certificates[*position].subject_name()
        )
    });
    let all: Vec<_> = missing.chain(strangers).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendering::fixtures::der;
    use crate::rendering::private_key::PrivateKey;

    #[test]
    fn more_certificates_than_any_chain_has_are_not_looked_into() {
        let stored = der("root.crt");
        let certificates: Vec<_> = (0..=MAX_ORDERED)
            .map(|_| Certificate::read(&stored).unwrap())
            .collect();
        let found = of(&certificates, &[]).unwrap();
        assert_eq!(found, "101 certificates are more than a chain has");
    }

    #[test]
    fn gaps_and_strangers_are_named_and_chains_are_not() {
        let issuing = "CN=issuing, the issuer of CN=p256, is missing";
        for (names, keys, expected) in [
            ("", &["p256"][..], &[][..]),
            ("p256 issuing root", &["p256"], &[]),
            // Whoever trusts the root has it.
            ("p256 issuing", &["p256"], &[]),
            ("p256-self", &["p256"], &[]),
            ("root", &[], &[]),
            ("plain plain-issuing plain-root", &["p256"], &[]),
            ("p256 issuing cross other-root root", &["p256"], &[]),
            ("p256 issuing root p256-old p256-self", &["p256"], &[]),
            ("p256", &["p256"], &[issuing]),
            ("p256", &[], &[issuing]),
            (
                "p256 root",
                &["p256"],
                &[issuing, "CN=root signs nothing here"],
            ),
            (
                "p256 issuing root other-root",
                &["p256"],
                &["CN=other-root signs nothing here"],
            ),
            (
                "p256 issuing root second",
                &["p256"],
                &["CN=second signs nothing here"],
            ),
            ("rsa issuing root p256", &["rsa", "p256"], &[]),
        ] {
            let stored: Vec<_> = names
                .split_whitespace()
                .map(|name| der(&format!("{name}.crt")))
                .collect();
            let certificates: Vec<_> = stored
                .iter()
                .map(|der| Certificate::read(der).unwrap())
                .collect();
            let public_keys: Vec<_> = keys
                .iter()
                .map(|name| PrivateKey::from_pkcs8(&der(&format!("{name}.key"))).unwrap())
                .map(|key| key.public_key.unwrap())
                .collect();
            let public_keys: Vec<_> = public_keys.iter().map(Vec::as_slice).collect();
            let found = of(&certificates, &public_keys).unwrap_or_default();
            assert_eq!(found.is_empty(), expected.is_empty(), "{names}: {found}");
            for words in expected {
                assert!(found.contains(words), "{names}: {found}");
            }
        }
    }
}
