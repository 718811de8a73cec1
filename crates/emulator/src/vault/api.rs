//! The Key Vault REST API: every request to a vault goes through here, in the order in which the
//! service decides: who asks, what for, whether they may, and then the answer.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use serde::de::DeserializeOwned;

use super::access::ObjectKind;
use super::authentication::authenticate;
use super::errors::VaultError;
use super::operation::{Operation, Verb};
use super::recovery::View;
use super::{Vault, api_version, certificates, deleted, keys, secrets};
use crate::entra::Caller;
use crate::faults::{Service, Subject, Verbatim, interpose};
use crate::identifier;
use crate::state::{Ask, State};

/// Answers a request to a vault.
pub(crate) async fn answer(state: &State, vault: &Vault, ask: &Ask) -> Response<Body> {
    let segments = ask.segments();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let operation = Operation::of(&ask.method, &segments);
    let object = operation.as_ref().ok().map(Operation::object);
    let caller = authenticate(state, vault, ask);
    if caller.is_ok() {
        count(state, vault, ask, operation.as_ref().ok());
    }
    let subject = Subject {
        service: Service::Vault,
        vault: Some(vault.name()),
        object: object.as_deref(),
        tenant: None,
        client: caller.as_ref().ok().map(|caller| caller.client_id.as_str()),
        authenticated: caller.is_ok(),
    };
    let effects = state.with_latency(state.faults.take(&subject));
    let principal = caller.as_ref().ok().map(|caller| caller.object_id.clone());
    let usual = async {
        let caller = match caller {
            Ok(caller) => caller,
            Err(challenge) => return *challenge,
        };
        operation
            .and_then(|operation| {
                let view = view(vault, ask)?;
                permit(vault, ask, &operation, &caller)?;
                perform(state, vault, ask, &operation, &view)
            })
            .unwrap_or_else(|refusal| refusal.response())
    };
    let mut response = interpose(Service::Vault, effects, ask.asked(), usual).await;
    if response.extensions().get::<Verbatim>().is_none() {
        label(vault, ask, principal.as_deref(), &mut response);
    }
    response
}

fn count(state: &State, vault: &Vault, ask: &Ask, operation: Option<&Operation<'_>>) {
    state.counters.count_vault(vault.name(), |counts| {
        let Some(operation) = operation.filter(|_| ask.method == "GET") else {
            counts.writes += u64::from(ask.method != "GET");
            return;
        };
        let list = match operation.verb {
            Verb::List => operation.object(),
            Verb::Versions => format!("{}/versions", operation.object()),
            Verb::ListDeleted => format!("deleted{}", operation.object()),
            _ => {
                *counts.gets.entry(operation.object()).or_default() += 1;
                return;
            }
        };
        *counts.lists.entry(list).or_default() += 1;
    });
}

fn view(vault: &Vault, ask: &Ask) -> Result<View, VaultError> {
    let contents = vault.contents();
    let version = ask.query.get("api-version").map(String::as_str);
    Ok(View {
        base: ask.base_url(),
        recovery: contents.recovery,
        version: api_version::asked(version, contents.latest_version)?,
    })
}

fn permit(
    vault: &Vault,
    ask: &Ask,
    operation: &Operation<'_>,
    caller: &Caller,
) -> Result<(), VaultError> {
    let contents = vault.contents();
    let described = contents.described(vault.name());
    if !contents.public_network_access && contents.private_endpoint.is_none() {
        return Err(VaultError::forbidden_by_connection(caller, &described));
    }
    if contents.firewall {
        let address = ask.connection.peer.ip();
        return Err(VaultError::forbidden_by_firewall(
            address, caller, &described,
        ));
    }
    let identities = [caller.client_id.as_str(), caller.object_id.as_str()];
    if contents
        .access
        .allows(&identities, operation.kind, operation.permission())
    {
        Ok(())
    } else if contents.rbac {
        Err(VaultError::forbidden_by_rbac(operation, caller, &described))
    } else {
        Err(VaultError::access_denied(operation, caller, &described))
    }
}

fn perform(
    state: &State,
    vault: &Vault,
    ask: &Ask,
    operation: &Operation<'_>,
    view: &View,
) -> Result<Response<Body>, VaultError> {
    let page_size = state.settings.page_size;
    match operation.verb {
        Verb::GetDeleted | Verb::ListDeleted | Verb::Delete | Verb::Recover | Verb::Purge => {
            deleted::perform(vault, ask, operation, view, page_size)
        }
        _ => match operation.kind {
            ObjectKind::Secret => secrets::perform(vault, ask, operation, view, page_size),
            ObjectKind::Key => keys::perform(vault, ask, operation, view, page_size),
            ObjectKind::Certificate => {
                certificates::perform(vault, ask, operation, view, page_size)
            }
        },
    }
}

/// A request's body as JSON.
pub(crate) fn parse<T: DeserializeOwned>(ask: &Ask) -> Result<T, VaultError> {
    serde_json::from_slice(&ask.body)
        .map_err(|error| VaultError::bad_parameter(format!("The request body is invalid: {error}")))
}

/// The headers that every answer of Key Vault has, in the order of recorded ones.
fn label(vault: &Vault, ask: &Ask, principal: Option<&str>, response: &mut Response<Body>) {
    let contents = vault.contents();
    let own = std::mem::take(response.headers_mut());
    let headers = response.headers_mut();
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    set("cache-control", "no-cache");
    set("pragma", "no-cache");
    set("expires", "-1");
    set("x-ms-keyvault-region", &contents.location);
    if let Some(id) = ask.header("x-ms-client-request-id") {
        set("x-ms-client-request-id", id);
    }
    set("x-ms-request-id", &identifier::guid());
    set("x-ms-keyvault-service-version", "1.9.3019.1");
    set(
        "x-ms-keyvault-network-info",
        &network_info(ask, contents.private_endpoint.as_deref()),
    );
    if let Some(principal) = principal.filter(|_| contents.rbac) {
        let assignment = identifier::guid_for(&format!("{} {principal}", vault.name()));
        set("x-ms-keyvault-rbac-assignment-id", &assignment);
        set(
            "x-ms-keyvault-rbac-cache",
            "ra_age=55;da_age=55;rd_age=55;brd_age=16767;dec_lev=1;",
        );
    }
    set("x-content-type-options", "nosniff");
    set(
        "strict-transport-security",
        "max-age=31536000;includeSubDomains",
    );
    headers.extend(own);
    if response.status() == StatusCode::NO_CONTENT {
        *response.body_mut() = Body::empty();
    }
}

/// How the client came in, as recorded with and without a private endpoint.
fn network_info(ask: &Ask, private_endpoint: Option<&str>) -> String {
    let address = ask.connection.peer.ip();
    match private_endpoint {
        Some(id) => format!(
            "conn_type=PrivateLink;private_endpoint={id};addr={address};\
             act_addr_fam=InterNetworkV6;"
        ),
        None if address.is_ipv4() => {
            format!("conn_type=Ipv4;addr={address};act_addr_fam=InterNetwork;")
        }
        None => format!("conn_type=Ipv6;addr={address};act_addr_fam=InterNetworkV6;"),
    }
}
