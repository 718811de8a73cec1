//! The Instance Metadata Service: tokens for the managed identities of this machine
//! ("How to use managed identities for Azure resources on an Azure VM to acquire an access token").

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::entra::{Grant, resource_exists};
use crate::faults::{Service, Subject, Verbatim, interpose};
use crate::state::{Ask, State};
use crate::{body, identifier};

/// This machine's resource id: tokens carry it, and Key Vault's refusals repeat it.
const MACHINE: &str = "/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/\
                       MC_azure-emulator/providers/Microsoft.Compute/virtualMachineScaleSets/\
                       aks-nodepool1-vmss";

/// A managed identity assigned to this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ManagedIdentity {
    /// The client id.
    pub client_id: String,
    /// The object id of its service principal; derived from the client id when it is not given.
    #[serde(default)]
    pub object_id: Option<String>,
    /// Its tenant; the emulator's default tenant when it is not given.
    #[serde(default)]
    pub tenant: Option<String>,
    /// `/subscriptions/.../userAssignedIdentities/NAME`.
    #[serde(default)]
    pub resource_id: Option<String>,
    /// Whether it is the machine's system-assigned identity.
    #[serde(default)]
    pub system_assigned: bool,
}

impl ManagedIdentity {
    /// A user-assigned identity.
    pub fn user_assigned(client_id: impl Into<String>, object_id: impl Into<String>) -> Self {
        Self {
            client_id: client_id.into(),
            object_id: Some(object_id.into()),
            tenant: None,
            resource_id: None,
            system_assigned: false,
        }
    }

    /// The system-assigned identity.
    pub fn system_assigned(client_id: impl Into<String>, object_id: impl Into<String>) -> Self {
        Self {
            system_assigned: true,
            ..Self::user_assigned(client_id, object_id)
        }
    }

    /// In this tenant instead of the default one.
    #[must_use]
    pub fn in_tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// With this resource id.
    #[must_use]
    pub fn with_resource_id(mut self, resource_id: impl Into<String>) -> Self {
        self.resource_id = Some(resource_id.into());
        self
    }

    fn resource(&self) -> String {
        match &self.resource_id {
            Some(id) => id.clone(),
            None if self.system_assigned => MACHINE.to_owned(),
            None => format!(
                "/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/azure-emulator/\
                 providers/Microsoft.ManagedIdentity/userAssignedIdentities/{}",
                self.client_id
            ),
        }
    }

    fn object(&self) -> String {
        self.object_id
            .clone()
            .unwrap_or_else(|| identifier::guid_for(&self.client_id))
    }
}

/// The managed identities of this machine; clones share them. There is none at first.
#[derive(Clone, Debug, Default)]
pub struct Imds {
    identities: Arc<Mutex<Vec<ManagedIdentity>>>,
}

impl Imds {
    /// Assigns an identity, in place of one with the same client id.
    pub fn assign(&self, identity: ManagedIdentity) {
        let mut identities = self.identities.lock();
        identities.retain(|other| !same(&other.client_id, &identity.client_id));
        identities.push(identity);
    }

    /// Takes an identity away; false when it was not assigned.
    pub fn unassign(&self, client_id: &str) -> bool {
        let mut identities = self.identities.lock();
        let before = identities.len();
        identities.retain(|other| !same(&other.client_id, client_id));
        identities.len() != before
    }

    /// The identities that are assigned.
    pub fn identities(&self) -> Vec<ManagedIdentity> {
        self.identities.lock().clone()
    }

    fn find(&self, ask: &Ask) -> Result<ManagedIdentity, Refusal> {
        let identities = self.identities.lock();
        let asked = |name: &str| ask.query.get(name).map(String::as_str);
        let named = |fits: &dyn Fn(&ManagedIdentity) -> bool| {
            identities
                .iter()
                .find(|identity| fits(identity))
                .cloned()
                .ok_or_else(Refusal::not_found)
        };
        if let Some(client_id) = asked("client_id") {
            return named(&|identity| same(&identity.client_id, client_id));
        }
        if let Some(object_id) = asked("object_id").or_else(|| asked("principal_id")) {
            return named(&|identity| same(&identity.object(), object_id));
        }
        if let Some(id) = asked("msi_res_id").or_else(|| asked("mi_res_id")) {
            return named(&|identity| {
                identity
                    .resource_id
                    .as_deref()
                    .is_some_and(|own| same(own, id))
            });
        }
        if let Some(identity) = identities.iter().find(|identity| identity.system_assigned) {
            return Ok(identity.clone());
        }
        match &identities[..] {
            [] => Err(Refusal::not_found()),
            [only] => Ok(only.clone()),
            _ => Err(Refusal::several()),
        }
    }
}

fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

#[derive(Debug)]
struct Refusal {
    error: &'static str,
    text: String,
}

impl Refusal {
    fn invalid(text: impl Into<String>) -> Self {
        Self {
            error: "invalid_request",
            text: text.into(),
        }
    }

    fn not_found() -> Self {
        Self::invalid("Identity not found")
    }

    fn several() -> Self {
        Self::invalid(
            "Multiple user assigned identities exist, please specify the clientId / resourceId of \
             the identity in the token request",
        )
    }

    fn response(&self) -> Response<Body> {
        body::json(
            StatusCode::BAD_REQUEST,
            &json!({ "error": self.error, "error_description": self.text }),
        )
    }
}

/// Answers a request to the metadata service.
pub(crate) async fn answer(state: &State, ask: &Ask) -> Response<Body> {
    let subject = Subject {
        service: Service::Imds,
        vault: None,
        object: None,
        tenant: None,
        client: ask.query.get("client_id").map(String::as_str),
        authenticated: false,
    };
    let effects = state.with_latency(state.faults.take(&subject));
    let usual = async {
        if ask.method != "GET" || ask.path != "/metadata/identity/oauth2/token" {
            return body::text(
                StatusCode::NOT_FOUND,
                format!(
                    "azure-emulator: IMDS here has no {} {}",
                    ask.method, ask.path
                ),
            );
        }
        token(state, ask).unwrap_or_else(|refusal| refusal.response())
    };
    let mut answer = interpose(Service::Imds, effects, ask.asked(), usual).await;
    if answer.extensions().get::<Verbatim>().is_none() {
        answer.headers_mut().insert(
            header::SERVER,
            HeaderValue::from_static("IMDS/150.870.65.1854"),
        );
    }
    answer
}

fn token(state: &State, ask: &Ask) -> Result<Response<Body>, Refusal> {
    if !ask
        .header("metadata")
        .is_some_and(|value| same(value, "true"))
    {
        return Err(Refusal::invalid("Required metadata header not specified"));
    }
    if ask.header("x-forwarded-for").is_some() {
        return Err(Refusal::invalid("Request contains X-Forwarded-For header"));
    }
    let asked = |name: &str| ask.query.get(name).filter(|value| !value.is_empty());
    match asked("api-version").map(String::as_str) {
        None => {
            return Err(Refusal::invalid(
                "Required query variable 'api-version' is missing",
            ));
        }
        Some(version) if version < "2018-02-01" || version.len() != 10 => {
            return Err(Refusal::invalid(format!(
                "API version '{version}' is not supported"
            )));
        }
        Some(_) => {}
    }
    let resource = asked("resource")
        .ok_or_else(|| Refusal::invalid("Required query variable 'resource' is missing"))?;
    let identity = state.imds.find(ask)?;
    let tenant = identity.tenant.as_ref().unwrap_or(&state.settings.tenant);
    if !resource_exists(resource, state.settings.cloud) {
        return Err(Refusal {
            error: "invalid_resource",
            text: format!(
                "AADSTS500011: The resource principal named {resource} was not found in the \
                 tenant named {tenant}."
            ),
        });
    }
    let issued = state.entra.issue(&Grant {
        issuer_host: state.settings.cloud.issuer_host(),
        tenant,
        client_id: &identity.client_id,
        object_id: &identity.object(),
        resource,
        authentication: 2,
        resource_id: Some(&identity.resource()),
        machine: Some(MACHINE),
    });
    state.counters.count(|counts| {
        let client = identity.client_id.clone();
        *counts.imds.tokens_issued.entry(client).or_default() += 1;
    });
    Ok(body::typed(
        StatusCode::OK,
        "application/json; charset=utf-8",
        json!({
            "access_token": issued.token,
            "client_id": identity.client_id,
            "expires_in": issued.lifetime.to_string(),
            "expires_on": issued.expires.to_string(),
            "ext_expires_in": issued.lifetime.to_string(),
            "not_before": issued.not_before.to_string(),
            "resource": resource,
            "token_type": "Bearer",
        })
        .to_string()
        .into(),
    ))
}

/// The error that IMDS gives with a status that a fault asks for.
pub(crate) fn error_for_status(status: StatusCode) -> Response<Body> {
    let (error, text) = match status.as_u16() {
        429 => ("too_many_requests", "Too many requests"),
        404 => ("not_found", "IMDS endpoint is updating"),
        410 => ("gone", "IMDS is going through updates"),
        400..=499 => ("invalid_request", "Identity not found"),
        _ => (
            "internal_server_error",
            "Failed to retrieve token from the Active directory",
        ),
    };
    body::json(
        status,
        &json!({ "error": error, "error_description": text }),
    )
}
