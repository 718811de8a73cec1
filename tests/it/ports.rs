//! The HTTP ports under visitors who come in numbers, and stay.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpSocket, TcpStream, UnixListener, UnixStream};
use tokio::sync::oneshot;

use crate::support::Node;
use crate::support::http::{free_port, get, get_once_served};
use crate::support::provider::PATIENCE;

const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// A provider that answers `/healthz` on this port.
async fn node() -> (Node, u16) {
    let port = free_port();
    let node = Node::start_with(&["--healthz-port", &port.to_string()]).await;
    get_once_served(port, "/healthz").await;
    (node, port)
}

/// A connection from one of this machine's addresses of its own, 127.0.0.x.
async fn from(number: u8, port: u16) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    let own = SocketAddr::from(([127, 0, 0, number], 0));
    socket.bind(own).unwrap();
    let port = SocketAddr::from(([127, 0, 0, 1], port));
    socket.connect(port).await.unwrap()
}

/// Connections on which nothing is said.
async fn crowd(numbers: impl IntoIterator<Item = u8>, port: u16) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for number in numbers {
        streams.push(from(number, port).await);
    }
    streams
}

/// Whether the provider has closed it, or does so soon.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    let read = stream.read(&mut byte);
    let read = tokio::time::timeout(Duration::from_millis(200), read).await;
    matches!(read, Ok(Ok(0) | Err(_)))
}

async fn count_open(streams: &mut [TcpStream]) -> usize {
    let closed = futures::future::join_all(streams.iter_mut().map(is_closed)).await;
    closed.into_iter().filter(|closed| !closed).count()
}

async fn answer_on(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    let reading = stream.read_to_string(&mut answer);
    let read = tokio::time::timeout(PATIENCE, reading).await;
    read.expect("an answer in time").expect("a whole answer");
    answer
}

#[tokio::test]
async fn a_request_under_way_outlasts_any_number_of_connections() {
    let (node, port) = node().await;
    // A socket on which an answer takes as long as this test wants.
    let socket = node.provider.socket();
    let real = socket.with_extension("real");
    std::fs::rename(&socket, &real).unwrap();
    let slow = UnixListener::bind(&socket).unwrap();
    let (asked, is_asked) = oneshot::channel();
    let (release, is_released) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let (mut check, _) = slow.accept().await.unwrap();
        asked.send(()).unwrap();
        is_released.await.unwrap();
        let mut service = UnixStream::connect(real).await.unwrap();
        _ = copy_bidirectional(&mut check, &mut service).await;
    });
    let mut probe = from(1, port).await;
    probe.write_all(REQUEST).await.unwrap();
    is_asked.await.unwrap();
    // From the probe's own address, and from many.
    let mut crowds = vec![crowd([1; 40], port).await];
    crowds.push(crowd(2..=60, port).await);
    for crowd in &mut crowds {
        let before = crowd.len();
        assert!(count_open(crowd).await < before);
    }
    release.send(()).unwrap();
    let answer = answer_on(probe).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[tokio::test]
async fn an_address_has_its_share_of_the_connections() {
    let (node, port) = node().await;
    let mut one = crowd([2; 40], port).await;
    // Several from elsewhere are not the ones that make room for them.
    let mut others = crowd([3, 3, 4, 5], port).await;
    let mut more = crowd([2; 40], port).await;
    assert_eq!(count_open(&mut others).await, 4);
    assert_eq!(count_open(&mut one).await, 0);
    assert_eq!(count_open(&mut more).await, 8);
    // The newest are those that stay.
    assert_eq!(count_open(&mut more[32..]).await, 8);
    for _ in 0..20 {
        let answer = get(port, "/healthz").await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    }
    // One line for all of them.
    let log = node.provider.log();
    assert_eq!(log.matches("too many connections").count(), 1, "{log}");
    assert!(log.contains("127.0.0.2"), "{log}");
}

#[tokio::test]
async fn a_flood_of_connections_leaves_probes_their_answers() {
    let (node, port) = node().await;
    let flood: Vec<_> = (0..40)
        .map(|number| {
            tokio::spawn(async move {
                loop {
                    let mut stream = from(2 + number % 4, port).await;
                    _ = tokio::time::timeout(Duration::from_secs(1), stream.read(&mut [0])).await;
                }
            })
        })
        .collect();
    for _ in 0..50 {
        let answer = get(port, "/livez").await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    }
    for task in flood {
        assert!(!task.is_finished());
        task.abort();
    }
    assert!(node.provider.log().lines().count() < 20);
}
