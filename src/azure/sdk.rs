//! What this program works around in Azure's SDK, as that still is. A test that fails here says that a release of the SDK has made
//! a workaround needless: docs/decisions/0001 has the table of them, with what is to go then.

use std::error::Error;
use std::iter::successors;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::Bytes;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_core::http::headers::{AUTHORIZATION, Headers, WWW_AUTHENTICATE};
use azure_core::http::{AsyncRawResponse, HttpClient, Request, StatusCode, Url};
use azure_identity::{
    ClientSecretCredential, ClientSecretCredentialOptions, ManagedIdentityCredential,
    ManagedIdentityCredentialOptions,
};
use azure_security_keyvault_keys::{KeyClient, KeyClientOptions};
use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
use futures::TryStreamExt as _;
use parking_lot::Mutex;
use time::OffsetDateTime;

use crate::transport::client_options;

const VAULT: &str = "https://kv1.vault.azure.net";
const CHALLENGE: &str =
    "Bearer authorization=\"https://login/t\", resource=\"https://vault.azure.net\"";
const SCOPE: &str = "https://vault.azure.net/.default";

/// Answers each request in a server's place, and notes its URL and whether it had a token.
struct Server {
    answer: fn(&Request) -> (StatusCode, &'static str),
    asked: Mutex<Vec<(Url, bool)>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Server")
    }
}

#[async_trait]
impl HttpClient for Server {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let authorization = request.headers().get_optional_str(&AUTHORIZATION);
        let has_token = authorization.is_some();
        self.asked.lock().push((request.url().clone(), has_token));
        let (status, body) = (self.answer)(request);
        let mut headers = Headers::new();
        if status == StatusCode::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, CHALLENGE);
        }
        let body = Bytes::from_static(body.as_bytes());
        Ok(AsyncRawResponse::from_bytes(status, headers, body))
    }
}

