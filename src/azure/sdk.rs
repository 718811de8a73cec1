//! What this program works around in Azure's SDK, as that still is. A test that fails here says that a release of the SDK has made
//! a workaround needless: docs/decisions/0001 has the table of them, with what is to go then.

use std::error::Error;
use std::iter::successors;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
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
use azure_security_keyvault_certificates::{CertificateClient, CertificateClientOptions};
use azure_security_keyvault_keys::{KeyClient, KeyClientOptions};
use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
use futures::TryStreamExt as _;
use parking_lot::Mutex;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::transport::client_options;

const VAULT: &str = "https://kv1.vault.azure.net";
const CHALLENGE: &str =
    "Bearer authorization=\"https://login/t\", resource=\"https://vault.azure.net\"";
const SCOPE: &str = "https://vault.azure.net/.default";

/// Answers each request in a server's place, and notes its URL and `Authorization`.
struct Server {
    answer: fn(&Request) -> (StatusCode, &'static str),
    /// What each answer has besides.
    headers: &'static [(&'static str, &'static str)],
    asked: Mutex<Vec<(Url, Option<String>)>>,
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
        let authorization = authorization.map(str::to_owned);
        let asked = (request.url().clone(), authorization);
        self.asked.lock().push(asked);
        let (status, body) = (self.answer)(request);
        let mut headers = Headers::new();
        for (name, value) in self.headers {
            headers.insert(*name, *value);
        }
        if status == StatusCode::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, CHALLENGE);
        }
        let body = Bytes::from_static(body.as_bytes());
        Ok(AsyncRawResponse::from_bytes(status, headers, body))
    }
}

