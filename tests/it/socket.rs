//! The socket under callers that misbehave, and while one provider takes over from another.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use azure_emulator::{Effect, Target};
use futures::future::join_all;
use provider_azure_rs::generated::v1alpha1::csi_driver_provider_client::CsiDriverProviderClient;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::support::class::Class;
use crate::support::frames::{HELLO, field, frame, message};
use crate::support::provider::{PATIENCE, Provider};
use crate::support::{Node, VAULT, expect_status, files};

/// [`HELLO`], and the beginning of a frame of headers.
const HALF_A_FRAME: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\x10\0\x01\x04";

async fn node() -> Node {
    // Each mount asks by itself, so that it shows whose call is under way.
    let node = Node::start_with(&["--shared-reads=false"]).await;
    node.vault.set_secret("S", "v");
    node
}

/// So many connections, on each of which this was said, and nothing more.
async fn stuck(socket: &Path, count: usize, said: &[u8]) -> Vec<UnixStream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        let mut stream = UnixStream::connect(socket).await.unwrap();
        stream.write_all(said).await.unwrap();
        streams.push(stream);
        // So that it is mostly heard before the next one comes.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    streams
}

/// A mount on a connection of its own, as a driver that has just started makes it.
async fn mount_afresh(socket: &Path) -> Result<(), String> {
    let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display())).unwrap();
    let channel = endpoint
        .connect()
        .await
        .map_err(|error| format!("{error:?}"))?;
    let mut request = tonic::Request::new(Class::of_secret("S").request());
    request.set_timeout(PATIENCE);
    let response = CsiDriverProviderClient::new(channel).mount(request).await;
    let response = response.map_err(|status| format!("{status:?}"))?;
    assert_eq!(files(response.get_ref()), [("S", 0o644, "v")]);
    Ok(())
}

#[tokio::test]
async fn stuck_callers_cost_only_themselves() {
    let node = node().await;
    let socket = node.provider.socket();
    let whole = unread_mount(&Class::of_secret("S"));
    let half_a_message = &whole[..whole.len() - 10];
    for (count, said) in [
        (1, &b""[..]),
        (1, HALF_A_FRAME),
        (200, b""),
        (200, HELLO),
        (100, HALF_A_FRAME),
        (100, half_a_message),
    ] {
        let _stuck = stuck(&socket, count, said).await;
        node.mount(&Class::of_secret("S")).await.unwrap();
        mount_afresh(&socket).await.unwrap();
    }
    // The driver's own connection is still the first one: it has made calls, and they have not.
    assert!(node.provider.log().contains("closed an idle connection"));
}

#[tokio::test]
async fn a_caller_with_a_mount_under_way_is_not_the_one_that_makes_room() {
    let node = node().await;
    let socket = node.provider.socket();
    let slow = Effect::delay(Duration::from_secs(1));
    node.azure.faults().always(Target::vault(VAULT), slow);
    let mounts = join_all((0..40).map(|_| mount_afresh(&socket)));
    let crowd = async {
        while node.azure.counters().vault(VAULT).requests < 40 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stuck(&socket, 200, HELLO).await
    };
    let (mounts, _crowd) = tokio::join!(mounts, crowd);
    for mount in mounts {
        mount.unwrap();
    }
}

#[tokio::test]
async fn a_ping_is_answered_however_many_others_are_there() {
    let node = node().await;
    let socket = node.provider.socket();
    let ping = || async {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_provider-azure-rs"));
        command
            .args(["ping", "--same-pod", "--endpoint"])
            .arg(&socket);
        command.output().await.unwrap()
    };
    // Idle ones make room, and are one line in the log.
    let _idle = stuck(&socket, 200, HELLO).await;
    assert!(ping().await.status.success());
    let log = node.provider.log();
    assert_eq!(log.matches("closed an idle connection").count(), 1, "{log}");
    // Those with a call under way do not, and more of them wait than have room.
    node.azure
        .faults()
        .always(Target::vault(VAULT), Effect::Hang);
    let whole = unread_mount(&Class::of_secret("S"));
    let _busy = stuck(&socket, 100, &whole).await;
    while node.azure.counters().vault(VAULT).requests == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..10 {
        let output = ping().await;
        assert!(output.status.success(), "{output:?}");
    }
}

#[tokio::test]
async fn a_caller_that_says_nothing_is_hung_up_on() {
    let node = node().await;
    let mut stream = UnixStream::connect(node.provider.socket()).await.unwrap();
    let start = Instant::now();
    let mut heard = Vec::new();
    let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut heard));
    _ = end.await.expect("the connection is closed");
    assert!(start.elapsed() > Duration::from_secs(4));
}

#[tokio::test]
async fn answers_that_are_never_read_cost_only_their_caller() {
    let node = node().await;
    node.vault.set_secret("large", "x".repeat(25_000));
    let class = (0..40).fold(Class::new(), |class, n| {
        class.object(&format!(
            "objectName: large\nobjectType: secret\nobjectAlias: f{n}"
        ))
    });
    let socket = node.provider.socket();
    // Answers of a megabyte each, to a client that grants no window for them: it leaves them lying.
    let mut hoarders = Vec::new();
    for _ in 0..20 {
        let mut stream = UnixStream::connect(&socket).await.unwrap();
        stream.write_all(&unread_mount(&class)).await.unwrap();
        hoarders.push(stream);
    }
    while node.azure.counters().vault(VAULT).all_gets() < 20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..5 {
        node.mount(&Class::of_secret("S")).await.unwrap();
        mount_afresh(&socket).await.unwrap();
    }
}

