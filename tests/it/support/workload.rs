//! A pod with an identity of its own.

use std::time::Duration;

use azure_emulator::{Application, DEFAULT_TENANT, Permissions};

use super::Node;
use super::class::Class;

const AUDIENCE: &str = "api://AzureADTokenExchange";
const APP: &str = "9b1d7f0e-0000-4000-8000-000000000001";

/// An application that trusts the service account `chat`/`chat` and may read from the vault.
pub fn chat_app(node: &Node, client_id: &str) -> Application {
    let app = node
        .azure
        .entra()
        .application(DEFAULT_TENANT, client_id)
        .with_service_account("chat", "chat");
    node.vault.grant(&app.object_id(), Permissions::read());
    app
}

/// A class with the secret `S`, for a pod whose service account an application trusts that may read from
/// the vault. The pod's token is an hour's, as of now.
pub fn class(node: &Node) -> Class {
    chat_app(node, APP);
    let hour = Duration::from_secs(3600);
    let token = node
        .azure
        .service_account_token("chat", "chat", AUDIENCE, hour);
    Class::of_secret("S")
        .without("userAssignedIdentityID")
        .with("clientID", APP)
        .token(AUDIENCE, &token)
}