fn server(answer: fn(&Request) -> (StatusCode, &'static str)) -> Arc<Server> {
    with_headers(&[], answer)
}

fn with_headers(
    headers: &'static [(&'static str, &'static str)],
    answer: fn(&Request) -> (StatusCode, &'static str),
) -> Arc<Server> {
    Arc::new(Server {
        answer,
        headers,
        asked: Mutex::default(),
    })
}

/// A vault that asks for a token, and has this body for whoever brings one.
fn with_token(request: &Request, body: &'static str) -> (StatusCode, &'static str) {
    match request.headers().get_optional_str(&AUTHORIZATION) {
        Some(_) => (StatusCode::Ok, body),
        None => (StatusCode::Unauthorized, ""),
    }
}

/// Has another token each time: 1, 2 and so on.
#[derive(Debug, Default)]
struct Tokens(AtomicU32);

#[async_trait]
impl TokenCredential for Tokens {
    async fn get_token(
        &self,
        _: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let end = OffsetDateTime::now_utc() + Duration::from_secs(3600);
        let number = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(AccessToken::new(number.to_string(), end))
    }
}

fn secrets(server: &Arc<Server>) -> SecretClient {
    let options = SecretClientOptions {
        client_options: client_options(Arc::clone(server) as _),
        ..Default::default()
    };
    SecretClient::new(VAULT, Arc::new(Tokens::default()), Some(options)).unwrap()
}

fn keys(server: &Arc<Server>) -> KeyClient {
    let options = KeyClientOptions {
        client_options: client_options(Arc::clone(server) as _),
        ..Default::default()
    };
    KeyClient::new(VAULT, Arc::new(Tokens::default()), Some(options)).unwrap()
}

fn certificates(server: &Arc<Server>) -> CertificateClient {
    let options = CertificateClientOptions {
        client_options: client_options(Arc::clone(server) as _),
        ..Default::default()
    };
    CertificateClient::new(VAULT, Arc::new(Tokens::default()), Some(options)).unwrap()
}

fn managed_identity(server: &Arc<Server>) -> Arc<dyn TokenCredential> {
    let options = ManagedIdentityCredentialOptions {
        client_options: client_options(Arc::clone(server) as _),
        ..Default::default()
    };
    ManagedIdentityCredential::new(Some(options)).unwrap()
}

fn client_secret(server: &Arc<Server>) -> Arc<dyn TokenCredential> {
    let options = ClientSecretCredentialOptions {
        client_options: client_options(Arc::clone(server) as _),
    };
    let secret = "s".to_owned().into();
    ClientSecretCredential::new("t", "c".to_owned(), secret, Some(options)).unwrap()
}

#[tokio::test]
async fn the_sdk_still_asks_for_the_challenge_with_each_client() {
    let server = server(|request| with_token(request, "{}"));
    secrets(&server).get_secret("a", None).await.unwrap();
    keys(&server).get_key("a", None).await.unwrap();
    secrets(&server).get_secret("a", None).await.unwrap();
    let had_tokens: Vec<_> = server
        .asked
        .lock()
        .iter()
        .map(|asked| asked.1.is_some())
        .collect();
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
    let told = async |answer| {
        let token = client_secret(&server(answer))
            .get_token(&[SCOPE], None)
            .await;
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
    let credential = client_secret(&server(|_| (StatusCode::Ok, "{}")));
    let token = credential.get_token(&[SCOPE], None).await;
    assert_eq!(token.unwrap().token.secret(), "");
}

#[tokio::test]
async fn the_sdk_still_takes_a_token_that_no_header_can_have() {
    let credential = client_secret(&server(|_| (StatusCode::Ok, r#"{"access_token": "a\nb"}"#)));
    let token = credential.get_token(&[SCOPE], None).await;
    assert_eq!(token.unwrap().token.secret(), "a\nb");
}

#[tokio::test]
async fn the_sdk_still_keeps_the_tokens_of_a_credential() {
    let imds = server(|_| (StatusCode::Ok, FROM_IMDS));
    let entra = server(|_| (StatusCode::Ok, FROM_ENTRA_ID));
    for (server, credential) in [
        (&imds, managed_identity(&imds)),
        (&entra, client_secret(&entra)),
    ] {
        credential.get_token(&[SCOPE], None).await.unwrap();
        credential.get_token(&[SCOPE], None).await.unwrap();
        assert_eq!(server.asked.lock().len(), 1);
    }
}

const FROM_IMDS: &str =
    r#"{"access_token": "t", "expires_on": "4102444800", "resource": "r", "token_type": "Bearer"}"#;
const FROM_ENTRA_ID: &str =
    r#"{"access_token": "t", "expires_in": 3600, "ext_expires_in": 3600, "token_type": "Bearer"}"#;

/// Nor could it know that a vault has rejected the token meanwhile: another client had that answer.
#[tokio::test]
async fn the_sdk_still_sends_its_token_again_although_the_credential_has_another() {
    let server = server(|request| with_token(request, "{}"));
    let secrets = secrets(&server);
    secrets.get_secret("a", None).await.unwrap();
    secrets.get_secret("a", None).await.unwrap();
    let asked = server.asked.lock();
    let sent: Vec<_> = asked.iter().map(|asked| asked.1.as_deref()).collect();
    assert_eq!(sent, [None, Some("Bearer 1"), Some("Bearer 1")]);
}

/// What comes of answers without these headers and with them: a secret, a list, a token, and what it took.
#[tokio::test(start_paused = true)]
async fn the_sdk_still_acts_on_no_header_of_an_answer_but_its_challenge() {
    let made = async |headers| {
        let start = Instant::now();
        let server = with_headers(headers, |request| match request.url().path() {
            "/secrets/a/" => with_token(request, r#"{"value": "v", "id": "i"}"#),
            "/keys/a/" => with_token(request, r#"{"key": {"kid": "i"}}"#),
            "/certificates/a/" => with_token(request, r#"{"cer": "AAAA", "id": "i"}"#),
            "/secrets/a/versions" | "/keys/a/versions" | "/certificates/a/versions" => {
                with_token(request, r#"{"value": [{"id": "i", "kid": "i"}]}"#)
            }
            "/t/oauth2/v2.0/token" => (StatusCode::Ok, FROM_ENTRA_ID),
            _ => (StatusCode::Ok, FROM_IMDS),
        });
        let mut read = Vec::new();
        let mut note = |value: serde_json::Result<serde_json::Value>| read.push(value.unwrap());
        let secrets = secrets(&server);
        let secret = secrets.get_secret("a", None).await.unwrap().into_model();
        note(serde_json::to_value(secret.unwrap()));
        let versions = secrets.list_secret_properties_versions("a", None).unwrap();
        let versions: Vec<_> = versions.try_collect().await.unwrap();
        note(serde_json::to_value(versions));
        let keys = keys(&server);
        let key = keys.get_key("a", None).await.unwrap().into_model();
        note(serde_json::to_value(key.unwrap()));
        let versions = keys.list_key_properties_versions("a", None).unwrap();
        let versions: Vec<_> = versions.try_collect().await.unwrap();
        note(serde_json::to_value(versions));
        let certificates = certificates(&server);
        let certificate = certificates.get_certificate("a", None).await.unwrap();
        note(serde_json::to_value(certificate.into_model().unwrap()));
        let versions = certificates.list_certificate_properties_versions("a", None);
        let versions: Vec<_> = versions.unwrap().try_collect().await.unwrap();
        note(serde_json::to_value(versions));
        let mut tokens = Vec::new();
        for credential in [managed_identity(&server), client_secret(&server)] {
            let token = credential.get_token(&[SCOPE], None).await.unwrap();
            tokens.push(token.token.secret().to_owned());
        }
        let asked = std::mem::take(&mut *server.asked.lock());
        (read, tokens, asked, start.elapsed())
    };
    let without = made(&[]).await;
    assert_eq!(without.0[0]["value"], "v");
    assert_eq!(without.0[3][0]["kid"], "i");
    assert_eq!(without.1, ["t", "t"]);
    // Each of the three clients asks for the challenge first.
    assert_eq!(without.2.len(), 3 * 3 + 2);
    assert_eq!(made(HEADERS).await, without);
}

const HEADERS: &[(&str, &str)] = &[
    ("content-type", "text/html"),
    ("date", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ("etag", "\"e\""),
    ("link", "<https://evil.example/next>; rel=\"next\""),
    ("location", "https://evil.example/"),
    ("operation-location", "https://evil.example/"),
    ("retry-after", "3600"),
    ("retry-after-ms", "3600000"),
    ("x-ms-client-request-id", "another"),
    ("x-ms-continuation", "more"),
    ("x-ms-error-code", "Failed"),
    ("x-ms-request-id", "r"),
    ("x-ms-retry-after-ms", "3600000"),
];

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
    let (last, token) = asked.last().unwrap();
    assert_eq!(last.host_str(), Some("evil.example"));
    assert_eq!(token.as_deref(), Some("Bearer 1"));
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
    let client = SecretClient::new(VAULT, Arc::new(Tokens::default()), Some(options)).unwrap();
    let error = client.get_secret("a", None).await.map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Other);
    assert!(crate::transport::in_chain::<std::io::Error>(&error).is_some());
}