/// The headers of a call of `Mount`.
fn mount_headers() -> Vec<u8> {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/v1alpha1.CSIDriverProvider/Mount"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    fields.map(|(name, value)| field(name, value)).concat()
}

/// A whole call of `Mount` as bytes of HTTP/2, whose answer may not have a byte of body.
fn unread_mount(class: &Class) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS_INITIAL_WINDOW_SIZE 0.
    frame(&mut bytes, 4, 0, 0, &[0, 4, 0, 0, 0, 0]);
    frame(&mut bytes, 1, 4, 1, &mount_headers());
    frame(&mut bytes, 0, 1, 1, &message(&class.request()));
    bytes
}

#[tokio::test]
async fn a_message_that_does_not_come_to_its_end_is_given_up() {
    let node = Node::start_with(&["--mount-timeout", "1s"]).await;
    let mut stream = UnixStream::connect(node.provider.socket()).await.unwrap();
    let whole = unread_mount(&Class::of_secret("S"));
    stream.write_all(&whole[..whole.len() - 10]).await.unwrap();
    // Frames, until the one that has the call's headers and ends it.
    let answered = async {
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length.try_into().unwrap()];
            stream.read_exact(&mut payload).await.unwrap();
            if head[3..5] == [1, 5] {
                break;
            }
        }
    };
    let start = Instant::now();
    tokio::time::timeout(PATIENCE, answered).await.unwrap();
    assert!(start.elapsed() > Duration::from_secs(4));
}

#[tokio::test]
async fn a_message_that_is_only_announced_takes_no_memory() {
    let node = node().await;
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    frame(&mut bytes, 4, 0, 0, &[]);
    for stream in (1..=255).step_by(2) {
        frame(&mut bytes, 1, 4, stream, &mount_headers());
        // 4 MiB, of which one byte comes.
        frame(&mut bytes, 0, 0, stream, &[0, 0, 0x40, 0, 0, 10]);
    }
    for _ in 0..5 {
        let mut stream = UnixStream::connect(node.provider.socket()).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(stream);
        node.mount(&Class::of_secret("S")).await.unwrap();
    }
    let peak = node.provider.peak_memory();
    assert!(peak < 150_000, "{peak} kB");
}

#[tokio::test]
async fn hundreds_of_mounts_share_one_connection() {
    let node = node().await;
    let class = Class::of_secret("S");
    for result in join_all((0..600).map(|_| node.mount(&class))).await {
        assert_eq!(files(&result.unwrap()), [("S", 0o644, "v")]);
    }
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_in_our_words() {
    let node = node().await;
    let class = Class::of_secret("S").with("large", "x".repeat(5 << 20));
    let words = ["[INVALID_REQUEST] ", "more than 4194304 bytes", "Fix: "];
    expect_status(node.mount(&class).await, Code::InvalidArgument, &words);
    assert_eq!(node.azure.counters().vault(VAULT).requests, 0);
    // The connection is as good as before.
    node.mount(&Class::of_secret("S")).await.unwrap();
}

#[tokio::test]
async fn a_caller_with_too_many_headers_costs_only_its_call() {
    let node = node().await;
    let mut request = tonic::Request::new(Class::of_secret("S").request());
    let large = "x".repeat(100_000).parse().unwrap();
    request.metadata_mut().insert("large", large);
    let start = Instant::now();
    assert!(node.provider.client().mount(request).await.is_err());
    assert!(start.elapsed() < Duration::from_secs(5));
    node.mount(&Class::of_secret("S")).await.unwrap();
}

#[tokio::test]
async fn a_socket_for_another_user_is_open_to_callers_who_are_asked_who_they_are() {
    use std::os::unix::fs::PermissionsExt as _;
    let node = Node::start_with(&["--allowed-uid", "0", "--allowed-uid=65534"]).await;
    let mode = std::fs::metadata(node.provider.socket())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o666);
}

#[tokio::test]
async fn a_rolling_update_refuses_no_call() {
    let node = node().await;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("azure-rs.sock");
    let mut serving = Provider::start_at(&node.azure, &socket).await;
    let ended = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (ended, socket) = (Arc::clone(&ended), socket.clone());
            tokio::spawn(async move {
                let mut mounts = 0;
                while !ended.load(Ordering::Relaxed) {
                    mount_afresh(&socket).await?;
                    mounts += 1;
                }
                Ok::<_, String>(mounts)
            })
        })
        .collect();
    for _ in 0..3 {
        let newer = Provider::start_at(&node.azure, &socket).await;
        let mut older = std::mem::replace(&mut serving, newer);
        older.signal(Signal::TERM);
        assert!(older.ended().await.success());
        // Whoever comes now finds the newer one's file.
        mount_afresh(&socket).await.unwrap();
    }
    ended.store(true, Ordering::Relaxed);
    for caller in callers {
        assert!(caller.await.unwrap().unwrap() > 0);
    }
}

#[tokio::test]
async fn callers_who_only_watch_or_say_nothing_do_not_hold_the_drain() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;
    let mut node = node().await;
    let channel = crate::support::provider::connect(&node.provider.socket()).await;
    let request = HealthCheckRequest::default();
    let watching = HealthClient::new(channel).watch(request).await.unwrap();
    let mut watching = watching.into_inner();
    watching.message().await.unwrap().unwrap();
    let _silent = stuck(&node.provider.socket(), 3, b"").await;
    let start = Instant::now();
    node.provider.signal(Signal::TERM);
    assert!(node.provider.ended().await.success());
    assert!(start.elapsed() < Duration::from_secs(10), "of 20");
}
