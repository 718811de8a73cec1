//! The way to a server: its addresses, a connection, its certificate.

use std::net::SocketAddr;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::azure::credential::TokenError;
use crate::azure::vault::VaultError;
use crate::azure::vault::azure::Vault;
use crate::class::asked::Asked;
use crate::commands::doctor::report::Report;
use crate::commands::doctor::step::{Facts, Step, Subject};
use crate::commands::doctor::why;
use crate::explain::Explanation;
use crate::transport::{AddressKind, Handshake, Probe, Route, ServerCertificate, TransportError};

/// A certificate that expires so soon should have been renewed.
const SOON_DAYS: i64 = 14;

/// DNS, TCP and TLS.
type Subjects = [Subject; 3];

const VAULT: Subjects = [Subject::VaultDns, Subject::VaultTcp, Subject::VaultTls];
const TOKEN_SERVICE: Subjects = [
    Subject::TokenServiceDns,
    Subject::TokenServiceTcp,
    Subject::TokenServiceTls,
];

/// Goes the way to the vault. Whether it leads there.
pub(super) async fn to_vault(report: &mut Report, vault: &Vault, asked: &Asked) -> bool {
    let explain = |error| why::whole(asked, VaultError::Transport(Box::new(error)));
    go(report, VAULT, vault.route(), explain).await
}

/// Goes the way to whoever gives tokens to the identity. Whether it leads there.
pub(super) async fn to_token_service(report: &mut Report, vault: &Vault, asked: &Asked) -> bool {
    let credential = vault.credential();
    let service = credential.service();
    let explain = |error| why::whole(asked, VaultError::Token(Box::new(error)));
    let step = Step::begin(TOKEN_SERVICE[0], service.to_string());
    match credential.way().await {
        Ok(route) => {
            let explain = |source| explain(TokenError::Transport { service, source });
            go(report, TOKEN_SERVICE, &route, explain).await
        }
        // A token proxy whose name nobody knows.
        Err(error) => {
            report.add(step.failed(explain(error)));
            report.skip(&TOKEN_SERVICE[1..]);
            false
        }
    }
}

/// Takes the three steps; the last one only where TLS is spoken. Whether all of them work.
async fn go(
    report: &mut Report,
    [dns, tcp, tls]: Subjects,
    route: &Route,
    explain: impl Fn(TransportError) -> Explanation,
) -> bool {
    let probe = route.probe();
    let after_tcp = if probe.has_tls() { &[tls][..] } else { &[] };
    let step = Step::begin(dns, probe.host());
    let addresses = match probe.addresses().await {
        Ok(addresses) => addresses,
        Err(error) => {
            report.add(step.failed(explain(error)));
            report.skip(&[tcp]);
            report.skip(after_tcp);
            return false;
        }
    };
    report.add(step.works(found(probe, &addresses)));

    let step = Step::begin(tcp, probe.host());
    let connected = match probe.connect(addresses).await {
        Ok(connected) => connected,
        Err(error) => {
            report.add(step.failed(explain(error)));
            report.skip(after_tcp);
            return false;
        }
    };
    report.add(step.works(reached(probe, connected.address)));

    let step = Step::begin(tls, probe.host());
    match probe.shake_hands(connected).await {
        Ok(None) => true,
        Ok(Some(handshake)) => report.add(step.works(proven(&handshake))),
        Err(error) => {
            let is_the_certificate = matches!(error, TransportError::Certificate { .. });
            let mut why = explain(error);
            let mut facts = Facts::default();
            // What is wrong with it is said; whose it is tells who stands in between.
            if is_the_certificate && let Some(presented) = probe.presented().await {
                why.cause = format!("{}; it is {}", why.cause, said_of(&presented));
                facts.details = certificate(&presented);
            }
            report.add(step.failed_with(why, facts))
        }
    }
}

