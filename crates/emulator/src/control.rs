//! The control API: what tests do through the handles, as JSON over plain HTTP on loopback, for
//! people, scripts and tests in other languages. `README.md` lists its routes.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State as Shared};
use axum::http::{Response, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::body;
use crate::counters::{Counts, RequestRecord};
use crate::entra::{SERVICE_ACCOUNT_ISSUER, TOKEN_EXCHANGE_AUDIENCE};
use crate::faults::Fault;
use crate::imds::ManagedIdentity;
use crate::seed::{
    ApplicationSeed, CertificateSeed, KeySeed, SecretSeed, Seed, SeedError, VaultSeed,
};
use crate::state::State;
use crate::vault::{ObjectKind, Permissions, Vault, VaultError};

type Emulator = Shared<Arc<State>>;
/// A vault and an object in it.
type Of = Path<(String, String)>;

pub(crate) fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/", get(urls))
        .route("/health", get(|| async { "ok\n" }))
        .route("/ca.pem", get(ca))
        .route("/seed", post(seed))
        .route("/vaults", get(vaults))
        .route("/vaults/{vault}", put(put_vault).delete(delete_vault))
        .route(
            "/vaults/{vault}/access/{identity}",
            put(grant).delete(revoke),
        )
        .route(
            "/vaults/{vault}/secrets/{name}",
            put(put_secret).delete(async |state: Emulator, of: Of| {
                delete_object(&state, ObjectKind::Secret, &of)
            }),
        )
        .route(
            "/vaults/{vault}/keys/{name}",
            put(put_key).delete(async |state: Emulator, of: Of| {
                delete_object(&state, ObjectKind::Key, &of)
            }),
        )
        .route(
            "/vaults/{vault}/certificates/{name}",
            put(put_certificate).delete(async |state: Emulator, of: Of| {
                delete_object(&state, ObjectKind::Certificate, &of)
            }),
        )
        .route("/vaults/{vault}/certificates/{name}/issue", post(issue))
        .route(
            "/vaults/{vault}/{collection}/{name}/{version}/{switch}",
            post(switch),
        )
        .route("/tenants", get(tenants))
        .route("/tenants/{tenant}", put(put_tenant).delete(delete_tenant))
        .route(
            "/tenants/{tenant}/applications/{client}",
            put(put_application).delete(delete_application),
        )
        .route("/identities", get(identities).post(assign))
        .route("/identities/{client}", delete(unassign))
        .route("/faults", get(faults).post(add_fault).delete(clear_faults))
        .route("/faults/{number}", delete(remove_fault))
        .route("/counters", get(counters).delete(reset_counters))
        .route("/requests", get(requests))
        .route("/clock/advance", post(advance_clock))
        .route("/clock/reset", post(reset_clock))
        .route("/tokens/revoke", post(revoke_tokens))
        .route("/tokens/lifetime", post(token_lifetime))
        .route("/service-account-tokens", post(service_account_token))
        .fallback(|| async { Refusal::absent("no such route; see the README of azure-emulator") })
        .with_state(state)
}

/// Serves one connection to the control API.
pub(crate) async fn serve(stream: TcpStream, router: Router) {
    if let Err(error) = auto::Builder::new(TokioExecutor::new())
        .http1_only()
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await
    {
        tracing::debug!(%error, "a control connection broke off");
    }
}

/// A refusal of the control API: `{"error": "..."}`.
#[derive(Debug)]
struct Refusal(StatusCode, String);

