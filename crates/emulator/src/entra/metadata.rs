//! The metadata that clients may read before they ask for a token: where a tenant's endpoints are,
//! and which hosts stand for the same cloud. Microsoft's MSAL libraries do.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use serde_json::json;

use super::errors::Refusal;
use super::known_tenant;
use crate::body;
use crate::cloud::{Cloud, Role};
use crate::state::{Ask, State};

/// The metadata of a tenant (`openid-configuration`).
pub(crate) fn of_tenant(state: &State, ask: &Ask, tenant: &str) -> Result<Response<Body>, Refusal> {
    if !matches!(tenant, "common" | "organizations") {
        known_tenant(state, tenant)?;
    }
    let base = format!("{}/{tenant}", ask.base_url());
    Ok(body::json(
        StatusCode::OK,
        &json!({
            "token_endpoint": format!("{base}/oauth2/v2.0/token"),
            "token_endpoint_auth_methods_supported":
                ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "jwks_uri": format!("{base}/discovery/v2.0/keys"),
            "response_modes_supported": ["query", "fragment", "form_post"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "issuer": format!("{base}/v2.0"),
            "request_uri_parameter_supported": false,
            "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
            "device_authorization_endpoint": format!("{base}/oauth2/v2.0/devicecode"),
            "http_logout_supported": true,
            "frontchannel_logout_supported": true,
            "end_session_endpoint": format!("{base}/oauth2/v2.0/logout"),
            "claims_supported": ["sub", "iss", "aud", "exp", "iat", "tid", "ver"],
            "tenant_region_scope": null,
            "cloud_instance_name": crate::cloud::without_port(&ask.host),
        }),
    ))
}

/// The metadata of the clouds (instance discovery).
pub(crate) fn of_clouds(ask: &Ask) -> Response<Body> {
    let endpoint = ask
        .query
        .get("authorization_endpoint")
        .cloned()
        .unwrap_or_default();
    let tenant_base = endpoint
        .split_once("/oauth2/")
        .map_or(endpoint.as_str(), |(base, _)| base);
    let mut metadata: Vec<_> = Cloud::ALL
        .into_iter()
        .map(|cloud| {
            let host = cloud.authority_host();
            let aliases = match cloud {
                Cloud::Public => vec![host, "login.windows.net", "login.microsoft.com"],
                Cloud::UsGovernment => vec![host],
                Cloud::China => vec![host, "login.partner.microsoftonline.cn"],
            };
            json!({ "preferred_network": host, "preferred_cache": host, "aliases": aliases })
        })
        .collect();
    if matches!(Role::of(&ask.host), Role::Login { cloud: None }) {
        let host = &ask.host;
        metadata
            .push(json!({ "preferred_network": host, "preferred_cache": host, "aliases": [host] }));
    }
    body::json(
        StatusCode::OK,
        &json!({
            "tenant_discovery_endpoint":
                format!("{tenant_base}/v2.0/.well-known/openid-configuration"),
            "api-version": "1.1",
            "metadata": metadata,
        }),
    )
}
