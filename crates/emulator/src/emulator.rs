//! The running emulator: binds its listeners, serves them, and gives the handles that tests use.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;

use crate::ca::{Ca, CaError};
use crate::control;
use crate::counters::{Counters, IMDS_HOST};
use crate::entra::{Entra, SERVICE_ACCOUNT_ISSUER};
use crate::faults::Faults;
use crate::front::{Front, answer_imds};
use crate::imds::Imds;
use crate::listener::{Tasks, bind, serve};
use crate::proxy::Proxy;
use crate::seed::{Seed, SeedError};
use crate::settings::Settings;
use crate::state::State;
use crate::token_proxy::{self, TokenProxy};
use crate::vault::Vault;

/// An emulator did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// An address is taken or not this machine's.
    #[error("cannot listen for {what} on {source}")]
    Listen {
        /// Which of the listeners.
        what: &'static str,
        /// The address and what the system said.
        source: std::io::Error,
    },
    #[error("no certificate authority")]
    Ca(#[from] CaError),
    /// TLS refused its settings.
    #[error("cannot set TLS up")]
    Tls(#[from] rustls::Error),
}

/// Where an emulator is reached; what the binary prints and writes when it is ready.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Urls {
    /// The forward proxy, for `HTTPS_PROXY`.
    pub proxy: String,
    /// IMDS, in place of `http://169.254.169.254`.
    pub imds: String,
    /// The control API.
    pub control: String,
    /// Entra ID under its own name.
    pub authority: String,
    /// The TLS listener.
    pub https: SocketAddr,
    /// The AKS token proxy, which answers under its name in TLS only.
    pub token_proxy: String,
    /// That name; absent where the cluster is not AKS'.
    pub token_proxy_server_name: Option<String>,
}

/// A running emulator. It stops when dropped; [`Emulator::stop`] also waits.
#[derive(Debug)]
pub struct Emulator {
    state: Arc<State>,
    tasks: Tasks,
    token_proxy: SocketAddr,
}

