//! The order of certificates: a private key's own certificate first, then its issuer, the issuer's
//! issuer and so on, as a TLS server sends them (RFC 8446 section 4.4.2), in whatever order the vault
//! stored them.
//!
//! The order depends on the certificates alone, not on the order they were stored in: every tie is
//! decided by the certificates' contents. Nothing is lost except exact duplicates, which are kept once.
//!
//! Where all certificates form one chain this is the Go provider's order. It differs on purpose where
//! Go gives up and keeps the stored order (an intermediate is missing, an unrelated certificate is
//! present, certificates without key identifiers, two leaves) or fails (a root stored twice,
//! certificates that issued each other): here the leaf still comes first and the rest after it. More than
//! [`MAX_ORDERED`] certificates stay in their stored order, as Go leaves what is no chain.

use std::collections::HashSet;

use super::certificate::Certificate;

/// The most certificates that are put in order. A chain has three or four.
pub(super) const MAX_ORDERED: usize = 100;

/// The positions of the certificates in the order in which they are served. `public_keys` are those
/// of the private keys that are served with them, in their order; the first one's certificate is the
/// leaf. Positions of duplicates are left out.
///
/// Without a key, or when no certificate belongs to one, the leaf is a certificate that issued none
/// of the others. Certificates that belong to no leaf follow, chain by chain, sorted by their bytes.
///
/// Costs time quadratic in the number of certificates. Key Vault's limit for a secret, 25 KB, leaves room for a few dozen;
/// more than [`MAX_ORDERED`] stay in their order.
pub(super) fn order(certificates: &[Certificate<'_>], public_keys: &[&[u8]]) -> Vec<usize> {
    if certificates.len() > MAX_ORDERED {
        let mut known = HashSet::new();
        let all = certificates.iter().enumerate();
        let first = all.filter(|(_, certificate)| known.insert(certificate.der));
        return first.map(|(position, _)| position).collect();
    }
    let mut chains = Chains::new(certificates);
    for public_key in public_keys {
        let leaf = chains.best(|certificate| certificate.certifies(public_key));
        if let Some(leaf) = leaf {
            chains.follow(leaf);
        }
    }
    while let Some(leaf) = chains.next_leaf() {
        chains.follow(leaf);
    }
    chains.placed
}

struct Chains<'a> {
    certificates: &'a [Certificate<'a>],
    /// Positions still without a place, sorted by the certificates' bytes.
    waiting: Vec<usize>,
    /// Positions in the order in which they are served.
    placed: Vec<usize>,
    /// For each position, how many of the waiting certificates it may have issued.
    issued: Vec<usize>,
    /// For each position, whether a certificate that may have issued it is there at all.
    has_issuer: Vec<bool>,
}

