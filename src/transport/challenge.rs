//! A vault's challenge, learned once.
//!
//! Key Vault answers a request without a token with 401 and the scope that a token must have. The SDK
//! sends such a request for each of its clients, that is for every pair of vault and identity, and for
//! secrets, keys and certificates apart. The answer is the same for all of them, so the first one's is
//! kept, and the others get it without asking.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use azure_core::http::headers::{Headers, WWW_AUTHENTICATE};
use azure_core::http::{AsyncRawResponse, StatusCode};
use lru::LruCache;
use tokio::sync::OnceCell;
use url::Url;

use crate::transport::TransportError;

/// The most vaults whose challenge is kept.
const MAX_VAULTS: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// The challenges of all vaults, by host.
#[derive(Debug)]
pub(super) struct Challenges(Mutex<LruCache<String, Arc<Challenge>>>);

impl Default for Challenges {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MAX_VAULTS)))
    }
}

impl Challenges {
    /// The challenge of the vault at this host, known or not.
    pub(super) fn of(&self, host: &str) -> Arc<Challenge> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let challenge = || {
            Arc::new(Challenge {
                host: host.to_owned(),
                header: OnceCell::new(),
            })
        };
        Arc::clone(known.get_or_insert_mut(host.to_owned(), challenge))
    }
}

/// One vault's challenge: the header `WWW-Authenticate` of its first 401.
#[derive(Debug)]
pub(super) struct Challenge {
    host: String,
    header: OnceCell<String>,
}

impl Challenge {
    /// The answer to a request without a token: the known one, or that of `request`. Whoever comes while
    /// the first is under way waits for it.
    pub(super) async fn ask(
        &self,
        request: impl Future<Output = Result<AsyncRawResponse, TransportError>>,
    ) -> Result<AsyncRawResponse, TransportError> {
        let mut answer = None;
        let known = self.header.get_or_try_init(async || {
            let result = request.await.and_then(|response| self.check(response));
            let header = result.as_ref().ok().and_then(|response| {
                let challenged = response.status() == StatusCode::Unauthorized;
                challenged.then(|| response.headers().get_optional_str(&WWW_AUTHENTICATE))?
            });
            // Anything else is this request's own business, and the next one asks again.
            let header = header.map(str::to_owned);
            answer = Some(result);
            header.ok_or(())
        });
        let known = known.await.cloned();
        match (answer, known) {
            (Some(answer), _) => answer,
            (None, Ok(header)) => Ok(synthetic(header)),
            // Without an answer the cell was filled by somebody else.
            (None, Err(())) => Ok(synthetic(String::new())),
        }
    }
}

impl Challenge {
    /// Refuses a 401 that is not this vault's challenge: kept, it would stand in the way of every later
    /// request. A proxy that wants to know who asks may answer so, once.
    fn check(&self, response: AsyncRawResponse) -> Result<AsyncRawResponse, TransportError> {
        let challenge = response
            .headers()
            .get_optional_str(&WWW_AUTHENTICATE)
            .unwrap_or_default();
        if response.status() != StatusCode::Unauthorized || names_domain_of(challenge, &self.host) {
            return Ok(response);
        }
        Err(TransportError::Challenge {
            host: self.host.clone(),
        })
    }
}

/// Whether the challenge asks for a token for the domain that the vault is in, as in
/// `Bearer authorization="https://…", resource="https://vault.azure.net"`.
fn names_domain_of(challenge: &str, host: &str) -> bool {
    let bearer = challenge
        .get(..7)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer "));
    let resource = ["resource=\"", "scope=\""].iter().find_map(|name| {
        let (_, value) = challenge.split_once(name)?;
        Url::parse(value.split('"').next()?).ok()
    });
    let domain = resource.as_ref().and_then(Url::host_str);
    bearer && domain.is_some_and(|domain| host.ends_with(&format!(".{domain}")))
}

fn synthetic(header: String) -> AsyncRawResponse {
    let mut headers = Headers::new();
    headers.insert(WWW_AUTHENTICATE, header);
    AsyncRawResponse::from_bytes(StatusCode::Unauthorized, headers, Vec::new())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn challenge() -> Challenge {
        Challenge {
            host: "kv1.vault.azure.net".into(),
            header: OnceCell::new(),
        }
    }

    #[test]
    fn a_challenge_names_the_vaults_domain() {
        let vault = "kv1.vault.azure.net";
        for (challenge, expected) in [
            (
                "Bearer authorization=\"https://login/t\", resource=\"https://vault.azure.net\"",
                true,
            ),
            ("bearer scope=\"https://vault.azure.net/.default\"", true),
            ("Bearer resource=\"https://vault.azure.net:8443\"", true),
            ("", false),
            ("Bearer foo=1", false),
            ("Basic realm=\"proxy\"", false),
            ("Bearer resource=\"https://evil.example\"", false),
            ("Bearer resource=\"https://ault.azure.net\"", false),
            ("Bearer resource=\"\"", false),
        ] {
            assert_eq!(names_domain_of(challenge, vault), expected, "{challenge}");
        }
    }

    fn answer(status: StatusCode) -> AsyncRawResponse {
        let mut headers = Headers::new();
        headers.insert(
            WWW_AUTHENTICATE,
            "Bearer resource=\"https://vault.azure.net\"",
        );
        AsyncRawResponse::from_bytes(status, headers, Vec::new())
    }

    #[tokio::test]
    async fn many_who_come_at_once_ask_once() {
        let challenge = challenge();
        let asked = AtomicUsize::new(0);
        let ask = || {
            challenge.ask(async {
                asked.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                Ok(answer(StatusCode::Unauthorized))
            })
        };
        for result in futures::future::join_all((0..20).map(|_| ask())).await {
            let response = result.unwrap();
            assert_eq!(response.status(), StatusCode::Unauthorized);
            assert!(
                response
                    .headers()
                    .get_str(&WWW_AUTHENTICATE)
                    .unwrap()
                    .contains("vault.azure.net")
            );
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn what_is_no_challenge_is_not_kept() {
        let challenge = challenge();
        let forbidden = challenge
            .ask(async { Ok(answer(StatusCode::Forbidden)) })
            .await
            .unwrap();
        assert_eq!(forbidden.status(), StatusCode::Forbidden);
        let broken = || TransportError::TooLarge { host: "h".into() };
        assert!(challenge.ask(async { Err(broken()) }).await.is_err());
        let real = challenge
            .ask(async { Ok(answer(StatusCode::Unauthorized)) })
            .await
            .unwrap();
        assert_eq!(real.status(), StatusCode::Unauthorized);
        let kept = challenge.ask(async { Err(broken()) }).await.unwrap();
        assert_eq!(kept.status(), StatusCode::Unauthorized);
    }
}
