//! Real sockets on loopback.

use std::net::Ipv4Addr;

use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::*;

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

async fn fetch(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Repeats a request until there is a response.
async fn answer(address: SocketAddr) -> String {
    let answered = async {
        loop {
            match fetch(address).await {
                Ok(answer) => return answer,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    timeout(Duration::from_secs(30), answered).await.expect("an answer")
}

fn hello() -> Router {
    Router::new().route("/", get(async || "hello"))
}

#[tokio::test]
async fn an_unspecified_ipv4_address_answers_on_both_families() {
    let port = free_port();
    let server = tokio::spawn(serve("test", SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port), hello()));
    for ip in ["127.0.0.1", "::1"] {
        let answer = answer(SocketAddr::new(ip.parse().unwrap(), port)).await;
        assert!(answer.ends_with("hello"), "{ip}: {answer}");
    }
    server.abort();
}

#[tokio::test]
async fn a_specified_address_answers_there_only() {
    let port = free_port();
    let address = SocketAddr::new(Ipv4Addr::new(127, 0, 0, 2).into(), port);
    let server = tokio::spawn(serve("test", address, hello()));
    assert!(answer(address).await.ends_with("hello"));
    let elsewhere = fetch(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)).await;
    assert_eq!(elsewhere.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    server.abort();
}

#[tokio::test(start_paused = true)]
async fn a_port_in_use_is_retried_every_five_seconds() {
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let started = Instant::now();
    let server = tokio::spawn(serve("test", address, hello()));
    tokio::time::sleep(Duration::from_secs(12)).await;
    drop(taken);
    assert!(TcpStream::connect(address).await.is_err(), "no listener yet");
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(started.elapsed().as_secs(), 16, "the fourth attempt was at 15 s");
    assert!(fetch(address).await.unwrap().ends_with("hello"));
    server.abort();
}

#[tokio::test]
async fn a_port_in_use_is_an_immediate_error_with_hard_fail() {
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap();
    assert_eq!(serve_or_fail("test", address, hello()).await.kind(), io::ErrorKind::AddrInUse);
    drop(taken);
    let server = tokio::spawn(serve_or_fail("test", address, hello()));
    assert!(answer(address).await.ends_with("hello"));
    server.abort();
}
