//! Calls with any authority: none means anything on a Unix socket, and clients say all kinds of things.

use std::path::Path;

use futures::future::join_all;
use provider_azure_rs::generated::v1alpha1::MountResponse;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::support::class::Class;
use crate::support::frames::{
    Answer, CONTINUATION, END_HEADERS, END_STREAM, HEADERS, HELLO, RESET, answers, calls, field,
    frame, message, text,
};
use crate::support::{Node, files};

const MOUNT: &str = "/v1alpha1.CSIDriverProvider/Mount";
const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// Codes of errors (RFC 9113, section 7).
const PROTOCOL_ERROR: u32 = 1;
const ENHANCE_YOUR_CALM: u32 = 11;

async fn node() -> Node {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    node
}

/// What callers say: grpc-go up to 1.56 the path, C core the same in percent-encoding, and so on.
fn authorities() -> Vec<Vec<u8>> {
    let mut authorities: Vec<Vec<u8>> = [
        "/var/run/secrets-store-csi-providers/azure.sock",
        "%2Fvar%2Frun%2Fsecrets-store-csi-providers%2Fazure.sock",
        "passthrough:///x",
        "a b",
        "",
        "localhost",
        "unix:/x.sock",
        "user:password@example.com:99999",
        "[::1",
        "\u{fc}ml\u{e4}ut",
    ]
    .map(|authority| authority.as_bytes().to_vec())
    .into();
    authorities.push(b"\xff\xfe\x80/\xc3".to_vec());
    authorities.push(b"/".repeat(2 * 107));
    authorities
}

/// The header block of a call. The authority, if there is one, is somewhere among the first fields.
fn block(path: &str, place: usize, authority: &[u8]) -> Vec<u8> {
    let mut fields = vec![
        field(":method", "POST"),
        field(":scheme", "http"),
        field(":path", path),
    ];
    fields.insert(place, authority.to_vec());
    fields.push(field("content-type", "application/grpc"));
    fields.push(field("te", "trailers"));
    fields.concat()
}

/// `:authority` by its index in the static table: not to be indexed, or to be.
fn authority(value: &[u8], is_indexed: bool) -> Vec<u8> {
    [vec![if is_indexed { 0x41 } else { 1 }], text(value)].concat()
}

/// So many mounts on one connection at once, with these header blocks.
async fn mounts(socket: &Path, blocks: impl Iterator<Item = Vec<u8>>) {
    let request = message(&Class::of_secret("S").request());
    let made: Vec<_> = blocks.map(|block| (block, request.clone())).collect();
    for (answer, (block, _)) in calls(socket, &made).await.iter().zip(&made) {
        assert!(
            matches!(answer, Answer::Message(_)),
            "{answer:?} to {block:x?}"
        );
        assert_eq!(
            files(&answer.message::<MountResponse>()),
            [("S", 0o644, "v")]
        );
    }
}

#[tokio::test]
async fn any_authority_is_served() {
    let node = node().await;
    let socket = node.provider.socket();
    // The first four as many callers of old drivers may have them at once.
    let counts = [200; 4].into_iter().chain(std::iter::repeat(10));
    let callers = authorities().into_iter().zip(counts).enumerate();
    let callers = callers.map(|(n, (value, count))| {
        let socket = &socket;
        async move {
            let plain = block(MOUNT, n % 4, &authority(&value, false));
            mounts(socket, std::iter::repeat_n(plain, count)).await;
            // Into the dynamic table before any other field, and then by its index there.
            let first = block(MOUNT, 0, &authority(&value, true));
            let again = block(MOUNT, n % 4, &[0xbe]);
            let blocks = std::iter::once(first).chain(std::iter::repeat_n(again, count));
            mounts(socket, blocks).await;
        }
    });
    join_all(callers).await;
    let long = authority(&b"/".repeat(5000), true);
    for authority in [vec![], long, vec![0x81], field(":authority", "a b")] {
        mounts(&socket, std::iter::repeat_n(block(MOUNT, 1, &authority), 3)).await;
    }
    // Who called by which name is nobody's business.
    assert!(!node.provider.log().contains("passthrough"));
}

