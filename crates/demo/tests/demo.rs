//! The demo as a process: what it says, how it ends, and that it leaves nothing behind.
//!
//! A script stands for the provider where the test is about the demo's own end, so that the test does
//! not depend on how fast anything is.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;

/// The demo, whose temporary folder is made in `folder/tmp`.
fn demo(folder: &Path, arguments: &[&str]) -> Command {
    let temporary = folder.join("tmp");
    fs::create_dir_all(&temporary).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    command
        .args(arguments)
        .env("TMPDIR", temporary)
        // A user's proxy must not matter.
        .env("HTTPS_PROXY", "http://127.0.0.1:9")
        .stdin(Stdio::null());
    command
}

fn assert_nothing_left(folder: &Path) {
    let left: Vec<_> = fs::read_dir(folder.join("tmp")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A script of the folder `providers`, in place of the provider. It is a file of the repository, since a
/// program that was just written cannot always be run while other tests start processes.
fn provider(name: &str) -> String {
    format!("{}/tests/providers/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn output(folder: &Path, provider: &str) -> Output {
    demo(folder, &["--provider", provider]).output().unwrap()
}

/// The process ID that `deaf` wrote, once it has.
fn pid_of_provider(folder: &Path) -> Pid {
    let started = Instant::now();
    loop {
        let pid = fs::read_to_string(folder.join("pid")).unwrap_or_default();
        if let Some(pid) = pid.strip_suffix('\n') {
            return Pid::from_raw(pid.parse().unwrap()).unwrap();
        }
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "the script does not run"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().cast_signed()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Everything, with the real provider, where the same build has made it: `cargo test --workspace` does,
/// `cargo test --package demo` by itself does not.
#[test]
fn the_whole_story_is_told() {
    let beside = Path::new(env!("CARGO_BIN_EXE_demo")).with_file_name("provider-azure-rs");
    if !beside.exists() {
        eprintln!("skipped: there is no {}", beside.display());
        return;
    }
    let folder = TempDir::new().unwrap();
    let output = demo(folder.path(), &[]).output().unwrap();
    let (said, complaint) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}{complaint}");
    for words in [
        "OPENAI-API-KEY -> ..data/OPENAI-API-KEY",
        // The folder that everything is in.
        "drwx------ ",
        "✓ the file holds the vault's value, by digest",
        "✓ the mount succeeds: updated",
        "✓ the mount fails with PermissionDenied, KV_ACCESS_DENIED",
        // The fix alone, to be copied.
        "   $ az keyvault set-policy --name ai-chat-kv-1763873634 --object-id 301f31b4-",
        "✓ the mount fails with FailedPrecondition, IDENTITY_NOT_ASSIGNED",
        "✓ $DEMO is gone",
    ] {
        assert!(said.contains(words), "{said} should contain {words}");
    }
    assert!(
        !said.contains('✗') && !said.contains('\x1b') && !said.contains("sk-"),
        "{said}"
    );
    assert_eq!(complaint, "");
    assert_nothing_left(folder.path());
}

#[test]
fn a_signal_ends_everything_in_order() {
    for (asked, status) in [(Signal::HUP, 129), (Signal::INT, 130), (Signal::TERM, 143)] {
        let folder = TempDir::new().unwrap();
        let mut child = demo(folder.path(), &["--provider", &provider("deaf")])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = pid_of_provider(folder.path());
        signal(&child, asked);
        assert_eq!(child.wait().unwrap().code(), Some(status));
        assert!(test_kill_process(pid).is_err(), "the provider still runs");
        assert_nothing_left(folder.path());
    }
}

#[test]
fn a_provider_that_does_not_start_fails_the_demo_and_is_heard() {
    let folder = TempDir::new().unwrap();
    let output = output(folder.path(), &provider("broken"));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("The provider's log:\n   the reason\n"));
    assert!(text(&output.stderr).contains("demo: the provider ended at once (exit status: 3)"));
    assert_nothing_left(folder.path());
}

#[test]
fn a_missing_provider_is_said_with_the_command_that_builds_it() {
    let folder = TempDir::new().unwrap();
    let output = output(folder.path(), "/none/provider");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("`make demo` builds it"));
    assert_nothing_left(folder.path());
}

#[test]
fn a_reader_that_goes_away_leaves_nothing_behind() {
    let folder = TempDir::new().unwrap();
    let mut child = demo(folder.path(), &["--provider", &provider("deaf")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    reader.read_line(&mut first).unwrap();
    drop(reader);
    let pid = pid_of_provider(folder.path());
    signal(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let mut complaint = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut complaint)
        .unwrap();
    assert_eq!(complaint, "");
    assert!(test_kill_process(pid).is_err(), "the provider still runs");
    assert_nothing_left(folder.path());
}
