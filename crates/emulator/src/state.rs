//! Everything that one emulator knows; every service and the control API hold it.
//!
//! The services import it, and it imports what each of them knows: a circle, on purpose. A fault of one service is set
//! by another's API, a role that is granted in Entra ID opens a vault, and one clock moves all of them. Parts that do not
//! know each other would have to be told of each other's changes, and a reader would look for one emulator in ten places.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, Method, header, request};
use bytes::Bytes;
use parking_lot::Mutex;

use crate::ca::Ca;
use crate::clock::Clock;
use crate::cloud::Cloud;
use crate::counters::{Counters, RequestRecord};
use crate::emulator::Urls;
use crate::entra::Entra;
use crate::faults::{Asked, Effect, Faults, Service};
use crate::imds::Imds;
use crate::listener::Connection;
use crate::settings::Settings;
use crate::vault::Vault;

/// One emulator's state.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) settings: Settings,
    pub(crate) ca: Arc<Ca>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) counters: Counters,
    pub(crate) faults: Faults,
    pub(crate) entra: Entra,
    pub(crate) imds: Imds,
    pub(crate) urls: Urls,
    vaults: Mutex<BTreeMap<String, Vault>>,
}

impl State {
    pub(crate) fn new(settings: Settings, ca: Ca, urls: Urls) -> Self {
        let clock = Arc::new(Clock::default());
        let entra = Entra::new(&settings, clock.clone());
        Self {
            ca: Arc::new(ca),
            clock,
            counters: Counters::default(),
            faults: Faults::default(),
            entra,
            imds: Imds::default(),
            urls,
            vaults: Mutex::default(),
            settings,
        }
    }

    /// The vault of this name, made when there is none.
    pub(crate) fn vault(&self, name: &str) -> Vault {
        let key = name.to_ascii_lowercase();
        self.vaults
            .lock()
            .entry(key)
            .or_insert_with(|| Vault::new(name, &self.settings, self.clock.clone()))
            .clone()
    }

    pub(crate) fn existing_vault(&self, name: &str) -> Option<Vault> {
        self.vaults.lock().get(&name.to_ascii_lowercase()).cloned()
    }

    /// The vault that a host name resolves to: one of another cloud does not.
    pub(crate) fn vault_at(&self, name: &str, cloud: Option<Cloud>) -> Option<Vault> {
        self.existing_vault(name)
            .filter(|vault| cloud.is_none_or(|cloud| cloud == vault.cloud()))
    }

    pub(crate) fn remove_vault(&self, name: &str) -> bool {
        let key = name.to_ascii_lowercase();
        self.vaults.lock().remove(&key).is_some()
    }

    pub(crate) fn vaults(&self) -> Vec<Vault> {
        self.vaults.lock().values().cloned().collect()
    }

    /// The delay that every answer has, as an effect that comes before any other.
    pub(crate) fn with_latency(&self, mut effects: Vec<Effect>) -> Vec<Effect> {
        if !self.settings.latency.is_zero() {
            effects.insert(0, Effect::delay(self.settings.latency));
        }
        effects
    }
}

/// A request, read whole.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    /// Host and port as the client wrote them.
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) query: HashMap<String, String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) connection: Connection,
}

impl Ask {
    pub(crate) fn new(parts: &request::Parts, body: Bytes, connection: Connection) -> Self {
        let query = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
        Self {
            method: parts.method.clone(),
            host: host_of(parts),
            path: parts.uri.path().to_owned(),
            query,
            headers: parts.headers.clone(),
            body,
            connection,
        }
    }

    /// The path's elements, decoded; a trailing slash makes no empty one.
    pub(crate) fn segments(&self) -> Vec<String> {
        let path = self.path.trim_start_matches('/');
        path.strip_suffix('/')
            .unwrap_or(path)
            .split('/')
            .map(|segment| {
                percent_encoding::percent_decode_str(segment)
                    .decode_utf8_lossy()
                    .into_owned()
            })
            .collect()
    }

    /// What faults look at.
    pub(crate) fn asked(&self) -> Asked<'_> {
        Asked {
            connection: &self.connection,
            authorization: self.header("authorization").unwrap_or_default(),
            body: &self.body,
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// `https://` and the host as it was asked for.
    pub(crate) fn base_url(&self) -> String {
        format!(
            "https://{}",
            self.host.strip_suffix(":443").unwrap_or(&self.host)
        )
    }

    /// `:port` of the host as it was asked for, or nothing for the default port.
    pub(crate) fn port_suffix(&self) -> &str {
        let host = self.host.strip_suffix(":443").unwrap_or(&self.host);
        &host[crate::cloud::without_port(host).len()..]
    }
}

/// The host that a request is for: HTTP/2's `:authority`, or `Host`.
pub(crate) fn host_of(parts: &request::Parts) -> String {
    parts
        .uri
        .authority()
        .map(|authority| authority.as_str().to_owned())
        .or_else(|| {
            let host = parts.headers.get(header::HOST)?;
            Some(host.to_str().ok()?.to_owned())
        })
        .unwrap_or_default()
}

/// A log line for a request that is about to be answered.
pub(crate) fn record(
    service: Service,
    parts: &request::Parts,
    connection: &Connection,
) -> RequestRecord {
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    RequestRecord {
        service,
        method: parts.method.to_string(),
        host: crate::cloud::without_port(&host_of(parts)).to_ascii_lowercase(),
        path: path.to_owned(),
        status: None,
        via_proxy: connection.via_proxy,
        server_name: connection.server_name.clone(),
        protocol: format!("{:?}", parts.version),
        began: Duration::ZERO,
        ended: None,
    }
}
