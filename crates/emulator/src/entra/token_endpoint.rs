//! The token endpoint, for the client credentials grant by secret or by assertion.

use std::collections::HashMap;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use serde_json::json;

use super::access_token::Grant;
use super::errors::Refusal;
use super::{
    IDENTITY_BINDING_AUDIENCE, Registration, TOKEN_EXCHANGE_AUDIENCE, assertion, known_tenant,
};
use crate::body;
use crate::cloud::{Cloud, Role};
use crate::faults::Service;
use crate::state::{Ask, State};

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The fields of a form; of a repeated one the last.
pub(crate) fn form(body: &[u8]) -> HashMap<String, String> {
    url::form_urlencoded::parse(body).into_owned().collect()
}

pub(crate) fn answer(
    state: &State,
    ask: &Ask,
    service: Service,
    tenant: &str,
    form: &HashMap<String, String>,
) -> Result<Response<Body>, Refusal> {
    let cloud = match Role::of(&ask.host) {
        Role::Login { cloud: Some(cloud) } => cloud,
        _ => state.settings.cloud,
    };
    let field = |name: &str| {
        form.get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| Refusal::missing_parameter(name))
    };
    let grant_type = field("grant_type")?;
    if grant_type != "client_credentials" {
        return Err(Refusal::unsupported_grant(grant_type));
    }
    let client_id = field("client_id")?;
    let tenant = known_tenant(state, tenant)?;
    let resource = resource(form)?;
    let registration = registration(state, &tenant, client_id)?;
    let authentication = authenticate(state, service, form, client_id, &registration)?;
    if !resource_exists(resource, cloud) {
        return Err(Refusal::unknown_resource(resource, &tenant));
    }
    let issued = state.entra.issue(&Grant {
        issuer_host: cloud.issuer_host(),
        tenant: &tenant,
        client_id,
        object_id: &registration.object_id,
        resource,
        authentication,
        resource_id: None,
        machine: None,
    });
    state.counters.count(|counts| {
        let client = client_id.to_owned();
        *counts
            .tokens(service)
            .tokens_issued
            .entry(client)
            .or_default() += 1;
    });
    Ok(body::json(
        StatusCode::OK,
        &json!({
            "token_type": "Bearer",
            "expires_in": issued.lifetime,
            "ext_expires_in": issued.lifetime,
            "access_token": issued.token,
        }),
    ))
}

/// The resource that a scope names.
fn resource(form: &HashMap<String, String>) -> Result<&str, Refusal> {
    let scope = form
        .get("scope")
        .ok_or_else(|| Refusal::missing_parameter("scope"))?;
    // The OpenID scopes that some clients add say nothing about the resource.
    scope
        .split_whitespace()
        .find_map(|one| one.strip_suffix("/.default"))
        .ok_or_else(|| Refusal::invalid_scope(scope))
}

fn registration(state: &State, tenant: &str, client_id: &str) -> Result<Registration, Refusal> {
    let directory = state.entra.directory.lock();
    directory
        .tenants
        .get(tenant)
        .and_then(|apps| apps.get(&client_id.to_ascii_lowercase()))
        .cloned()
        .ok_or_else(|| Refusal::application_not_found(client_id, tenant))
}

/// How the client showed who it is, as `appidacr` tells it.
fn authenticate(
    state: &State,
    service: Service,
    form: &HashMap<String, String>,
    client_id: &str,
    registration: &Registration,
) -> Result<u8, Refusal> {
    if let Some(assertion) = form.get("client_assertion") {
        let kind = form
            .get("client_assertion_type")
            .ok_or_else(|| Refusal::missing_parameter("client_assertion_type"))?;
        if kind != JWT_BEARER {
            return Err(Refusal::wrong_assertion_type(kind));
        }
        let errors = state.entra.directory.lock().federation_errors;
        let (trusted, audience) = match service {
            Service::TokenProxy => (&registration.bindings, IDENTITY_BINDING_AUDIENCE),
            _ => (&registration.federated, TOKEN_EXCHANGE_AUDIENCE),
        };
        assertion::check(assertion, trusted, audience, errors, state.clock.unix())?;
        return Ok(2);
    }
    let secret = form
        .get("client_secret")
        .filter(|_| service == Service::Entra)
        .ok_or_else(Refusal::no_credential)?;
    if registration.secrets.contains(secret) {
        Ok(1)
    } else if registration.expired_secrets.contains(secret) {
        Err(Refusal::expired_secret(client_id))
    } else {
        Err(Refusal::wrong_secret(client_id))
    }
}

/// Whether Entra ID in this cloud knows the resource: Key Vault, Resource Manager and Graph.
pub(crate) fn resource_exists(resource: &str, cloud: Cloud) -> bool {
    let resource = resource.strip_suffix('/').unwrap_or(resource);
    let vaults_here = format!("https://{}", cloud.vault_domain());
    let vaults_on_loopback = resource
        .strip_prefix("https://")
        .is_some_and(|host| crate::cloud::without_port(host) == "vault.localhost");
    resource == vaults_here
        || vaults_on_loopback
        || matches!(
            resource,
            "https://management.azure.com"
                | "https://management.core.windows.net"
                | "https://graph.microsoft.com"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_from_scopes() {
        let cases = [
            (
                "scope=https://vault.azure.net/.default",
                Some("https://vault.azure.net"),
            ),
            (
                "scope=https://vault.azure.net//.default",
                Some("https://vault.azure.net/"),
            ),
            (
                "scope=openid+https://vault.azure.net/.default",
                Some("https://vault.azure.net"),
            ),
            ("scope=https://vault.azure.net", None),
            ("", None),
        ];
        for (body, expected) in cases {
            assert_eq!(resource(&form(body.as_bytes())).ok(), expected, "{body}");
        }
    }
}