impl Refusal {
    fn absent(what: impl Into<String>) -> Self {
        Self(StatusCode::NOT_FOUND, what.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response<Body> {
        body::json(self.0, &json!({ "error": self.1 }))
    }
}

impl From<VaultError> for Refusal {
    fn from(error: VaultError) -> Self {
        let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
        Self(status, error.to_string())
    }
}

impl From<SeedError> for Refusal {
    fn from(error: SeedError) -> Self {
        let reason = std::error::Error::source(&error)
            .map_or_else(String::new, |source| format!(": {source}"));
        Self(StatusCode::BAD_REQUEST, format!("{error}{reason}"))
    }
}

type Answer<T = StatusCode> = Result<T, Refusal>;

const DONE: Answer = Ok(StatusCode::NO_CONTENT);

fn found(found: bool, what: &str) -> Answer {
    if found {
        DONE
    } else {
        Err(Refusal::absent(what))
    }
}

/// A vault that exists: the control API makes none by accident.
fn vault(state: &State, name: &str) -> Answer<Vault> {
    state
        .existing_vault(name)
        .ok_or_else(|| Refusal::absent(format!("no vault '{name}'")))
}

async fn urls(state: Emulator) -> Json<Value> {
    Json(json!(state.urls))
}

async fn ca(state: Emulator) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "application/x-pem-file")],
        state.ca.pem().to_owned(),
    )
}

async fn seed(state: Emulator, Json(seed): Json<Seed>) -> Answer {
    seed.plant(&state)?;
    DONE
}

async fn vaults(state: Emulator) -> Json<Value> {
    let show = |vault: Vault| {
        let shown = json!({
            "tenant": vault.tenant(),
            "cloud": vault.cloud(),
            "secrets": vault.names(ObjectKind::Secret),
            "keys": vault.names(ObjectKind::Key),
            "certificates": vault.names(ObjectKind::Certificate),
        });
        (vault.name().to_owned(), shown)
    };
    Json(state.vaults().into_iter().map(show).collect())
}

async fn put_vault(
    state: Emulator,
    Path(name): Path<String>,
    seed: Option<Json<VaultSeed>>,
) -> Answer {
    let seed = seed.map_or_else(VaultSeed::default, |Json(seed)| seed);
    seed.plant(&state.vault(&name))?;
    DONE
}

async fn delete_vault(state: Emulator, Path(name): Path<String>) -> Answer {
    found(state.remove_vault(&name), "no such vault")
}

async fn grant(
    state: Emulator,
    Path((name, identity)): Path<(String, String)>,
    Json(permissions): Json<Permissions>,
) -> Answer {
    vault(&state, &name)?.grant(&identity, permissions);
    DONE
}

async fn revoke(state: Emulator, Path((name, identity)): Path<(String, String)>) -> Answer {
    found(
        vault(&state, &name)?.revoke(&identity),
        "nothing was granted to this identity",
    )
}

async fn put_secret(
    state: Emulator,
    Path((of, name)): Of,
    Json(seed): Json<SecretSeed>,
) -> Answer<Json<Value>> {
    let version = seed.plant(&vault(&state, &of)?, &name);
    Ok(Json(json!({ "version": version })))
}

async fn put_key(
    state: Emulator,
    Path((of, name)): Of,
    Json(seed): Json<KeySeed>,
) -> Answer<Json<Value>> {
    let version = seed.plant(&vault(&state, &of)?, &name);
    Ok(Json(json!({ "version": version })))
}

async fn put_certificate(
    state: Emulator,
    Path((of, name)): Of,
    Json(seed): Json<CertificateSeed>,
) -> Answer<Json<Value>> {
    let version = seed.plant(&vault(&state, &of)?, &name)?;
    Ok(Json(json!({ "version": version })))
}

async fn issue(state: Emulator, Path((of, name)): Of) -> Answer<Json<Value>> {
    let version = vault(&state, &of)?.issue_certificate(&name)?;
    Ok(Json(json!({ "version": version })))
}

fn kind(collection: &str) -> Answer<ObjectKind> {
    ObjectKind::from_collection(collection)
        .ok_or_else(|| Refusal::absent(format!("no collection '{collection}'")))
}

fn delete_object(state: &State, kind: ObjectKind, Path((of, name)): &Of) -> Answer {
    vault(state, of)?.delete(kind, name)?;
    DONE
}

async fn switch(
    state: Emulator,
    Path((of, collection, name, version, switch)): Path<(String, String, String, String, String)>,
) -> Answer {
    let enabled = match &switch[..] {
        "enable" => true,
        "disable" => false,
        _ => return Err(Refusal::absent("either enable or disable")),
    };
    let version = Some(version.as_str()).filter(|version| *version != "latest");
    vault(&state, &of)?.set_enabled(kind(&collection)?, &name, version, enabled)?;
    DONE
}

