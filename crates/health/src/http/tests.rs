//! Idle and unfinished connections.

use std::net::{Ipv4Addr, SocketAddr};

use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{advance, pause, resume, timeout};

use super::*;

/// Longer than any step takes.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A server that stops when the set is dropped.
async fn start() -> (SocketAddr, JoinSet<Infallible>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut running = JoinSet::new();
    running.spawn(serve(listener, Router::new().route("/", get(async || "hello"))));
    (address, running)
}

/// Reads until the server closes the connection.
async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A connection that is dropped with something unread ends with a reset.
    let _reset = timeout(TIMEOUT, stream.read_to_end(&mut answer)).await.expect("the connection is closed");
    String::from_utf8(answer).unwrap()
}

async fn fetch(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").await.unwrap();
    read_to_end(&mut stream).await
}

/// A connection with half a request.
async fn half(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
    stream
}

#[tokio::test]
async fn idle_connections_do_not_block_others_and_the_oldest_is_closed() {
    let (address, _running) = start().await;
    let mut held = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        held.push(half(address).await);
    }
    assert!(fetch(address).await.ends_with("hello"));
    assert_eq!(read_to_end(&mut held[0]).await, "");
    for mut stream in held.drain(1..) {
        stream.write_all(b"test\r\nConnection: close\r\n\r\n").await.unwrap();
        assert!(read_to_end(&mut stream).await.ends_with("hello"), "the others may still ask");
    }
}

#[tokio::test]
async fn connections_that_have_ended_do_not_count() {
    let (address, _running) = start().await;
    let mut held = half(address).await;
    for _ in 0..MAX_CONNECTIONS {
        assert!(fetch(address).await.ends_with("hello"));
    }
    held.write_all(b"test\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(read_to_end(&mut held).await.ends_with("hello"));
}

#[tokio::test]
async fn a_connection_without_a_complete_request_is_closed_after_the_timeout() {
    let (address, _running) = start().await;
    let mut held = half(address).await;
    assert!(fetch(address).await.ends_with("hello"), "the server has seen the other by now");
    pause();
    advance(REQUEST_TIMEOUT.saturating_sub(Duration::from_secs(1))).await;
    resume();
    let early = timeout(Duration::from_millis(100), held.read_u8()).await;
    assert!(early.is_err(), "it is not closed before its time: {early:?}");
    pause();
    advance(Duration::from_secs(2)).await;
    resume();
    assert!(!read_to_end(&mut held).await.contains("hello"));
}

#[tokio::test]
async fn a_stopping_server_closes_idle_connections_and_completes_responses() {
    let (address, running) = start().await;
    let mut held = half(address).await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    assert!(fetch(address).await.ends_with("hello"), "the server has seen the others by now");
    drop(running);
    assert_eq!(read_to_end(&mut idle).await, "");
    assert!(TcpStream::connect(address).await.is_err());
    held.write_all(b"test\r\n\r\n").await.unwrap();
    assert!(read_to_end(&mut held).await.ends_with("hello"));
}
