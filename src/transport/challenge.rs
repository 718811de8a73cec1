//! A vault's challenge, learned once.
//!
//! Key Vault answers a request without a token with 401 and the scope that a token must have. The SDK
//! sends such a request for each of its clients, that is for every pair of vault and identity, and for
//! secrets, keys and certificates apart. The answer is the same for all of them, so a vault is asked once,
//! and the vaults of Microsoft's own clouds, whose scope is documented, never.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::StatusCode;
use hyper::header::WWW_AUTHENTICATE;
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use url::Url;

use crate::observe::metrics::{Cache, CacheMetrics, Metrics};
use crate::shares::{Kept, Namespace, Weight};
use crate::transport::TransportError;
use crate::transport::api_version::ApiVersion;
use crate::transport::origin::{Answer, Origin};

/// The most vaults whose challenge is kept.
const MAX_VAULTS: usize = 1024;
/// The maximum number of bytes of a challenge. Those of Key Vault have 100 to 150.
const MAX_CHALLENGE: usize = 2048;

/// The challenges of all vaults, by host, and by whether what their tokens are for is documented: a file of endpoints may
/// name a domain of Microsoft's, and decides nothing for classes of Microsoft's clouds.
#[derive(Debug)]
pub(super) struct Challenges {
    kept: Mutex<Kept<(String, bool), Arc<Challenge>>>,
    metrics: CacheMetrics,
}

impl Challenges {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            kept: Mutex::new(Kept::for_entries(MAX_VAULTS)),
            metrics: metrics.cache(Cache::Challenges, MAX_VAULTS),
        }
    }

    /// The challenge of the vault at this host, known or not. `resource` is what its tokens are for, where
    /// that is known, such as `https://vault.azure.net`.
    pub(super) fn get_or_insert(
        &self,
        namespace: &Namespace,
        host: &str,
        resource: Option<&str>,
    ) -> Arc<Challenge> {
        let mut kept = self.kept.lock();
        let key = (host.to_owned(), resource.is_some());
        if let Some(challenge) = kept.get(namespace, &key) {
            return Arc::clone(challenge);
        }
        let challenge = Arc::new(Challenge {
            host: host.to_owned(),
            known: OnceCell::new_with(resource.map(Known::of_resource)),
            // So are the vaults of a cloud whose endpoints are not documented.
            api_version: ApiVersion::new(resource.is_none()),
        });
        let gone = kept.put(namespace, key, Arc::clone(&challenge));
        self.metrics.evicted(gone.len());
        self.metrics.size(kept.len(), kept.bytes());
        challenge
    }
}

impl Weight for Arc<Challenge> {
    /// All weigh about the same, since challenges have a maximum length.
    fn weight(&self) -> usize {
        0
    }
}

/// One vault's challenge.
#[derive(Debug)]
pub(super) struct Challenge {
    host: String,
    known: OnceCell<Known>,
    /// The version of the API that the vault speaks.
    pub(super) api_version: ApiVersion,
}

/// What a challenge says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// The header `WWW-Authenticate`.
    pub(super) header: String,
    /// The scope that it asks for, such as `https://vault.azure.net/.default`.
    pub(super) scope: String,
}

impl Challenge {
    /// What the vault says, asked now unless it is known. Whoever comes while the vault is being asked
    /// waits for the answer; whoever comes after a failure asks again.
    pub(super) async fn learn(&self, origin: &Origin) -> Result<&Known, TransportError> {
        if let Some(known) = self.known.get() {
            return Ok(known);
        }
        // The one that asks may be of a namespace whose lookups wait for each other.
        origin.look_up().await?;
        self.known.get_or_try_init(|| self.ask(origin)).await
    }

    /// What the vault says, where it has been asked.
    pub(super) fn known(&self) -> Option<&Known> {
        self.known.get()
    }

    async fn ask(&self, origin: &Origin) -> Result<Known, TransportError> {
        let answer = ask_without_token(origin).await?;
        // Anything else would be kept, and stand in the way of every later request. A proxy that wants to
        // know who asks may answer so, once.
        self.read(&answer).ok_or_else(|| self.foreign())
    }

    /// Refuses a 401 that has another one's challenge; the vault's own has the vault's.
    pub(super) fn check(&self, answer: &Answer) -> Result<(), TransportError> {
        let says_something = answer.headers.contains_key(WWW_AUTHENTICATE);
        if says_something && self.read(answer).is_none() {
            return Err(self.foreign());
        }
        Ok(())
    }

    fn read(&self, answer: &Answer) -> Option<Known> {
        // A vault may have several, of which Key Vault's is one.
        let mut headers = answer.headers.get_all(WWW_AUTHENTICATE).iter();
        headers.find_map(|header| Known::read(header.to_str().ok()?, &self.host))
    }

    fn foreign(&self) -> TransportError {
        TransportError::Challenge {
            host: self.host.clone(),
        }
    }
}

/// A vault's 401 to a request without a token. Any vault answers so, whatever its access policies are.
pub(super) async fn ask_without_token(origin: &Origin) -> Result<Answer, TransportError> {
    let make = || {
        let mut request = hyper::Request::new(Full::new(Bytes::new()));
        *request.uri_mut() = hyper::Uri::from_static("/secrets?api-version=7.4");
        Ok(request)
    };
    let answer = origin.exchange("GET", make).await?;
    if answer.status == StatusCode::UNAUTHORIZED {
        return Ok(answer);
    }
    Err(TransportError::Refused(origin.refusal(answer)))
}

impl Known {
    fn of_resource(resource: &str) -> Self {
        Self {
            header: format!("Bearer resource=\"{resource}\""),
            scope: format!("{resource}/.default"),
        }
    }

