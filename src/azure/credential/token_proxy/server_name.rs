//! The name that TLS knows a cluster's token proxy by, made from the name that AKS gives the cluster in
//! its API server's certificate.
//!
//! Source: the Go provider v1.8.2, `internal/identitybinding`.

use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;

/// What stands before and behind the cluster's ID in one of the certificate's names.
const CLUSTER: (&str, &str) = ("hcp-kubernetes.", ".svc.cluster.local");
/// What stands before the cluster's ID when it is hashed.
const SALT: &str = "identity-binding";
/// What stands before and behind the hash.
const SERVER: (&str, &str) = ("a", ".ests.aks");
/// The digits of base32hex (RFC 4648, section 7), in lower case since names in DNS have no case.
const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

/// The name of the token proxy of the cluster whose API server has this certificate.
pub fn of_certificate(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    certificate.valid_dns_names().find_map(of_api_server)
}

/// The same, from one of the certificate's names.
fn of_api_server(name: &str) -> Option<String> {
    let (before, behind) = CLUSTER;
    let id = name.strip_prefix(before)?.strip_suffix(behind)?;
    (!id.is_empty()).then(|| of_cluster(id))
}

fn of_cluster(id: &str) -> String {
    let hash = digest(&SHA256, format!("{SALT}{id}").as_bytes());
    let (before, behind) = SERVER;
    format!("{before}{}{behind}", base32hex(hash.as_ref()))
}

/// Without padding.
fn base32hex(bytes: &[u8]) -> String {
    let bit = |index: usize| {
        let byte = bytes.get(index / 8).copied().unwrap_or(0);
        usize::from(byte >> (7 - index % 8) & 1)
    };
    (0..bytes.len() * 8)
        .step_by(5)
        .map(|start| (start..start + 5).fold(0, |digit, index| digit << 1 | bit(index)))
        .map(|digit| char::from(DIGITS[digit]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base32hex_is_that_of_rfc_4648() {
        for (text, expected) in [
            ("", ""),
            ("f", "co"),
            ("fo", "cpng"),
            ("foo", "cpnmu"),
            ("foob", "cpnmuog"),
            ("fooba", "cpnmuoj1"),
            ("foobar", "cpnmuoj1e8"),
        ] {
            assert_eq!(base32hex(text.as_bytes()), expected, "{text}");
        }
    }

    /// The expected names were computed with Python's `hashlib.sha256` and `base64.b32hexencode`.
    #[test]
    fn the_clusters_id_becomes_a_name() {
        for (id, expected) in [
            (
                "0",
                "ab9m3osvk7n5r2or4j3colf1hcrv69oepl55ppfrei2vobf136o3g.ests.aks",
            ),
            (
                "67f3a1b2c3d4e5f600000001",
                "aih8h418qg0c2fj3pd1emp5mo9tlo2q9prtugu8k2kp69bci4i17g.ests.aks",
            ),
            (
                "my-cluster",
                "a80ke2895huq22pe4rde7v35kvjblteulpjv1vs63lv00r3638c00.ests.aks",
            ),
        ] {
            let name = format!("hcp-kubernetes.{id}.svc.cluster.local");
            assert_eq!(of_api_server(&name).as_deref(), Some(expected), "{id}");
        }
    }

    #[test]
    fn other_names_say_nothing_about_a_cluster() {
        for name in [
            "kubernetes.default.svc.cluster.local",
            "hcp-kubernetes.svc.cluster.local",
            "hcp-kubernetes..svc.cluster.local",
            "hcp-kubernetes.a.svc.cluster.local.example",
            "x.hcp-kubernetes.a.svc.cluster.local",
        ] {
            assert_eq!(of_api_server(name), None, "{name}");
        }
        assert_eq!(of_certificate(&CertificateDer::from(vec![0x30, 0])), None);
    }
}