impl<'a> Chains<'a> {
    fn new(certificates: &'a [Certificate<'a>]) -> Self {
        let mut waiting: Vec<usize> = (0..certificates.len()).collect();
        waiting.sort_by_key(|position| certificates[*position].der);
        waiting.dedup_by_key(|position| certificates[*position].der);
        let placed = Vec::with_capacity(waiting.len());
        let mut chains = Self {
            certificates,
            waiting,
            placed,
            issued: vec![0; certificates.len()],
            has_issuer: vec![false; certificates.len()],
        };
        for child in chains.waiting.clone() {
            for issuer in chains.issuers(child) {
                chains.issued[issuer] += 1;
                chains.has_issuer[child] = true;
            }
        }
        chains
    }

    /// The waiting certificates that may have issued this one. None for a self-signed certificate:
    /// a cross-signed one of the same name and key did not issue it.
    fn issuers(&self, child: usize) -> Vec<usize> {
        let certificate = &self.certificates[child];
        if certificate.is_self_signed() {
            return Vec::new();
        }
        let is_issuer = |position: &usize| {
            *position != child
                && certificate
                    .issued_by(&self.certificates[*position])
                    .is_some()
        };
        self.waiting.iter().copied().filter(is_issuer).collect()
    }

    /// The waiting certificate to prefer among those that satisfy the condition.
    fn best(&self, condition: impl Fn(&Certificate<'_>) -> bool) -> Option<usize> {
        self.waiting
            .iter()
            .copied()
            .filter(|position| condition(&self.certificates[*position]))
            .min_by_key(|position| self.certificates[*position].preference())
    }

    /// Where the next chain begins: at a certificate that issued none of those waiting, rather at one
    /// whose issuer is there too than at one that stands alone. Within a cycle, anywhere.
    fn next_leaf(&self) -> Option<usize> {
        self.waiting
            .iter()
            .copied()
            .min_by_key(|position| (self.issued[*position] > 0, !self.has_issuer[*position]))
    }

    /// Places a certificate, and after it the chain of its issuers as far as it goes.
    fn follow(&mut self, leaf: usize) {
        let mut next = Some(leaf);
        while let Some(position) = next {
            self.waiting.retain(|waiting| *waiting != position);
            self.placed.push(position);
            let issuers = self.issuers(position);
            for issuer in &issuers {
                self.issued[*issuer] -= 1;
            }
            let certificate = &self.certificates[position];
            next = issuers.into_iter().min_by_key(|issuer| {
                let issuer = &self.certificates[*issuer];
                (certificate.issued_by(issuer), issuer.preference())
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rendering::fixtures::der;
    use crate::rendering::private_key::PrivateKey;

    /// The names in the order in which their certificates are served.
    fn ordered<'n>(names: &[&'n str], keys: &[&str]) -> Vec<&'n str> {
        let stored: Vec<_> = names
            .iter()
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
        order(&certificates, &public_keys)
            .into_iter()
            .map(|position| names[position])
            .collect()
    }

    /// Names of certificates in the order in which they are served, and the private keys' names.
    /// `|` stands before those that form no chain with the leaf: they are sorted by their bytes,
    /// which differ whenever the fixtures are made anew.
    const CASES: [(&str, &[&str]); 16] = [
        ("", &[]),
        ("p256 issuing root", &["p256"]),
        ("p256 issuing root", &[]),
        ("rsa issuing root", &["rsa"]),
        // The key of no certificate.
        ("p256 issuing root", &["rsa"]),
        // Missing: the root, an intermediate, the leaf.
        ("p256 issuing", &["p256"]),
        ("p256 | root", &["p256"]),
        ("issuing root", &["p256"]),
        // By names alone.
        ("plain plain-issuing plain-root", &["p256"]),
        ("plain plain-issuing plain-root", &[]),
        // A root signed by another one goes on to that one; the same root self-signed comes last.
        ("p256 issuing cross other-root | root", &["p256"]),
        // Two leaves of one chain: the key decides.
        ("p256 issuing root second", &["p256"]),
        // Of one key: issued before self-signed, valid for longer first.
        ("p256 issuing root p256-old p256-self", &["p256"]),
        // Two keys: the chain of the first, then what is left of that of the second.
        ("rsa issuing root p256 | other-root", &["rsa", "p256"]),
        // Authorities that signed each other, and a stranger.
        ("p256 issuing root | other-root", &["p256"]),
        ("p256 | loop-a loop-b", &["p256"]),
    ];

    #[test]
    fn more_certificates_than_any_chain_has_stay_where_they_are() {
        let stored = [der("root.crt"), der("issuing.crt")];
        let certificates: Vec<_> = (0..=MAX_ORDERED)
            .map(|number| Certificate::read(&stored[number % 2]).unwrap())
            .collect();
        assert_eq!(order(&certificates, &[]), [0, 1]);
        assert_eq!(order(&certificates[..MAX_ORDERED], &[]), [1, 0]);
    }

    #[test]
    fn the_order_is_that_of_the_table_whatever_the_stored_order() {
        for (names, keys) in CASES {
            let (chain, others) = names.split_once('|').unwrap_or((names, ""));
            let chain: Vec<_> = chain.split_whitespace().collect();
            let all: Vec<_> = chain
                .iter()
                .copied()
                .chain(others.split_whitespace())
                .collect();
            let mut stored = all.clone();
            let served = ordered(&stored, keys);
            assert_eq!(served[..chain.len()], chain, "{names}");
            assert_eq!(served.len(), all.len(), "{names}");
            for _ in 0..stored.len() {
                stored.rotate_left(1);
                assert_eq!(ordered(&stored, keys), served, "{stored:?}");
                let reversed: Vec<_> = stored.iter().rev().copied().collect();
                assert_eq!(ordered(&reversed, keys), served, "{reversed:?}");
            }
        }
    }

    #[test]
    fn duplicates_are_kept_once() {
        let stored = ["root", "p256", "root", "issuing", "p256"];
        assert_eq!(ordered(&stored, &["p256"]), ["p256", "issuing", "root"]);
    }

    #[test]
    fn authorities_that_signed_each_other_end() {
        assert_eq!(ordered(&["loop-a", "loop-b"], &[]).len(), 2);
        assert_eq!(ordered(&["loop-a", "loop-b"], &["p256"]).len(), 2);
    }

    /// A certificate by small numbers, so that names, key identifiers and keys often meet.
    type Description = (u8, u8, Option<u8>, Option<u8>, u8, u8);

    fn described(certificates: &[(u8, Description)], keys: &[u8]) -> Vec<u8> {
        let bytes: Vec<u8> = (0..=u8::MAX).collect();
        let byte = |number: u8| &bytes[usize::from(number)..=usize::from(number)];
        let list: Vec<_> = certificates
            .iter()
            .map(
                |(der, (subject, issuer, subject_id, authority_id, key, not_after))| {
                    let names = [byte(*subject), byte(*issuer)];
                    let ids = [subject_id.map(byte), authority_id.map(byte)];
                    Certificate::described(byte(*der), names, ids, byte(*key), byte(*not_after))
                },
            )
            .collect();
        let keys: Vec<_> = keys.iter().map(|key| byte(*key)).collect();
        order(&list, &keys)
            .into_iter()
            .map(|position| certificates[position].0)
            .collect()
    }

    fn any_description() -> impl Strategy<Value = Description> {
        let id = || prop::option::of(0_u8..3);
        (0_u8..4, 0_u8..4, id(), id(), 0_u8..3, 0_u8..2)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases * 8))]
        #[test]
        fn any_permutation_of_any_certificates_gives_the_same_order(
            (stored, shuffled) in prop::collection::vec(any_description(), 0..9)
                .prop_map(|list| (0_u8..).zip(list).collect::<Vec<_>>())
                .prop_flat_map(|list| (Just(list.clone()), Just(list).prop_shuffle())),
            keys in prop::collection::vec(0_u8..4, 0..3),
        ) {
            let served = described(&stored, &keys);
            prop_assert_eq!(&served, &described(&shuffled, &keys));
            let mut sorted = served;
            sorted.sort_unstable();
            prop_assert_eq!(sorted, stored.iter().map(|(der, _)| *der).collect::<Vec<_>>());
        }
    }
}