    /// Reads a challenge, as in `Bearer authorization="https://…", resource="https://vault.azure.net"`, if
    /// it asks for a token for the domain that the vault is in.
    fn read(header: &str, host: &str) -> Option<Self> {
        if header.len() > MAX_CHALLENGE {
            return None;
        }
        let scheme = header.get(..7)?;
        let value = |name: &str| header.split_once(name)?.1.split('"').next();
        let scope = match value("scope=\"") {
            Some(scope) => scope.to_owned(),
            None => format!("{}/.default", value("resource=\"")?),
        };
        let url = Url::parse(&scope).ok()?;
        let asks_for_us = url.scheme() == "https"
            && url.username().is_empty()
            && host.ends_with(&format!(".{}", url.host_str()?));
        // Two words would be two scopes.
        let asks_for_us = asks_for_us && scope.bytes().all(|byte| byte.is_ascii_graphic());
        (scheme.eq_ignore_ascii_case("bearer ") && asks_for_us).then(|| Self {
            header: header.to_owned(),
            scope,
        })
    }
}

/// The scope that a challenge asks the vault at this host for, where it is one of that vault's.
#[cfg(any(test, feature = "fuzzing"))]
pub fn scope_in(header: &str, host: &str) -> Option<String> {
    Known::read(header, host).map(|known| known.scope)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::transport::connections::PoolLimits;
    use crate::transport::dial::Dialer;
    use crate::transport::dns::Place;
    use crate::transport::names::Names;
    use crate::transport::stream::Progress;

    #[tokio::test]
    async fn a_challenge_that_a_flooder_asks_for_first_waits_in_the_line_of_each() {
        let (end, ended) = mpsc::channel::<()>();
        let ended = Mutex::new(ended);
        let resolve = move |name: &str| {
            if name != "kv1" {
                // Until the test ends.
                _ = ended.lock().recv();
            }
            Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)])
        };
        let names = Names::with(resolve, "/dev/null".into(), &Metrics::default());
        let dialer = Dialer {
            shown: "kv1".to_owned(),
            place: Place::Of("kv1".to_owned()),
            names: names.clone(),
            authority: "kv1".parse().unwrap(),
            // Nobody listens there.
            port: 1,
            tls: None,
            proxy: None,
            progress: Progress::default(),
            canned: None,
        };
        let limits = PoolLimits {
            max_http1: 1,
            max_age: Duration::from_secs(300),
        };
        let origin = Arc::new(Origin::new(dialer, Arc::default(), limits));
        let challenges = Challenges::new(&Metrics::default());
        let challenge = challenges.get_or_insert(&Namespace::default(), "kv1", None);
        let learning = |namespace: &str| {
            let (challenge, origin) = (Arc::clone(&challenge), Arc::clone(&origin));
            let learning = async move { challenge.learn(&origin).await.is_ok() };
            Namespace::new(namespace).around(learning)
        };
        let flood: Vec<_> = (0..20)
            .map(|n| {
                let names = names.clone();
                let looking_up = async move { names.addresses(&format!("none-{n}"), 443).await };
                tokio::spawn(Namespace::new("attacker").around(looking_up))
            })
            .collect();
        tokio::task::yield_now().await;
        let of_attacker = tokio::spawn(learning("attacker"));
        tokio::task::yield_now().await;
        // Less than a lookup may take.
        let of_victim = tokio::time::timeout(Duration::from_secs(8), learning("victim"));
        assert!(!of_victim.await.expect("it is looked up"));
        assert!(!of_attacker.await.unwrap());
        flood.iter().for_each(tokio::task::JoinHandle::abort);
        drop(end);
    }

    #[test]
    fn a_file_of_endpoints_decides_nothing_for_microsofts_clouds() {
        let challenges = Challenges::new(&Metrics::default());
        let get = |resource| {
            challenges.get_or_insert(&Namespace::new("n"), "kv1.vault.azure.net", resource)
        };
        let of_file = get(None);
        let documented = get(Some("https://vault.azure.net"));
        assert!(!Arc::ptr_eq(&of_file, &documented));
        assert!(Arc::ptr_eq(&of_file, &get(None)));
    }

    #[test]
    fn a_challenge_names_the_vaults_domain() {
        let vault = "kv1.vault.azure.net";
        for (challenge, expected) in [
            (
                "Bearer authorization=\"https://login/t\", resource=\"https://vault.azure.net\"",
                Some("https://vault.azure.net/.default"),
            ),
            (
                "bearer scope=\"https://vault.azure.net/.default\"",
                Some("https://vault.azure.net/.default"),
            ),
            (
                "Bearer resource=\"https://vault.azure.net:8443\"",
                Some("https://vault.azure.net:8443/.default"),
            ),
            ("", None),
            ("Bearer foo=1", None),
            ("Basic realm=\"proxy\"", None),
            ("Basic resource=\"https://vault.azure.net\"", None),
            ("Bearer resource=\"https://evil.example\"", None),
            ("Bearer resource=\"https://ault.azure.net\"", None),
            ("Bearer resource=\"\"", None),
            ("Bearer resource=\"http://vault.azure.net\"", None),
            ("Bearer resource=\"https://x@vault.azure.net\"", None),
            (
                "Bearer scope=\"https://vault.azure.net/.default other\"",
                None,
            ),
        ] {
            let scope = Known::read(challenge, vault).map(|known| known.scope);
            assert_eq!(scope.as_deref(), expected, "{challenge}");
        }
    }

    #[test]
    fn a_documented_scope_reads_as_a_vault_would_say_it() {
        let known = Known::of_resource("https://vault.azure.net");
        let read = Known::read(&known.header, "kv1.vault.azure.net");
        assert_eq!(read, Some(known));
    }
}
