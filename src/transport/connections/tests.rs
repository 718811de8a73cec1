use std::net::{Ipv4Addr, SocketAddr};

use futures::FutureExt as _;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::time::{advance, sleep, timeout};

use super::*;
use crate::observe::metrics::Metrics;
use crate::transport::canned::Canned;
use crate::transport::canned::http2::{Server, serve};
use crate::transport::dns;
use crate::transport::names::Names;
use crate::transport::stream::Progress;

const SECOND: Duration = Duration::from_secs(1);

fn with(address: SocketAddr, canned: Option<Canned>) -> Connections {
    let dialer = Dialer {
        shown: "h".to_owned(),
        place: dns::Place::At(address.ip()),
        names: Names::new(&Metrics::default()),
        authority: "h".parse().unwrap(),
        port: address.port(),
        tls: None,
        proxy: None,
        progress: Progress::default(),
        canned,
    };
    let limits = PoolLimits {
        max_http1: 1,
        max_age: IDLE_TIMEOUT * 10,
    };
    Connections::new(Arc::new(dialer), Arc::default(), limits)
}

/// Connections to a server at this address.
fn connections(address: SocketAddr) -> Connections {
    with(address, None)
}

/// Connections to a server that speaks HTTP/2.
fn to_http2(server: &Server) -> Connections {
    with((Ipv4Addr::LOCALHOST, 1).into(), Some(server.into()))
}

async fn http1(connections: &Connections) -> Http1 {
    match connections.lease().await.unwrap() {
        Lease::Http1(lease) => lease,
        Lease::Http2(_) => panic!("plain HTTP is HTTP/1.1"),
    }
}

/// A place on a connection, once the server has said how many it gives.
async fn http2(connections: &Connections) -> Lease {
    let lease = connections.lease().await.unwrap();
    assert!(matches!(lease, Lease::Http2(_)));
    sleep(SECOND / 1000).await;
    lease
}

/// How many requests each HTTP/2 connection has, and how many it takes.
fn loads(connections: &Connections) -> Vec<(usize, usize)> {
    let known = connections.known();
    let loads = known.http2.iter().map(|shared| &shared.load);
    let numbers = |load: &Arc<Load>| {
        let both = [&load.requests, &load.limit];
        both.map(|number| number.load(Ordering::Relaxed)).into()
    };
    loads.map(numbers).collect()
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_nobody_uses_is_closed_by_itself() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = connections(address);
    let lease = http1(&connections).await;
    connections.give_back(lease);
    let (mut server, _) = listener.accept().await.unwrap();
    let start = Instant::now();
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
    let open_for = start.elapsed();
    assert!(
        open_for >= IDLE_TIMEOUT && open_for <= IDLE_TIMEOUT * 5 / 4,
        "{open_for:?}"
    );
}

#[tokio::test]
async fn one_namespace_never_has_all_connections_that_serve_one_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connections = connections(listener.local_addr().unwrap());
    let lease = |namespace: &str| {
        let namespace = Namespace::new(namespace);
        namespace.around(connections.lease_alone())
    };
    let mut held = Vec::new();
    for _ in 0..MAX_ALONE_OF_ONE {
        held.push(lease("attacker").await.unwrap());
    }
    let mut next = Box::pin(lease("attacker"));
    assert!((&mut next).now_or_never().is_none());
    let of_victim = lease("victim").await.unwrap();
    assert_eq!(connections.alone.load(), (MAX_ALONE, 1));
    drop(of_victim);
}

