//! Who asks: the kind of identity, and what the pod's token says of itself.

use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::class::assertion::{self, Audience};
use crate::class::identity::{Audiences, IDENTITY_BINDING_AUDIENCE, Identity, IdentityName};
use crate::commands::doctor::step::Facts;
use crate::commands::doctor::way::rfc3339;
use crate::text::excerpt::one_line;
use crate::text::sensitive::Sensitive;

/// The most characters of a claim that are shown.
const MAX_CHARS: usize = 150;

/// The claims of a service account token that its exchange depends on. None of them is secret.
#[derive(Deserialize)]
struct PodToken {
    iss: String,
    sub: String,
    aud: Audience,
}

/// What is known of the identity without asking anyone.
pub(super) fn facts(identity: &Identity, audiences: &Audiences) -> Facts {
    let token = match identity {
        Identity::Workload { assertion, .. } => Some(of_token(assertion, &audiences.names())),
        Identity::Binding { assertion, .. } => {
            Some(of_token(assertion, &[IDENTITY_BINDING_AUDIENCE]))
        }
        Identity::ServicePrincipal { .. } | Identity::Managed(_) => None,
    };
    let IdentityName { kind, id } = identity.name();
    let mut details = json!({
        "kind": kind,
        "client_id": identity.client_id(),
    });
    let mut facts = Facts {
        summary: format!("{kind}, {}", one_line(&id.to_string(), MAX_CHARS)),
        ..Facts::default()
    };
    if let Some(token) = token {
        facts.summary = format!("{}; {}", facts.summary, token.summary);
        facts.warnings = token.warnings;
        details["token"] = token.details;
    }
    facts.details = details;
    facts
}

/// What is known of an identity whose proof is not here.
pub(super) fn without_token(identity: &Identity) -> Facts {
    let kind = identity.name().kind;
    let client_id = identity.client_id();
    let who = one_line(client_id.unwrap_or_default(), MAX_CHARS);
    Facts {
        summary: format!("{kind}, client ID {who}; the pod's token is not here"),
        details: json!({ "kind": kind, "client_id": client_id, "token": null }),
        ..Facts::default()
    }
}

/// What the pod's token says, for whom it should be.
fn of_token(token: &Sensitive, expected: &[&str]) -> Facts {
    let Some(claims) = assertion::payload::<PodToken>(token) else {
        return Facts {
            summary: "the pod's token cannot be read".to_owned(),
            details: Value::Null,
            warnings: vec!["the pod's token is no JSON Web Token with iss, sub and aud".to_owned()],
        };
    };
    let audiences = claims.aud.into_vec();
    let audiences: Vec<_> = audiences
        .iter()
        .map(|audience| one_line(audience, MAX_CHARS))
        .collect();
    let (issuer, subject) = (
        one_line(&claims.iss, MAX_CHARS),
        one_line(&claims.sub, MAX_CHARS),
    );
    let expires = assertion::expiry(token);
    let mut warnings = Vec::new();
    if !audiences
        .iter()
        .any(|audience| expected.contains(&audience.as_str()))
    {
        let expected = expected.join(" or ");
        warnings.push(format!("the pod's token is not for audience {expected}"));
    }
    let end = match expires {
        Some(end) => {
            let left = end - OffsetDateTime::now_utc();
            if left.is_positive() {
                format!("expires in {} min", left.whole_minutes())
            } else {
                warnings.push(format!(
                    "the pod's token expired {} min ago, and is exchanged no more; the kubelet renews those of pods",
                    -left.whole_minutes()
                ));
                "expired".to_owned()
            }
        }
        None => "without an expiry".to_owned(),
    };
    Facts {
        summary: format!(
            "the pod's token: issuer {issuer}, subject {subject}, audience {}, {end}",
            audiences.join(" ")
        ),
        details: json!({
            "issuer": issuer,
            "subject": subject,
            "audiences": audiences,
            "expires": expires.and_then(rfc3339),
        }),
        warnings,
    }
}