async fn tenants(state: Emulator) -> Json<Value> {
    Json(json!(state.entra.tenants()))
}

async fn put_tenant(state: Emulator, Path(tenant): Path<String>) -> Answer {
    state.entra.add_tenant(&tenant);
    DONE
}

async fn delete_tenant(state: Emulator, Path(tenant): Path<String>) -> Answer {
    found(state.entra.remove_tenant(&tenant), "no such tenant")
}

async fn put_application(
    state: Emulator,
    Path((tenant, client)): Path<(String, String)>,
    seed: Option<Json<ApplicationSeed>>,
) -> Answer {
    let seed = seed.map_or_else(ApplicationSeed::default, |Json(seed)| seed);
    seed.plant(&state, &tenant, &client);
    DONE
}

async fn delete_application(
    state: Emulator,
    Path((tenant, client)): Path<(String, String)>,
) -> Answer {
    found(
        state.entra.remove_application(&tenant, &client),
        "no such application",
    )
}

async fn identities(state: Emulator) -> Json<Vec<ManagedIdentity>> {
    Json(state.imds.identities())
}

async fn assign(state: Emulator, Json(identity): Json<ManagedIdentity>) -> Answer {
    state.imds.assign(identity);
    DONE
}

async fn unassign(state: Emulator, Path(client): Path<String>) -> Answer {
    found(state.imds.unassign(&client), "no such identity")
}

async fn faults(state: Emulator) -> Json<Value> {
    let show = |(number, fault): (u64, Fault)| {
        let mut shown = json!(fault);
        shown["number"] = number.into();
        shown
    };
    Json(state.faults.list().into_iter().map(show).collect())
}

async fn add_fault(state: Emulator, Json(fault): Json<Fault>) -> Json<Value> {
    Json(json!({ "number": state.faults.add(fault) }))
}

async fn clear_faults(state: Emulator) -> Answer {
    state.faults.clear();
    DONE
}

async fn remove_fault(state: Emulator, Path(number): Path<u64>) -> Answer {
    found(state.faults.remove(number), "no such fault")
}

async fn counters(state: Emulator) -> Json<Counts> {
    Json(state.counters.snapshot())
}

async fn reset_counters(state: Emulator) -> Answer {
    state.counters.reset();
    DONE
}

async fn requests(state: Emulator) -> Json<Vec<RequestRecord>> {
    Json(state.counters.requests())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seconds {
    seconds: u64,
}

async fn advance_clock(state: Emulator, Json(by): Json<Seconds>) -> Answer {
    state.clock.advance(Duration::from_secs(by.seconds));
    DONE
}

async fn reset_clock(state: Emulator) -> Answer {
    state.clock.reset();
    DONE
}

async fn revoke_tokens(state: Emulator) -> Answer {
    state.entra.revoke_tokens();
    DONE
}

async fn token_lifetime(state: Emulator, Json(lifetime): Json<Seconds>) -> Answer {
    state
        .entra
        .set_token_lifetime(Duration::from_secs(lifetime.seconds));
    DONE
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceAccount {
    namespace: String,
    name: String,
    #[serde(default = "token_exchange_audience")]
    audience: String,
    #[serde(default = "service_account_issuer")]
    issuer: String,
    #[serde(default = "an_hour")]
    seconds: u64,
}

fn token_exchange_audience() -> String {
    TOKEN_EXCHANGE_AUDIENCE.to_owned()
}

fn service_account_issuer() -> String {
    SERVICE_ACCOUNT_ISSUER.to_owned()
}

fn an_hour() -> u64 {
    3600
}

async fn service_account_token(state: Emulator, Json(of): Json<ServiceAccount>) -> Json<Value> {
    let token = state.entra.service_account_token(
        &of.issuer,
        &of.namespace,
        &of.name,
        &of.audience,
        Duration::from_secs(of.seconds),
    );
    Json(json!({ "token": token }))
}