#[tokio::test(start_paused = true)]
async fn the_first_http1_connection_counts_among_the_others() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connections = connections(listener.local_addr().unwrap());
    // It is made before it shows that it is one that counts.
    let first = http1(&connections).await;
    let mut second = Box::pin(http1(&connections));
    assert!(timeout(SECOND, &mut second).await.is_err());
    connections.give_back(first);
    connections.give_back(second.await);
    assert_eq!(connections.known().http1.len(), 1);
    assert_eq!(connections.slots.available_permits(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_forgotten_is_not_used_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let of_http1 = connections(listener.local_addr().unwrap());
    let lease = http1(&of_http1).await;
    of_http1.give_back(lease);
    let lease = http1(&of_http1).await;
    of_http1.give_back(lease);
    let (_first, _) = listener.accept().await.unwrap();
    assert!(listener.accept().now_or_never().is_none());
    of_http1.forget();
    let _lease = http1(&of_http1).await;
    assert!(timeout(SECOND, listener.accept()).await.is_ok());
    let server = Server::new(|_, stream| serve(stream, None, |_, _| Vec::new()));
    let of_http2 = to_http2(&server);
    for _ in 0..2 {
        drop(http2(&of_http2).await);
        assert_eq!(server.connections(), 1);
    }
    of_http2.forget();
    let _in_use = http2(&of_http2).await;
    assert_eq!(server.connections(), 2);
    // Nor does another one take its place in time.
    of_http2.forget();
    sleep(of_http2.opener.max_age + SECOND).await;
    assert_eq!(server.connections(), 2);
}

#[tokio::test(start_paused = true)]
async fn connections_grow_in_number_where_they_are_full_and_no_further() {
    let server = Server::new(|_, stream| serve(stream, Some(2), |_, _| Vec::new()));
    let connections = to_http2(&server);
    let mut leases = Vec::new();
    for number in 1..=MAX_HTTP2 {
        for _ in 0..2 {
            leases.push(http2(&connections).await);
        }
        assert_eq!(server.connections(), number);
        assert_eq!(loads(&connections), vec![(2, 2); number]);
    }
    // Those that are too many wait for their places on the connections that are there.
    for _ in 0..MAX_HTTP2 {
        leases.push(http2(&connections).await);
    }
    assert_eq!(server.connections(), MAX_HTTP2);
    assert_eq!(loads(&connections), vec![(3, 2); MAX_HTTP2]);
}

#[tokio::test(start_paused = true)]
async fn a_new_connection_takes_as_many_requests_as_the_others_until_it_says_otherwise() {
    let server = Server::new(|number, stream| async move {
        if number == 1 {
            serve(stream, Some(2), |_, _| Vec::new()).await;
        } else {
            let _silent = stream;
            std::future::pending::<()>().await;
        }
    });
    let connections = to_http2(&server);
    let mut leases = Vec::new();
    for _ in 0..3 {
        leases.push(http2(&connections).await);
    }
    assert_eq!(loads(&connections), [(2, 2), (1, 2)]);
}

#[tokio::test(start_paused = true)]
async fn no_connection_is_made_beside_a_full_one_shortly_after_that_failed() {
    let server = Server::new(|number, stream| {
        // The second is gone before anything is said on it.
        let stream = (number != 2).then_some(stream);
        async {
            if let Some(stream) = stream {
                serve(stream, Some(1), |_, _| Vec::new()).await;
            }
        }
    });
    let connections = to_http2(&server);
    let mut leases = vec![http2(&connections).await];
    for _ in 0..3 {
        leases.push(http2(&connections).await);
        assert_eq!(server.connections(), 2);
    }
    advance(GROWTH_PAUSE).await;
    leases.push(http2(&connections).await);
    assert_eq!(server.connections(), 3);
    assert_eq!(loads(&connections), [(4, 1), (1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_another_connection_is_made_does_not_wait_for_it() {
    let server = Server::new(|_, stream| serve(stream, Some(1), |_, _| Vec::new()));
    let connections = to_http2(&server);
    let _first = http2(&connections).await;
    let door = connections.door.lock().await;
    let second = connections.lease().now_or_never();
    assert!(second.is_some());
    assert_eq!(
        (server.connections(), loads(&connections)),
        (1, vec![(2, 1)])
    );
    drop(door);
    let _third = http2(&connections).await;
    assert_eq!(server.connections(), 2);
}