#[tokio::test]
async fn a_probe_may_have_any_authority_too() {
    let node = node().await;
    let check = message(&HealthCheckRequest::default());
    let made = authorities()
        .iter()
        .map(|value| (block(HEALTH, 3, &authority(value, false)), check.clone()))
        .collect::<Vec<_>>();
    for answer in calls(&node.provider.socket(), &made).await {
        let answer: HealthCheckResponse = answer.message();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
}

#[tokio::test]
async fn what_is_wrong_besides_is_refused_as_before() {
    let node = node().await;
    let socket = node.provider.socket();
    let request = message(&Class::of_secret("S").request());
    let good = block(MOUNT, 3, &authority(b"/x.sock", true));
    let twice = [authority(b"/x.sock", false), authority(b"localhost", false)].concat();
    let late = [block(MOUNT, 0, b""), authority(b"/x.sock", false)].concat();
    let no_path = block("", 0, &authority(b"/x.sock", false));
    let bad_path = block("a b", 0, &authority(b"/x.sock", false));
    let no_method = [
        authority(b"/x.sock", false),
        field(":scheme", "http"),
        field(":path", MOUNT),
    ];
    let connection = [good.clone(), field("connection", "close")].concat();
    let long = [good.clone(), field("x", "v".repeat(20_000))].concat();
    let refused = [
        block(MOUNT, 1, &twice),
        late,
        no_path,
        bad_path,
        no_method.concat(),
        connection,
    ];
    let made: Vec<_> = std::iter::once(good.clone())
        .chain(refused.clone())
        .chain([long, good.clone()])
        .map(|block| (block, request.clone()))
        .collect();
    let answers = calls(&socket, &made).await;
    let reset = Answer::Reset(PROTOCOL_ERROR);
    assert!(
        matches!(&answers[0], Answer::Message(bytes) if !bytes.is_empty()),
        "{answers:?}"
    );
    assert_eq!(answers[1..=refused.len()], vec![reset; refused.len()]);
    // Too many headers: an answer without a message.
    let [long, last] = &answers[1 + refused.len()..] else {
        panic!("{answers:?}");
    };
    assert_eq!(*long, Answer::Message(Vec::new()));
    assert!(
        matches!(last, Answer::Message(bytes) if !bytes.is_empty()),
        "{last:?}"
    );
    // What is no HPACK ends the connection.
    for wrong in [
        &b"\x80"[..],
        b"\xbf",
        b"\x41\x7fx",
        b"\x41\x81\x00",
        b"\x82\x20",
    ] {
        let block = [good.as_slice(), wrong].concat();
        let answer = calls(&socket, &[(block, request.clone())]).await;
        assert_eq!(answer, [Answer::GoneAway(PROTOCOL_ERROR)], "{wrong:x?}");
    }
}

/// One flood: what is said first, and again and again.
struct Flood {
    name: &'static str,
    first: Vec<u8>,
    again: Vec<u8>,
    code: u32,
}

fn one_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame(&mut bytes, kind, flags, stream, payload);
    bytes
}

fn floods() -> Vec<Flood> {
    let begun = |payload: &[u8]| one_frame(HEADERS, END_STREAM, 1, payload);
    let more = |payload: &[u8]| one_frame(CONTINUATION, 0, 1, payload);
    let whole = |payload: &[u8]| one_frame(HEADERS, END_HEADERS | END_STREAM, 1, payload);
    let bomb = [&[0x41][..], &text(&[b'/'; 4000]), &[0xbe; 12_000]].concat();
    let others = [
        &[0x40][..],
        &text(b"x"),
        &text(&[b'/'; 4000]),
        &[0xbe; 12_000],
    ]
    .concat();
    let many = |block: &[u8], then: &[u8]| -> Vec<u8> {
        let calls = (1..4000).step_by(2).map(|stream| {
            [
                one_frame(HEADERS, END_HEADERS, stream, block),
                one_frame(RESET, 0, stream, then),
            ]
            .concat()
        });
        calls.collect::<Vec<_>>().concat()
    };
    let flood = |name, first, again, code| Flood {
        name,
        first,
        again,
        code,
    };
    let calm = ENHANCE_YOUR_CALM;
    let good = block(MOUNT, 0, &authority(b"/x.sock", true));
    vec![
        // 268 million octets of an authority.
        flood(
            "authority",
            begun(b"\x41\x7f\xff\xff\xff\x7f"),
            more(&[b'/'; 16_384]),
            calm,
        ),
        flood(
            "authority by name",
            begun(b"\x40\x0a:authority\x7f\xff\xff\xff\x7f"),
            more(&[0; 16_384]),
            calm,
        ),
        flood("octet by octet", begun(b"\x41"), more(b"\x7f"), calm),
        flood("nothing", begun(b""), more(b""), calm),
        flood(
            "name",
            begun(b"\x00\x7f\xff\xff\xff\x7f"),
            more(&[b'x'; 16_384]),
            calm,
        ),
        flood("repeated", whole(&[0x81; 16_384]), vec![], PROTOCOL_ERROR),
        flood(
            "repeated from the table",
            whole(&bomb),
            vec![],
            PROTOCOL_ERROR,
        ),
        flood("large from the table", whole(&others), vec![], calm),
        flood("sizes", whole(&[0x20; 16_384]), vec![], PROTOCOL_ERROR),
        flood("resets", many(&good, &[0, 0, 0, 8]), vec![], calm),
    ]
}

#[tokio::test]
async fn floods_of_headers_stay_bounded() {
    let node = node().await;
    let socket = node.provider.socket();
    let mut half = HELLO.to_vec();
    half.extend_from_slice(&[0, 0x40, 0, HEADERS, END_HEADERS, 0, 0, 0, 1]);
    half.extend_from_slice(&[0x81; 16_000]);
    let mut stuck = Vec::new();
    for _ in 0..60 {
        let mut stream = UnixStream::connect(&socket).await.unwrap();
        stream.write_all(&half).await.unwrap();
        stuck.push(stream);
    }
    for flood in floods() {
        // 16 MB at most: whoever is refused does not get to say all of it.
        let times = (16_usize << 20).checked_div(flood.again.len()).unwrap_or(0);
        let again = flood.again.repeat(times.min(100_000));
        let said = [(0, [HELLO, &flood.first, &again].concat())];
        let answer = answers(&socket, &said, vec![1]).await;
        let ended = [
            Answer::Reset(flood.code),
            Answer::GoneAway(flood.code),
            Answer::Closed,
        ];
        assert!(ended.contains(&answer[0]), "{}: {answer:?}", flood.name);
        mounts(
            &socket,
            std::iter::once(block(MOUNT, 0, &authority(b"/x.sock", false))),
        )
        .await;
    }
    let peak = node.provider.peak_memory();
    assert!(peak < 150_000, "{peak} kB");
}
