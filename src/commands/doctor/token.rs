//! The access token: who gives one, and the claims of it that matter to a vault.

use serde::Deserialize;
use serde_json::json;
use time::OffsetDateTime;

use crate::azure::credential::TokenService;
use crate::azure::vault::VaultError;
use crate::azure::vault::azure::Vault;
use crate::class::asked::Asked;
use crate::class::assertion;
use crate::commands::doctor::report::Report;
use crate::commands::doctor::step::{Facts, Step, Subject};
use crate::commands::doctor::way::rfc3339;
use crate::commands::doctor::why;
use crate::commands::driver_call::WithoutToken;
use crate::explain::Explanation;
use crate::text::excerpt::one_line;
use crate::text::sensitive::Sensitive;

/// The most characters of a claim that are shown.
const MAX_CHARS: usize = 100;

/// The claims by which a vault knows who asks. None of them is secret.
///
/// Source: "Access token claims reference" of the Microsoft identity platform; version 2.0 says `azp` for `appid`.
#[derive(Default, Deserialize)]
struct AccessToken {
    tid: Option<String>,
    oid: Option<String>,
    #[serde(alias = "azp")]
    appid: Option<String>,
    aud: Option<String>,
}

/// Why nobody is asked: what proves the identity is not here. Whether the driver sends it to the provider is not known.
pub(super) fn missing(without: &WithoutToken) -> Explanation {
    let WithoutToken {
        why, in_cluster, ..
    } = without;
    Explanation {
        fix: format!(
            "give doctor the pod's token: {} (or put what kubectl create token --output yaml prints behind the class); if \
             a pod fails with this reason: {in_cluster}",
            why.fix
        ),
        ..why.clone()
    }
}

/// Asks for a token. Whether there is one.
pub(super) async fn examine(report: &mut Report, vault: &Vault, asked: &Asked) -> bool {
    let credential = vault.credential();
    let service = credential.service();
    let step = Step::begin(Subject::Token, service.to_string());
    // A vault in a cloud of its own is asked what its tokens are for.
    let token = match vault.scope().await {
        Ok(scope) => {
            let token = credential.token(&scope).await;
            token.map_err(|error| VaultError::Token(Box::new(error)))
        }
        Err(error) => Err(error),
    };
    match token {
        Ok(token) => {
            let claims = Sensitive::from(token.token.secret().to_owned());
            let claims = assertion::payload(&claims).unwrap_or_default();
            report.add(step.works(facts(service, &claims, token.expires_on)))
        }
        Err(error) => report.add(step.failed(why::whole(asked, error))),
    }
}

fn facts(service: TokenService, claims: &AccessToken, expires: OffsetDateTime) -> Facts {
    let shown = |claim: &Option<String>| {
        let claim = claim.as_deref()?;
        Some(one_line(claim, MAX_CHARS))
    };
    let (tid, oid) = (shown(&claims.tid), shown(&claims.oid));
    let (appid, aud) = (shown(&claims.appid), shown(&claims.aud));
    let mut said = vec!["given".to_owned()];
    for (name, claim) in [
        ("tid", &tid),
        ("oid", &oid),
        ("appid", &appid),
        ("aud", &aud),
    ] {
        said.extend(claim.iter().map(|claim| format!("{name} {claim}")));
    }
    let left = expires - OffsetDateTime::now_utc();
    said.push(format!("expires in {} min", left.whole_minutes()));
    Facts {
        summary: said.join(", "),
        details: json!({
            "service": service.to_string(),
            "tid": tid,
            "oid": oid,
            "appid": appid,
            "aud": aud,
            "expires": rfc3339(expires),
        }),
        warnings: Vec::new(),
    }
}
