//! `azure-emulator`: Azure Key Vault, Entra ID and IMDS on this machine, for development and tests.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use azure_emulator::{CaFiles, DEFAULT_TENANT, Emulator, Seed, Settings, Validity};
use clap::Parser;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Azure Key Vault, Microsoft Entra ID and IMDS on this machine, for development and tests.
///
/// Point a program at it with HTTPS_PROXY and SSL_CERT_FILE, as the text printed at the start
/// tells, or map the host names to it in a hosts file: --https-listen 127.0.0.1:443
/// --imds-listen 169.254.169.254:80. Nothing is ever forwarded to a network.
#[derive(Debug, Parser)]
#[expect(clippy::doc_markdown, reason = "help texts are read in a terminal")]
#[command(version, max_term_width = 100)]
struct Arguments {
    /// Forward proxy that answers for the public clouds' host names; port 0 takes a free one
    #[arg(
        long,
        env = "AZURE_EMULATOR_PROXY_LISTEN",
        default_value = "127.0.0.1:8480"
    )]
    proxy_listen: SocketAddr,

    /// Key Vault and Entra ID over TLS, by host name
    #[arg(
        long,
        env = "AZURE_EMULATOR_HTTPS_LISTEN",
        default_value = "127.0.0.1:8443"
    )]
    https_listen: SocketAddr,

    /// Instance Metadata Service over plain HTTP
    #[arg(
        long,
        env = "AZURE_EMULATOR_IMDS_LISTEN",
        default_value = "127.0.0.1:8481"
    )]
    imds_listen: SocketAddr,

    /// Control API over plain HTTP; it has no authentication, keep it on loopback
    #[arg(
        long,
        env = "AZURE_EMULATOR_CONTROL_LISTEN",
        default_value = "127.0.0.1:8482"
    )]
    control_listen: SocketAddr,

    /// AKS token proxy and API server over TLS, told apart by SNI
    #[arg(
        long,
        env = "AZURE_EMULATOR_TOKEN_PROXY_LISTEN",
        default_value = "127.0.0.1:8483"
    )]
    token_proxy_listen: SocketAddr,

    /// Where to write the CA's certificate (PEM), for SSL_CERT_FILE and the like
    #[arg(
        long,
        env = "AZURE_EMULATOR_CA_FILE",
        value_name = "PATH",
        default_value = "azure-emulator-ca.pem"
    )]
    ca_file: PathBuf,

    /// Where to keep the CA's private key, so that the same CA serves the next run too
    #[arg(long, env = "AZURE_EMULATOR_CA_KEY_FILE", value_name = "PATH")]
    ca_key_file: Option<PathBuf>,

    /// Do not offer HTTP/2
    #[arg(long, env = "AZURE_EMULATOR_HTTP1_ONLY")]
    http1_only: bool,

    /// When the servers' certificates are valid
    #[arg(
        long,
        env = "AZURE_EMULATOR_CERTIFICATES",
        value_name = "WHEN",
        default_value = "now"
    )]
    certificates: Validity,

    /// Milliseconds before every answer
    #[arg(
        long,
        env = "AZURE_EMULATOR_LATENCY",
        value_name = "MS",
        default_value_t = 0
    )]
    latency: u64,

    /// Seconds that access tokens live
    #[arg(
        long,
        env = "AZURE_EMULATOR_TOKEN_LIFETIME",
        value_name = "SECONDS",
        default_value_t = 3600
    )]
    token_lifetime: u64,

    /// Tenant that exists from the start and that new vaults belong to
    #[arg(long, env = "AZURE_EMULATOR_TENANT", value_name = "ID", default_value = DEFAULT_TENANT)]
    tenant: String,

    /// JSON with the tenants, applications, managed identities and vaults to start with
    #[arg(long, env = "AZURE_EMULATOR_SEED", value_name = "PATH")]
    seed: Option<PathBuf>,

    /// Where to write all URLs as JSON once everything listens
    #[arg(long, env = "AZURE_EMULATOR_READY_FILE", value_name = "PATH")]
    ready_file: Option<PathBuf>,

    /// Print the URLs as one line of JSON instead of text
    #[arg(long, env = "AZURE_EMULATOR_JSON")]
    json: bool,
}

impl Arguments {
    fn settings(&self) -> Settings {
        Settings {
            https_listen: self.https_listen,
            proxy_listen: self.proxy_listen,
            imds_listen: self.imds_listen,
            control_listen: self.control_listen,
            token_proxy_listen: self.token_proxy_listen,
            http2: !self.http1_only,
            token_lifetime: Duration::from_secs(self.token_lifetime),
            latency: Duration::from_millis(self.latency),
            tenant: self.tenant.clone(),
            certificates: self.certificates,
            ca: self.ca_key_file.as_ref().map(|key| CaFiles {
                certificate: self.ca_file.clone(),
                key: key.clone(),
            }),
            ..Settings::default()
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("AZURE_EMULATOR_LOG").unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("azure-emulator: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    // Before anything listens, so that no signal after the ready file is written gets lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let emulator = Emulator::start(arguments.settings()).await?;
    if let Some(path) = &arguments.seed {
        let json = std::fs::read(path).map_err(|error| naming(path, &error))?;
        emulator.seed(&Seed::from_json(&json)?)?;
    }
    announce(&arguments, &emulator)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    emulator.stop().await;
    Ok(())
}

/// Writes the files and tells how to use them. The ready file comes last and at once: whoever
/// waits for it finds it whole and everything listening.
fn announce(arguments: &Arguments, emulator: &Emulator) -> Result<(), Failure> {
    let ca_file = &arguments.ca_file;
    std::fs::write(ca_file, emulator.ca_pem()).map_err(|error| naming(ca_file, &error))?;
    let ca_file = ca_file.canonicalize()?;
    let mut ready = json!(emulator.urls());
    ready["caFile"] = ca_file.display().to_string().into();
    ready["pid"] = std::process::id().into();
    if let Some(path) = &arguments.ready_file {
        let beside = path.with_extension("partial");
        std::fs::write(&beside, format!("{ready}\n")).map_err(|error| naming(&beside, &error))?;
        std::fs::rename(&beside, path).map_err(|error| naming(path, &error))?;
    }
    if arguments.json {
        println!("{ready}");
        return Ok(());
    }
    println!(
        "azure-emulator: Key Vault, Entra ID and IMDS are served on this machine.\n\n\
         For a program built for the public clouds:\n\
         export HTTPS_PROXY={proxy}\n\
         export SSL_CERT_FILE={ca}\n\
         export REQUESTS_CA_BUNDLE={ca}\n\n\
         IMDS         {imds}   (AZURE_POD_IDENTITY_AUTHORITY_HOST for Azure's SDKs)\n\
         HTTPS        https://{https}   (NAME.vault.localhost, login.localhost, and the clouds' names)\n\
         token proxy  {token_proxy}   (as {server_name} by SNI, for AKS identity bindings)\n\
         control API  {control}",
        proxy = emulator.proxy_url(),
        ca = ca_file.display(),
        imds = emulator.imds_url(),
        https = emulator.https_addr(),
        token_proxy = emulator.token_proxy_url(),
        server_name = emulator.token_proxy_server_name().unwrap_or("nobody"),
        control = emulator.control_url(),
    );
    Ok(())
}

fn naming(path: &std::path::Path, error: &std::io::Error) -> Failure {
    format!("{}: {error}", path.display()).into()
}

/// An error and what caused it, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
