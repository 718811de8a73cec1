//! Client assertions: the tokens of another issuer (a cluster's service account tokens) with which
//! a client shows who it is, checked as workload identity federation checks them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::errors::Refusal;
use super::{FederatedCredential, FederationErrors};
use crate::identifier;

#[derive(Debug, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: i64,
    #[serde(default)]
    nbf: Option<i64>,
    #[serde(default)]
    iat: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn holds(&self, wanted: &str) -> bool {
        match self {
            Self::One(one) => one == wanted,
            Self::Many(many) => many.iter().any(|one| one == wanted),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::One(one) => one.clone(),
            Self::Many(many) => many.join(", "),
        }
    }
}

/// Whether an assertion matches one of an application's federated credentials; where there are none,
/// one of this audience would have.
pub(crate) fn check(
    assertion: &str,
    federated: &[FederatedCredential],
    usual_audience: &str,
    errors: FederationErrors,
    now: i64,
) -> Result<(), Refusal> {
    let claims = decode(assertion)?;
    let from = claims.nbf.or(claims.iat).unwrap_or(claims.exp);
    // Entra ID allows five minutes of difference between clocks.
    if now >= claims.exp.saturating_add(300) || from > now + 300 {
        return Err(Refusal::assertion_not_in_time(
            &date(now),
            &date(from),
            &date(claims.exp),
        ));
    }
    let audience = claims.aud.text();
    if federated.is_empty() && !claims.aud.holds(usual_audience)
        || !federated.is_empty() && !federated.iter().any(|f| claims.aud.holds(&f.audience))
    {
        return Err(Refusal::audience_not_matched(&audience));
    }
    if federated.iter().any(|credential| {
        credential.issuer == claims.iss
            && credential.subject == claims.sub
            && claims.aud.holds(&credential.audience)
    }) {
        return Ok(());
    }
    if federated.iter().any(|credential| {
        credential.issuer == claims.iss && credential.subject.eq_ignore_ascii_case(&claims.sub)
    }) {
        return Err(Refusal::subject_differs_in_case(&claims.sub));
    }
    if claims.sub.starts_with("/eid1/") {
        return Err(Refusal::entra_subject_not_matched(&claims.sub));
    }
    let issuer_known = federated.iter().any(|f| f.issuer == claims.iss);
    Err(match errors {
        FederationErrors::Combined => {
            Refusal::federation_not_matched(&claims.iss, &claims.sub, &audience)
        }
        FederationErrors::Split if issuer_known => Refusal::subject_not_matched(&claims.sub),
        FederationErrors::Split => Refusal::issuer_not_matched(&claims.iss),
    })
}

fn decode(assertion: &str) -> Result<Claims, Refusal> {
    let mut parts = assertion.split('.');
    let (Some(header), Some(payload), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refusal::malformed_assertion());
    };
    let json = |part: &str| {
        URL_SAFE_NO_PAD
            .decode(part)
            .map_err(|_| Refusal::malformed_assertion())
    };
    serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&json(header)?)
        .map_err(|_| Refusal::malformed_assertion())?;
    serde_json::from_slice(&json(payload)?).map_err(|_| Refusal::malformed_assertion())
}

fn date(unix: i64) -> String {
    OffsetDateTime::from_unix_timestamp(unix)
        .ok()
        .and_then(|date| date.format(&Rfc3339).ok())
        .unwrap_or_else(|| unix.to_string())
}

/// A token in the shape of a projected service account token.
pub(crate) fn service_account_token(
    now: i64,
    issuer: &str,
    namespace: &str,
    name: &str,
    audience: &str,
    lifetime: i64,
) -> String {
    let header = json!({ "alg": "RS256", "kid": "azure-emulator" });
    let claims = json!({
        "aud": [audience],
        "exp": now.saturating_add(lifetime),
        "iat": now,
        "iss": issuer,
        "jti": identifier::guid(),
        "kubernetes.io": {
            "namespace": namespace,
            "serviceaccount": { "name": name, "uid": identifier::guid_for(name) },
        },
        "nbf": now,
        "sub": format!("system:serviceaccount:{namespace}:{name}"),
    });
    format!(
        "{}.{}.{}",
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(claims.to_string()),
        URL_SAFE_NO_PAD.encode(identifier::random::<256>())
    )
}

#[cfg(test)]
mod tests {
    use super::super::TOKEN_EXCHANGE_AUDIENCE;
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn token(issuer: &str, name: &str, audience: &str, lifetime: i64) -> String {
        service_account_token(NOW, issuer, "ns", name, audience, lifetime)
    }

    #[test]
    fn what_is_accepted_and_how_the_rest_is_refused() {
        let federated = [FederatedCredential {
            issuer: "https://issuer/".to_owned(),
            subject: "system:serviceaccount:ns:app".to_owned(),
            audience: TOKEN_EXCHANGE_AUDIENCE.to_owned(),
        }];
        let good = token("https://issuer/", "app", TOKEN_EXCHANGE_AUDIENCE, 600);
        let slash = token("https://issuer", "app", TOKEN_EXCHANGE_AUDIENCE, 600);
        let other = token("https://issuer/", "other", TOKEN_EXCHANGE_AUDIENCE, 600);
        let case = token("https://issuer/", "App", TOKEN_EXCHANGE_AUDIENCE, 600);
        let audience = token("https://issuer/", "app", "api://other", 600);
        let expired = token("https://issuer/", "app", TOKEN_EXCHANGE_AUDIENCE, -600);
        let far = token("https://issuer/", "app", TOKEN_EXCHANGE_AUDIENCE, i64::MAX);
        let split = FederationErrors::Split;
        let combined = FederationErrors::Combined;
        let cases = [
            (good.as_str(), combined, None),
            (&slash, combined, Some(70_021)),
            (&slash, split, Some(700_211)),
            (&other, split, Some(700_213)),
            (&case, split, Some(7_002_138)),
            (&case, combined, Some(7_002_138)),
            (&audience, combined, Some(700_212)),
            (&expired, combined, Some(700_024)),
            (&far, combined, None),
            ("a.b", combined, Some(50_027)),
            ("a.b.c", combined, Some(50_027)),
            ("e30.e30.e30", combined, Some(50_027)),
        ];
        for (assertion, errors, code) in cases {
            assert_eq!(
                check(assertion, &federated, TOKEN_EXCHANGE_AUDIENCE, errors, NOW)
                    .err()
                    .map(|refusal| refusal.code()),
                code,
                "{assertion}"
            );
        }
        let nobody = check(&good, &[], TOKEN_EXCHANGE_AUDIENCE, combined, NOW).unwrap_err();
        assert_eq!(nobody.code(), 70_021);
    }
}