fn server(answer: fn(&Request) -> (StatusCode, &'static str)) -> Arc<Server> {
    let asked = Mutex::default();
    Arc::new(Server { answer, asked })
}

/// A vault that asks for a token, and has this body for whoever brings one.
fn with_token(request: &Request, body: &'static str) -> (StatusCode, &'static str) {
    match request.headers().get_optional_str(&AUTHORIZATION) {
        Some(_) => (StatusCode::Ok, body),
        None => (StatusCode::Unauthorized, ""),
    }
}

#[derive(Debug)]
struct Tokens;

#[async_trait]
impl TokenCredential for Tokens {
    async fn get_token(
        &self,
        _: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let end = OffsetDateTime::now_utc() + Duration::from_secs(3600);
        Ok(AccessToken::new("token".to_owned(), end))
    }
}

fn secrets(server: &Arc<Server>) -> SecretClient {
    let options = SecretClientOptions {
        client_options: client_options(Arc::clone(server) as _),
        ..Default::default()
    };
    SecretClient::new(VAULT, Arc::new(Tokens), Some(options)).unwrap()
}

fn managed_identity(server: &Arc<Server>) -> Arc<dyn TokenCredential> {
    let options = ManagedIdentityCredentialOptions {
        client_options: client_options(Arc::clone(server) as _),
        ..Default::default()
    };
    ManagedIdentityCredential::new(Some(options)).unwrap()
}

#[tokio::test]
async fn the_sdk_still_asks_for_the_challenge_with_each_client() {
    let server = server(|request| with_token(request, "{}"));
    secrets(&server).get_secret("a", None).await.unwrap();
    let options = KeyClientOptions {
        client_options: client_options(Arc::clone(&server) as _),
        ..Default::default()
    };
    let keys = KeyClient::new(VAULT, Arc::new(Tokens), Some(options)).unwrap();
    keys.get_key("a", None).await.unwrap();
    secrets(&server).get_secret("a", None).await.unwrap();
    let had_tokens: Vec<_> = server.asked.lock().iter().map(|asked| asked.1).collect();
    assert_eq!(had_tokens, [false, true].repeat(3));
}

/// `BearerTokenAuthorizer::authorize` of `azure_core` gives the lock back between putting the token there and taking it. Which
/// thread comes in between is chance, so the test is of the release that was read.
#[test]
fn the_sdk_is_still_the_release_whose_race_for_a_token_was_read() {
    let lock = include_str!("../../Cargo.lock");
    let version = lock
        .split_once("name = \"azure_core\"\nversion = \"")
        .unwrap();
    let (version, _) = version.1.split_once('"').unwrap();
    assert_eq!(
        version, "1.1.0",
        "read BearerTokenAuthorizer::authorize: where it takes the token from under the lock that it put it there with, \
         VaultError::LostToken and Again::Now can go; otherwise correct the version here"
    );
}

#[tokio::test(start_paused = true)]
async fn the_sdk_still_tries_imds_again_whatever_its_options_say() {
    let server = server(|_| (StatusCode::ServiceUnavailable, ""));
    let token = managed_identity(&server).get_token(&[SCOPE], None).await;
    token.unwrap_err();
    let requests = server.asked.lock().len();
    assert!(requests > 1, "{requests}");
}

#[tokio::test]
async fn the_sdk_still_loses_what_entra_id_says_where_it_has_quotes_or_lines() {
    let secret = || "s".to_owned().into();
    let told = async |answer| {
        let server = server(answer);
        let options = ClientSecretCredentialOptions {
            client_options: client_options(server as _),
        };
        let credential = ClientSecretCredential::new("t", "c".to_owned(), secret(), Some(options));
        let token = credential.unwrap().get_token(&[SCOPE], None).await;
        let error = token.unwrap_err();
        successors(Some(&error as &(dyn Error + 'static)), |&error| {
            error.source()
        })
        .filter_map(|error| error.downcast_ref::<azure_core::Error>())
        .any(|error| match error.kind() {
            ErrorKind::HttpResponse { error_code, .. } => error_code.is_some(),
            _ => false,
        })
    };
    assert!(told(|_| (StatusCode::BadRequest, PLAIN)).await);
    assert!(!told(|_| (StatusCode::BadRequest, QUOTED)).await);
    assert!(!told(|_| (StatusCode::BadRequest, LINES)).await);
}

const PLAIN: &str = r#"{"error_codes": [700016], "error_description": "AADSTS700016: no app"}"#;
const QUOTED: &str =
    r#"{"error_codes": [700016], "error_description": "AADSTS700016: no app \"a\""}"#;
const LINES: &str =
    r#"{"error_codes": [700016], "error_description": "AADSTS700016: no app\r\nTrace"}"#;

#[tokio::test]
async fn the_sdk_still_takes_an_answer_without_a_token_for_one() {
    let server = server(|_| (StatusCode::Ok, "{}"));
    let options = ClientSecretCredentialOptions {
        client_options: client_options(server as _),
    };
    let secret = "s".to_owned().into();
    let credential = ClientSecretCredential::new("t", "c".to_owned(), secret, Some(options));
    let token = credential.unwrap().get_token(&[SCOPE], None).await;
    assert_eq!(token.unwrap().token.secret(), "");
}

#[tokio::test]
async fn the_sdk_still_follows_a_list_to_another_host_with_the_token() {
    let server = server(|request| {
        let next = r#"{"value": [], "nextLink": "https://evil.example/next"}"#;
        match request.url().host_str() {
            Some("evil.example") => (StatusCode::Ok, r#"{"value": []}"#),
            _ => with_token(request, next),
        }
    });
    let secrets = secrets(&server);
    let versions = secrets.list_secret_properties_versions("a", None).unwrap();
    versions.try_collect::<Vec<_>>().await.unwrap();
    let asked = server.asked.lock();
    let (last, had_token) = asked.last().unwrap();
    assert_eq!((last.host_str(), *had_token), (Some("evil.example"), true));
}

/// The error of a request that could not be sent comes out wrapped, and only a downcast finds ours in it.
#[tokio::test]
async fn the_sdk_still_hands_an_error_of_its_client_on_in_one_of_its_own() {
    #[derive(Debug)]
    struct Broken;
    #[async_trait]
    impl HttpClient for Broken {
        async fn execute_request(&self, _: &Request) -> azure_core::Result<AsyncRawResponse> {
            let ours = std::io::Error::other("ours");
            Err(azure_core::Error::new(ErrorKind::Other, ours))
        }
    }
    let options = SecretClientOptions {
        client_options: client_options(Arc::new(Broken)),
        ..Default::default()
    };
    let client = SecretClient::new(VAULT, Arc::new(Tokens), Some(options)).unwrap();
    let error = client.get_secret("a", None).await.map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Other);
    assert!(crate::transport::in_chain::<std::io::Error>(&error).is_some());
}
