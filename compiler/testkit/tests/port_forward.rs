//! Port-forwarding, as a client of `kube` sees it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test file uses some of it")]
mod support;

use std::net::{Ipv4Addr, SocketAddr};

use flock_testkit::{ApiServer, Failure, POD, PORT_FORWARD, Verb};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::Api;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::{server, status};

/// A server that answers each line with the same, and a pod whose port it is.
async fn echo(server: &ApiServer, port: u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    server.forwards().add("a", "x", port, listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = tcp.into_split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
}

fn pods(server: &ApiServer, client: Client) -> Api<Pod> {
    let pod = json!({ "metadata": { "namespace": "a", "name": "x" }, "spec": { "containers": [] } });
    server.store().put(POD, pod).unwrap();
    Api::namespaced(client, "a")
}

#[tokio::test]
async fn bytes_go_both_ways_on_each_port() {
    let (server, client) = server().await;
    let pods = pods(&server, client);
    echo(&server, 80).await;
    echo(&server, 7443).await;
    let mut forwarder = pods.portforward("x", &[80, 7443]).await.unwrap();
    for port in [7443, 80] {
        let mut stream = forwarder.take_stream(port).unwrap();
        let text: Vec<u8> =
            (0..200_000_u32).flat_map(|number| (number + u32::from(port)).to_le_bytes()).collect();
        let mut back = vec![0; text.len()];
        let (mut read, mut write) = tokio::io::split(&mut stream);
        let (written, found) = futures::join!(write.write_all(&text), read.read_exact(&mut back));
        written.unwrap();
        found.unwrap();
        assert!(back == text, "{port}");
    }
}

#[tokio::test]
async fn what_goes_wrong_is_said_and_a_cut_is_the_end() {
    let (server, client) = server().await;
    let pods = pods(&server, client);
    assert_eq!(status(pods.portforward("y", &[80]).await.map(drop)).code, 404);
    server.faults().fail(PORT_FORWARD, Verb::Get, Failure { code: 403, retry_after: None }, 1);
    assert_eq!(status(pods.portforward("x", &[80]).await.map(drop)).code, 403);
    assert_eq!(server.requests(PORT_FORWARD, Verb::Get), 2);

    // Nobody has told of this port, and nobody listens on that one.
    server.forwards().add("a", "x", 81, SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
    for port in [80, 81] {
        let mut forwarder = pods.portforward("x", &[port]).await.unwrap();
        let _stream = forwarder.take_stream(port).unwrap();
        let error = forwarder.take_error(port).unwrap().await.unwrap();
        assert!(error.contains("refused"), "{error}");
    }

    echo(&server, 82).await;
    let mut forwarder = pods.portforward("x", &[82]).await.unwrap();
    let mut stream = forwarder.take_stream(82).unwrap();
    stream.write_all(b"hello").await.unwrap();
    stream.read_exact(&mut [0; 5]).await.unwrap();
    server.forwards().cut();
    assert!(matches!(stream.read(&mut [0; 1]).await, Ok(0) | Err(_)));
}
