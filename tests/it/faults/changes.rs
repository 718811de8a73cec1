//! What changes around a provider that runs: where a server is, whom to trust.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use azure_emulator::{Emulator, Settings};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tonic::Code;

use crate::support::class::Class;
use crate::support::provider::{PATIENCE, Provider};
use crate::support::{Node, VAULT, expect_status, files};

/// An address that a server is reached at. It ends with this value, with its connections.
struct Address {
    at: SocketAddr,
    accepted: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    /// Where it leads; nowhere while it takes connections and says nothing.
    to: watch::Sender<Option<SocketAddr>>,
    task: AbortHandle,
}

impl Address {
    async fn new(at: &str, to: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(at).await?;
        let address = listener.local_addr()?;
        let (to, leads) = watch::channel(Some(to));
        let (accepted, open) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let counts = (Arc::clone(&accepted), Arc::clone(&open));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                counts.0.fetch_add(1, Ordering::Relaxed);
                let (leads, open) = (leads.borrow().to_owned(), Arc::clone(&counts.1));
                connections.spawn(async move {
                    let Some(to) = leads else {
                        return std::future::pending().await;
                    };
                    open.fetch_add(1, Ordering::Relaxed);
                    let mut server = TcpStream::connect(to).await.unwrap();
                    _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
                    open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Ok(Self {
            at: address,
            accepted,
            open,
            to,
            task: task.abort_handle(),
        })
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl Drop for Address {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn emulator(http2: bool) -> Emulator {
    let settings = Settings {
        http2,
        ..Settings::default()
    };
    Emulator::start(settings).await.unwrap()
}

const AGE: [&str; 2] = ["--connection-max-age", "1s"];

/// Mounts, which must go well each time, until something holds.
async fn mount_until(provider: &Provider, what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        mount(provider).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(start.elapsed() < PATIENCE, "{what}");
    }
}

async fn mount(provider: &Provider) {
    let response = provider.mount(Class::of_secret("S").request()).await;
    assert_eq!(files(&response.unwrap())[0].2, "v");
}

#[tokio::test]
async fn connections_follow_a_server_that_moves_and_outlast_a_way_that_is_gone() {
    for http2 in [true, false] {
        let node = Node::start_beside(emulator(http2).await, &[]).await;
        node.vault.set_secret("S", "v");
        let azure: SocketAddr = node.azure.proxy_url()["http://".len()..].parse().unwrap();
        // New connections come another way than the old ones, which never fail.
        let way = Address::new("127.0.0.1:0", azure).await.unwrap();
        let moved = Address::new("127.0.0.1:0", azure).await.unwrap();
        let proxy = format!("http://{}", way.at);
        let provider = Provider::start_behind(&node.azure, &proxy, &AGE).await;
        mount(&provider).await;
        let old = way.open();
        assert_eq!(old, 1);
        way.to.send_replace(Some(moved.at));
        mount_until(&provider, "a new connection", || moved.accepted() > 0).await;
        let all_moved = || way.open() == moved.open();
        mount_until(&provider, "no old connection", all_moved).await;
        // Nothing leads there any more, and what is connected stays.
        way.to.send_replace(None);
        let before = way.accepted();
        let tried = || way.accepted() > before + 1;
        mount_until(&provider, "tried again and again", tried).await;
        let (accepted, _) = (moved.accepted(), way.to.send_replace(Some(moved.at)));
        let is_renewed = || moved.accepted() > accepted;
        mount_until(&provider, "renewed once there is a way", is_renewed).await;
        assert!(
            provider.log().contains("cannot renew a connection"),
            "{}",
            provider.log()
        );
    }
}

/// The same program with a file of hosts of its own. None where this machine does not let a test do so.
fn with_hosts(command: &mut Command, hosts: &Path) {
    let std = command.as_std();
    let mut wrapped = Command::new("unshare");
    // There is no resolver at this address, so nobody can say where a name is that the file has not.
    let script = "echo nameserver 127.77.0.53 > \"$HOSTS.dns\" && mount --bind \"$HOSTS.dns\" /etc/resolv.conf \
                  && rm \"$HOSTS.dns\" && mount --bind \"$HOSTS\" /etc/hosts && exec \"$0\" \"$@\"";
    wrapped.args(["--mount", "--", "sh", "-c", script]);
    wrapped.arg(std.get_program()).args(std.get_args());
    wrapped.env_clear();
    for (name, value) in std.get_envs() {
        if let Some(value) = value
            && name != "HTTPS_PROXY"
        {
            wrapped.env(name, value);
        }
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    wrapped.env("HOSTS", hosts).env("PATH", path);
    // A resolver that is not there answers soon.
    wrapped.env("RES_OPTIONS", "timeout:1 attempts:1");
    *command = wrapped;
}

#[tokio::test]
async fn a_vault_whose_address_changes_is_followed_and_outlasts_dns() {
    let probe = Command::new("unshare")
        .args([
            "--mount",
            "--",
            "mount",
            "--bind",
            "/dev/null",
            "/etc/hosts",
        ])
        .status()
        .await;
    if !probe.is_ok_and(|status| status.success()) {
        eprintln!("skipped: this user may not mount a file of hosts");
        return;
    }
    for http2 in [true, false] {
        let node = Node::start_beside(emulator(http2).await, &[]).await;
        node.vault.set_secret("S", "v");
        // Loopback has addresses for tests that run side by side; the port is a vault's own.
        let number = u16::try_from(std::process::id() % 250).unwrap() + u16::from(http2);
        let at = |last: u8| format!("127.77.{number}.{last}:443");
        let to = node.azure.https_addr();
        let (Ok(old), Ok(new)) = (
            Address::new(&at(1), to).await,
            Address::new(&at(2), to).await,
        ) else {
            eprintln!("skipped: this user may not listen on port 443");
            return;
        };
        let hosts = tempfile::NamedTempFile::new().unwrap();
        let is_at = |address: Option<SocketAddr>| {
            let line = address.map(|address| format!("{} {VAULT}.vault.azure.net\n", address.ip()));
            fs::write(hosts.path(), line.unwrap_or_default()).unwrap();
        };
        is_at(Some(old.at));
        let provider = Provider::start_by(&node.azure, &AGE, |command, _| {
            with_hosts(command, hosts.path());
        })
        .await;
        mount(&provider).await;
        is_at(Some(new.at));
        mount_until(&provider, "a new connection", || new.accepted() > 0).await;
        mount_until(&provider, "no old connection", || old.open() == 0).await;
        // The old one is gone.
        drop(old);
        is_at(None);
        let tried = || {
            provider
                .log()
                .contains("the last known addresses of this name")
        };
        mount_until(&provider, "DNS is asked", tried).await;
        // A connection can be made all the same, where the server was last.
        let accepted = new.accepted();
        mount_until(&provider, "renewed without DNS", || {
            new.accepted() > accepted
        })
        .await;
        is_at(Some(new.at));
        let accepted = new.accepted();
        mount_until(&provider, "renewed", || new.accepted() > accepted).await;
    }
}

#[tokio::test]
async fn certificates_to_trust_are_read_again_when_they_change() {
    for by_flag in [true, false] {
        let node = Node::start().await;
        node.vault.set_secret("S", "v");
        let other = emulator(true).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        fs::write(&file, other.ca_pem()).unwrap();
        let path = file.display().to_string();
        let flags = ["--ca-file", &path];
        let flags = if by_flag { &flags[..] } else { &[] };
        let provider = Provider::start_by(&node.azure, flags, |command, folder| {
            let empty = folder.join("empty.pem");
            fs::write(&empty, "").unwrap();
            command.env("SSL_CERT_FILE", if by_flag { &empty } else { &file });
        })
        .await;
        let class = Class::of_secret("S");
        let words = ["[TLS_NOT_TRUSTED] ", "without a restart"];
        let refused = provider.mount(class.request()).await;
        expect_status(refused, Code::FailedPrecondition, &words);
        fs::write(&file, node.azure.ca_pem()).unwrap();
        mount(&provider).await;
        assert!(
            provider
                .log()
                .contains("the trusted certificates have changed")
        );
    }
}

#[tokio::test]
async fn a_broken_file_of_certificates_to_trust_leaves_what_was_trusted() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    fs::write(&file, node.azure.ca_pem()).unwrap();
    let provider = Provider::start_by(&node.azure, &AGE, |command, _| {
        command.env("SSL_CERT_FILE", &file);
    })
    .await;
    mount(&provider).await;
    fs::write(&file, "-----BEGIN CERTIFICATE-----\nMIIB").unwrap();
    let host = format!("{VAULT}.vault.azure.net");
    let before = node.azure.counters().connections(&host);
    let is_new = || node.azure.counters().connections(&host) > before;
    mount_until(&provider, "a handshake with the old trust", is_new).await;
    assert!(
        provider.log().contains("stay trusted"),
        "{}",
        provider.log()
    );
}
