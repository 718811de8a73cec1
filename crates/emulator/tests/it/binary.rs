//! The program: its flags, files and exit statuses.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::direct;

/// The program with every port free to choose and its files in a folder.
fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_azure-emulator"));
    for listener in ["proxy", "https", "imds", "control", "token-proxy"] {
        command.arg(format!("--{listener}-listen=127.0.0.1:0"));
    }
    command.arg("--ca-file").arg(folder.join("ca.pem"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts it and waits for its ready file.
fn start(mut command: Command, folder: &Path) -> (Child, Value) {
    let ready = folder.join("ready.json");
    let child = command.arg("--ready-file").arg(&ready).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !ready.exists() {
        assert!(Instant::now() < deadline, "not ready");
        std::thread::sleep(Duration::from_millis(10));
    }
    let json = fs::read(&ready).unwrap();
    (child, serde_json::from_slice(&json).unwrap())
}

fn terminate(child: Child, signal: &str) -> Output {
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args([signal, &id])
            .status()
            .unwrap()
            .success()
    );
    child.wait_with_output().unwrap()
}

#[tokio::test]
async fn it_tells_where_it_listens_and_stops_on_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let seed = folder.path().join("seed.json");
    fs::write(
        &seed,
        r#"{ "vaults": { "kv1": { "secrets": { "a": "x" } } } }"#,
    )
    .unwrap();
    for signal in ["-TERM", "-INT"] {
        drop(fs::remove_file(folder.path().join("ready.json")));
        let mut command = command(folder.path());
        command.arg("--seed").arg(&seed);
        let (child, ready) = start(command, folder.path());
        let ca = fs::read_to_string(ready["caFile"].as_str().unwrap()).unwrap();
        assert!(ca.starts_with("-----BEGIN CERTIFICATE-----"));
        let vaults = format!("{}/vaults", ready["control"].as_str().unwrap());
        let client = direct().tls_certs_only([]).build().unwrap();
        let vaults = client
            .get(vaults)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let vaults: Value = serde_json::from_str(&vaults).unwrap();
        assert_eq!(vaults["kv1"]["secrets"][0], "a");
        let output = terminate(child, signal);
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let proxy = ready["proxy"].as_str().unwrap();
        assert!(
            text.contains(&format!("export HTTPS_PROXY={proxy}\n")),
            "{text}"
        );
        assert!(text.contains("export SSL_CERT_FILE="), "{text}");
    }
}

#[test]
fn one_line_of_json_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(folder.path());
    command.arg("--json");
    let (child, ready) = start(command, folder.path());
    let output = terminate(child, "-TERM");
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed, ready);
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let bad_seed = folder.path().join("seed.json");
    fs::write(&bad_seed, r#"{ "vault": {} }"#).unwrap();
    let missing = folder.path().join("missing.json");
    let cases = [
        ("--https-listen", address.as_str(), address.as_str()),
        (
            "--seed",
            bad_seed.to_str().unwrap(),
            "unknown field `vault`",
        ),
        ("--seed", missing.to_str().unwrap(), "missing.json: "),
    ];
    for (flag, value, expected) in cases {
        let mut command = Command::new(env!("CARGO_BIN_EXE_azure-emulator"));
        for listener in ["proxy", "https", "imds", "control", "token-proxy"] {
            if flag != format!("--{listener}-listen") {
                command.arg(format!("--{listener}-listen=127.0.0.1:0"));
            }
        }
        let ca = folder.path().join("ca.pem");
        let output = command
            .args([flag, value, "--ca-file"])
            .arg(ca)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.starts_with("azure-emulator: "), "{text}");
        assert!(text.contains(expected), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}
