//! An emulator for one test and a client that reaches it through the forward proxy.

use azure_emulator::{DEFAULT_TENANT, Emulator, Settings};
use reqwest::{Certificate, Client, Method, Proxy, Response, StatusCode, header};
use serde_json::Value;

pub(crate) const TENANT: &str = DEFAULT_TENANT;
pub(crate) const CLIENT: &str = "e502213f-1f15-4f03-9fb4-b546f51aafe9";
pub(crate) const SECRET: &str = "client-secret";
pub(crate) const VAULT: &str = "https://kv1.vault.azure.net";
pub(crate) const API: &str = "api-version=7.4";

/// A status and the JSON that came with it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: header::HeaderMap,
    pub(crate) json: Value,
}

impl Answer {
    pub(crate) async fn of(response: Response) -> Self {
        let status = response.status();
        let headers = response.headers().clone();
        let text = response.text().await.unwrap();
        let json = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Self {
            status,
            headers,
            json,
        }
    }

    /// `error.code` and `error.innererror.code` of Key Vault.
    pub(crate) fn codes(&self) -> (u16, &str, &str) {
        let text = |pointer| {
            self.json
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or("")
        };
        (
            self.status.as_u16(),
            text("/error/code"),
            text("/error/innererror/code"),
        )
    }

    pub(crate) fn message(&self) -> &str {
        self.json["error"]["message"].as_str().unwrap_or("")
    }
}

pub(crate) struct World {
    pub(crate) emulator: Emulator,
    pub(crate) client: Client,
}

/// An emulator with the default settings, a vault `kv1` and an application with a secret.
pub(crate) async fn world() -> World {
    world_with(Settings::default()).await
}

pub(crate) async fn world_with(settings: Settings) -> World {
    let emulator = Emulator::start(settings).await.unwrap();
    emulator.vault("kv1");
    emulator
        .entra()
        .application(TENANT, CLIENT)
        .with_secret(SECRET);
    let client = client(&emulator);
    World { emulator, client }
}

/// A client that trusts the emulator's CA only and goes through its proxy.
pub(crate) fn client(emulator: &Emulator) -> Client {
    builder(emulator)
        .proxy(Proxy::all(emulator.proxy_url()).unwrap())
        .build()
        .unwrap()
}

pub(crate) fn builder(emulator: &Emulator) -> reqwest::ClientBuilder {
    let ca = Certificate::from_pem(emulator.ca_pem().as_bytes()).unwrap();
    direct()
        .tls_certs_only([ca])
        .redirect(reqwest::redirect::Policy::none())
}

/// What every client of the tests begins with, whichever test is the first of its process.
pub(crate) fn direct() -> reqwest::ClientBuilder {
    // ring, for this process: reqwest asks for a default where it is given none.
    drop(rustls::crypto::ring::default_provider().install_default());
    Client::builder().no_proxy()
}

impl World {
    /// The same, with everybody let in.
    pub(crate) fn open(self) -> Self {
        self.emulator.vault("kv1").allow_everyone();
        self
    }

    pub(crate) async fn post_form(&self, url: &str, form: &[(&str, &str)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let response = self
            .client
            .post(url)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
            .unwrap();
        Answer::of(response).await
    }

    /// A token for Key Vault by client secret.
    pub(crate) async fn token(&self) -> String {
        let answer = self
            .post_form(
                &format!("https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token"),
                &[
                    ("grant_type", "client_credentials"),
                    ("client_id", CLIENT),
                    ("client_secret", SECRET),
                    ("scope", "https://vault.azure.net/.default"),
                ],
            )
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json["access_token"].as_str().unwrap().to_owned()
    }

    /// A request to `kv1` with a fresh token.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let token = self.token().await;
        self.ask_with(&token, method, path, body).await
    }

    pub(crate) async fn ask_with(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        let sign = if path.contains('?') { '&' } else { '?' };
        let url = format!("{VAULT}{path}{sign}{API}");
        let mut request = self.client.request(method, url).bearer_auth(token);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        Answer::of(request.send().await.unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, None).await
    }

    /// A `GET` of a whole URL, with these headers.
    pub(crate) async fn fetch(&self, url: &str, headers: &[(&'static str, &str)]) -> Answer {
        let mut request = self.client.get(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(request.send().await.unwrap()).await
    }
}
