//! Who is asking: the challenge for those who bring no token, and the check of those who do.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

use super::Vault;
use crate::body;
use crate::cloud::{Cloud, Role};
use crate::entra::Caller;
use crate::state::{Ask, State};

/// Where a vault sends its clients for a token and what for; by the host that was asked.
struct Challenge {
    authority: String,
    resource: String,
    /// Other audiences that are taken: on loopback those of the vault's cloud.
    also: Vec<String>,
}

impl Challenge {
    fn new(vault: &Vault, ask: &Ask) -> Self {
        let tenant = vault.tenant();
        let of_cloud = |cloud: Cloud| format!("https://{}", cloud.vault_domain());
        if let Role::Vault {
            cloud: Some(cloud), ..
        } = Role::of(&ask.host)
        {
            return Self {
                authority: format!("https://{}/{tenant}", cloud.authority_host()),
                resource: of_cloud(cloud),
                also: Vec::new(),
            };
        }
        let port = ask.port_suffix();
        Self {
            authority: format!("https://login.localhost{port}/{tenant}"),
            resource: format!("https://vault.localhost{port}"),
            also: vec![of_cloud(vault.cloud())],
        }
    }

    /// The 401s that are recorded name no `error` in their challenge, whatever the reason.
    fn response(&self, message: &str) -> Response<Body> {
        let mut response = body::json(
            StatusCode::UNAUTHORIZED,
            &json!({ "error": { "code": "Unauthorized", "message": message } }),
        );
        let challenge = format!(
            "Bearer authorization=\"{}\", resource=\"{}\"",
            self.authority, self.resource
        );
        if let Ok(challenge) = HeaderValue::from_str(&challenge) {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// The caller, or the 401 to answer with.
pub(crate) fn authenticate(
    state: &State,
    vault: &Vault,
    ask: &Ask,
) -> Result<Caller, Box<Response<Body>>> {
    let challenge = Challenge::new(vault, ask);
    let Some(token) = ask.header("authorization").and_then(bearer) else {
        state
            .counters
            .count_vault(vault.name(), |counts| counts.challenges += 1);
        let text = "AKV10000: Request is missing a Bearer or PoP token.";
        return Err(Box::new(challenge.response(text)));
    };
    let mut resources = vec![challenge.resource.clone()];
    resources.extend(challenge.also.iter().cloned());
    let issuer_host = vault.cloud().issuer_host();
    state
        .entra
        .verify(token, &resources, &vault.tenant(), issuer_host)
        .map_err(|rejection| {
            state
                .counters
                .count_vault(vault.name(), |counts| counts.unauthorized += 1);
            Box::new(challenge.response(&rejection.0))
        })
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
