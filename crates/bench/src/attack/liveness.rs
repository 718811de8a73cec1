//! [`Liveness`], the kubelet's probes: the program's own `ping` over the socket, and the health check over HTTP.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// The most time that a probe gets.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two probes of a kind. The kubelet's come every 10 s; an attack here takes only a few.
const PING_PAUSE: Duration = Duration::from_millis(400);
const HTTP_PAUSE: Duration = Duration::from_millis(100);

/// How probes went.
#[derive(Clone, Debug, Default)]
pub struct Probes {
    /// How many there were.
    pub asked: usize,
    /// How many have failed.
    pub failed: usize,
    /// Why the first of them has.
    pub reason: Option<String>,
}

impl Probes {
    fn count(&mut self, result: Result<(), String>) {
        self.asked += 1;
        if let Err(reason) = result {
            self.failed += 1;
            self.reason.get_or_insert(reason);
        }
    }
}

/// Probes that go on until they are stopped.
#[derive(Debug)]
pub struct Liveness {
    stop: tokio::sync::watch::Sender<bool>,
    probing: [JoinHandle<Probes>; 2],
}

impl Liveness {
    /// Probes the provider at this endpoint by this program, and at this port.
    pub fn watch(program: PathBuf, endpoint: String, port: u16) -> Self {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let by_socket = repeat(PING_PAUSE, stopped.clone(), move || {
            let (program, endpoint) = (program.clone(), endpoint.clone());
            async move { ping(&program, &endpoint).await }
        });
        let by_http = repeat(HTTP_PAUSE, stopped, move || health(port));
        Self {
            stop,
            probing: [tokio::spawn(by_socket), tokio::spawn(by_http)],
        }
    }

    /// Ends them, once those under way are answered.
    pub async fn end(self) -> Probes {
        _ = self.stop.send(true);
        let mut all = Probes::default();
        for probing in self.probing {
            // A task that panics has a line on standard error.
            let probes = probing.await.unwrap_or_default();
            all.asked += probes.asked;
            all.failed += probes.failed;
            all.reason = all.reason.or(probes.reason);
        }
        all
    }
}

async fn repeat<F: Future<Output = Result<(), String>>>(
    pause: Duration,
    mut stopped: tokio::sync::watch::Receiver<bool>,
    probe: impl Fn() -> F,
) -> Probes {
    let mut probes = Probes::default();
    loop {
        probes.count(probe().await);
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return probes,
            () = sleep(pause) => {}
        }
    }
}

/// Runs `ping` as a probe with `exec` does.
async fn ping(program: &Path, endpoint: &str) -> Result<(), String> {
    let mut command = Command::new(program);
    command
        .args(["ping", "--endpoint", endpoint])
        .env_clear()
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await;
    let output = output
        .map_err(|_| format!("ping: no end within {} s", PATIENCE.as_secs()))?
        .map_err(|error| format!("ping: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "ping: {}",
        words.lines().next().unwrap_or("failed")
    ))
}

/// Asks for the health check over HTTP, from another address than an attacker's.
async fn health(port: u16) -> Result<(), String> {
    let asking = async {
        let mut stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
        let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = timeout(PATIENCE, asking).await;
    let answer = answer
        .map_err(|_| format!("HTTP: no answer within {} s", PATIENCE.as_secs()))?
        .map_err(|error| format!("HTTP: {error}"))?;
    match answer.lines().next().unwrap_or_default() {
        status if status.starts_with("HTTP/1.1 200 ") => Ok(()),
        other => Err(format!("HTTP: {other:?}")),
    }
}