fn found(probe: Probe<'_>, addresses: &[SocketAddr]) -> Facts {
    let kind = |address: &SocketAddr| AddressKind::of(address.ip());
    let shown: Vec<_> = addresses
        .iter()
        .map(|address| format!("{} ({})", address.ip(), kind(address).as_str()))
        .collect();
    let shown = match addresses {
        [address] if address.ip().to_string() == probe.host() => {
            format!("an address by itself ({})", kind(address).as_str())
        }
        _ => shown.join(", "),
    };
    let proxy = probe.proxy();
    Facts {
        summary: match &proxy {
            Some(proxy) => format!("by way of the proxy {proxy}, at {shown}"),
            None => shown,
        },
        details: json!({
            "host": probe.host(),
            "proxy": proxy,
            "addresses": addresses
                .iter()
                .map(|address| json!({ "address": address.ip(), "kind": kind(address) }))
                .collect::<Vec<_>>(),
        }),
        warnings: Vec::new(),
    }
}

fn reached(probe: Probe<'_>, address: SocketAddr) -> Facts {
    let proxy = probe.proxy();
    Facts {
        summary: match &proxy {
            Some(_) => format!(
                "connected to the proxy at {address}, which opened the way to port {}",
                probe.port()
            ),
            None => format!("connected to {address}"),
        },
        details: json!({ "address": address, "proxy": proxy }),
        warnings: Vec::new(),
    }
}

fn proven(handshake: &Handshake) -> Facts {
    let protocol = format!("{}, {}", handshake.version, handshake.http);
    let mut details = handshake
        .certificate
        .as_ref()
        .map_or_else(|| json!({}), certificate);
    details["tls"] = json!(handshake.version);
    details["http"] = json!(handshake.http);
    let summary = match &handshake.certificate {
        Some(certificate) => format!("{protocol}, certificate {}", said_of(certificate)),
        None => protocol,
    };
    let days = handshake.certificate.as_ref().map(days_left);
    let warnings = match days {
        Some(days) if days < SOON_DAYS => vec![format!(
            "the certificate expires within {SOON_DAYS} days, and should have been renewed"
        )],
        _ => Vec::new(),
    };
    Facts {
        summary,
        details,
        warnings,
    }
}

fn certificate(certificate: &ServerCertificate) -> Value {
    json!({
        "issuer": certificate.issuer,
        "names": certificate.names,
        "expires": rfc3339(certificate.not_after),
        "days_left": days_left(certificate),
    })
}

fn said_of(certificate: &ServerCertificate) -> String {
    const MAX_NAMES: usize = 3;
    let names: Vec<_> = certificate
        .names
        .iter()
        .take(MAX_NAMES)
        .map(String::as_str)
        .collect();
    let more = if certificate.names.len() > MAX_NAMES {
        " and others"
    } else {
        ""
    };
    format!(
        "issued by {:?} for {}{more}, until {} ({} days)",
        certificate.issuer,
        names.join(", "),
        certificate.not_after.date(),
        days_left(certificate)
    )
}

fn days_left(certificate: &ServerCertificate) -> i64 {
    (certificate.not_after - OffsetDateTime::now_utc()).whole_days()
}

/// A time for machines.
pub(super) fn rfc3339(time: OffsetDateTime) -> Option<String> {
    time.format(&Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;

    #[test]
    fn a_certificate_that_soon_expires_is_a_warning() {
        for (left, warns) in [
            (Duration::days(90), false),
            (Duration::days(SOON_DAYS) + Duration::HOUR, false),
            (Duration::days(SOON_DAYS) - Duration::HOUR, true),
            (Duration::ZERO, true),
        ] {
            let facts = proven(&Handshake {
                version: "TLS 1.3",
                http: "HTTP/2",
                certificate: Some(ServerCertificate {
                    issuer: "CA".into(),
                    names: ["a", "b", "c", "d"].map(str::to_owned).into(),
                    not_after: OffsetDateTime::now_utc() + left,
                }),
            });
            assert_eq!(!facts.warnings.is_empty(), warns, "{left}");
            let words =
                "TLS 1.3, HTTP/2, certificate issued by \"CA\" for a, b, c and others, until ";
            assert!(facts.summary.starts_with(words), "{}", facts.summary);
            assert_eq!(facts.details["names"][3], "d");
        }
    }
}