impl Emulator {
    /// Binds the listeners and serves them.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let listen = |what, address| async move {
            let listener = bind(address)
                .await
                .map_err(|source| StartError::Listen { what, source })?;
            let address = listener
                .local_addr()
                .map_err(|source| StartError::Listen { what, source })?;
            Ok::<_, StartError>((listener, address))
        };
        let (https, https_address) = listen("HTTPS", settings.https_listen).await?;
        let (proxy, proxy_address) = listen("the proxy", settings.proxy_listen).await?;
        let (imds, imds_address) = listen("IMDS", settings.imds_listen).await?;
        let (control, control_address) = listen("the control API", settings.control_listen).await?;
        let (token_proxy, token_proxy_address) =
            listen("the token proxy", settings.token_proxy_listen).await?;
        let urls = Urls {
            proxy: format!("http://{proxy_address}"),
            imds: format!("http://{imds_address}"),
            control: format!("http://{control_address}"),
            authority: format!("https://login.localhost:{}", https_address.port()),
            https: https_address,
            token_proxy: format!("https://{token_proxy_address}"),
            token_proxy_server_name: settings.cluster_id.as_deref().map(token_proxy::server_name),
        };

        let ca = Ca::new(&settings)?;
        let state = Arc::new(State::new(settings, ca, urls));
        let tasks = Tasks::default();
        let front = Front::new(state.clone())?;

        let (front_here, counters) = (front.clone(), state.counters.clone());
        tasks.accept(https, move |stream, connection| {
            counters.count(|counts| counts.connections.tcp += 1);
            front_here.clone().serve(stream, connection)
        });
        let (bindings, counters) = (
            TokenProxy {
                state: state.clone(),
                front: front.clone(),
            },
            state.counters.clone(),
        );
        tasks.accept(token_proxy, move |stream, connection| {
            counters.count(|counts| counts.connections.tcp += 1);
            bindings.clone().serve(stream, connection)
        });
        let (through, counters) = (
            Proxy {
                state: state.clone(),
                front,
                tasks: tasks.clone(),
            },
            state.counters.clone(),
        );
        tasks.accept(proxy, move |stream, connection| {
            counters.count(|counts| counts.connections.tcp += 1);
            through.clone().serve(stream, connection)
        });
        let here = state.clone();
        tasks.accept(imds, move |stream, connection| {
            let state = here.clone();
            let open = state.counters.connect(IMDS_HOST);
            state.counters.count(|counts| {
                counts.connections.tcp += 1;
                counts.connections.imds += 1;
            });
            async move {
                serve(stream, false, |request| {
                    answer_imds(state.clone(), connection.clone(), request)
                })
                .await;
                drop(open);
            }
        });
        let router = control::router(state.clone());
        tasks.accept(control, move |stream, _| {
            control::serve(stream, router.clone())
        });
        Ok(Self {
            state,
            tasks,
            token_proxy: token_proxy_address,
        })
    }

    /// All addresses at once.
    pub fn urls(&self) -> &Urls {
        &self.state.urls
    }

    /// `http://127.0.0.1:P`, for `HTTPS_PROXY`.
    pub fn proxy_url(&self) -> &str {
        &self.state.urls.proxy
    }

    /// `http://127.0.0.1:P`, in place of `http://169.254.169.254`.
    pub fn imds_url(&self) -> &str {
        &self.state.urls.imds
    }

    /// `http://127.0.0.1:P` of the control API.
    pub fn control_url(&self) -> &str {
        &self.state.urls.control
    }

    /// The TLS listener's address. It serves by SNI and `Host`.
    pub fn https_addr(&self) -> SocketAddr {
        self.state.urls.https
    }

    /// `https://127.0.0.1:P` of the AKS token proxy and the API server: which of them answers is told
    /// by SNI. The API server is [`crate::API_SERVER`].
    pub fn token_proxy_url(&self) -> &str {
        &self.state.urls.token_proxy
    }

    /// The address in it.
    pub fn token_proxy_addr(&self) -> SocketAddr {
        self.token_proxy
    }

    /// The name of the token proxy for SNI; absent where the cluster is not AKS'.
    pub fn token_proxy_server_name(&self) -> Option<&str> {
        self.state.urls.token_proxy_server_name.as_deref()
    }

    /// `https://login.localhost:P`.
    pub fn authority_url(&self) -> &str {
        &self.state.urls.authority
    }

    /// `https://NAME.vault.localhost:P`. Names under `localhost` do not resolve everywhere: give
    /// the client the address, or use the proxy.
    pub fn vault_url(&self, name: &str) -> String {
        format!(
            "https://{name}.vault.localhost:{}",
            self.state.urls.https.port()
        )
    }

    /// The CA's certificate in PEM, for clients to trust.
    pub fn ca_pem(&self) -> &str {
        self.state.ca.pem()
    }

    /// The vault of this name, made in the default tenant and cloud when there is none.
    pub fn vault(&self, name: &str) -> Vault {
        self.state.vault(name)
    }

    /// Removes a vault: its host no longer resolves. False when there was none.
    pub fn remove_vault(&self, name: &str) -> bool {
        self.state.remove_vault(name)
    }

    /// Tenants and applications.
    pub fn entra(&self) -> &Entra {
        &self.state.entra
    }

    /// The managed identities of this machine.
    pub fn imds(&self) -> &Imds {
        &self.state.imds
    }

    /// What goes wrong.
    pub fn faults(&self) -> &Faults {
        &self.state.faults
    }

    /// What was asked.
    pub fn counters(&self) -> &Counters {
        &self.state.counters
    }

    /// Moves the clock of Entra ID and Key Vault forward, so that tokens expire.
    pub fn advance_clock(&self, by: Duration) {
        self.state.clock.advance(by);
    }

    /// Back to the system's time.
    pub fn reset_clock(&self) {
        self.state.clock.reset();
    }

    /// Adds what a seed describes.
    pub fn seed(&self, seed: &Seed) -> Result<(), SeedError> {
        seed.plant(&self.state)
    }

    /// A service account token as a cluster would project it, of [`SERVICE_ACCOUNT_ISSUER`].
    pub fn service_account_token(
        &self,
        namespace: &str,
        name: &str,
        audience: &str,
        lifetime: Duration,
    ) -> String {
        self.state.entra.service_account_token(
            SERVICE_ACCOUNT_ISSUER,
            namespace,
            name,
            audience,
            lifetime,
        )
    }

    /// Ends all listeners and connections; takes at most five seconds.
    pub async fn stop(self) {
        self.tasks.stop().await;
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}
