//! What goes over a real connection.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::listen;

/// A server on a port of its own, and its address.
async fn serve() -> (tokio::task::JoinHandle<()>, SocketAddr) {
    let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let server = tokio::spawn(async move { match listen::serve("test", port, full_router()).await {} });
    while TcpStream::connect(port).await.is_err() {
        tokio::task::yield_now().await;
    }
    (server, port)
}

/// All that comes back for `requests` on one connection, without the date.
async fn exchange(address: SocketAddr, requests: &str) -> Vec<String> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(requests.as_bytes()).await.unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    answers.split("\r\n").filter(|line| !line.starts_with("date: ")).map(str::to_owned).collect()
}

#[tokio::test]
async fn answers_are_http_1_1_to_the_byte_head_has_no_body_and_connections_are_kept() {
    let (server, address) = serve().await;
    let requests = "HEAD /proxyMode HTTP/1.1\r\nHost: test\r\n\r\n\
                    GET /proxyMode HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    let headers =
        ["content-type: text/plain; charset=utf-8", "x-content-type-options: nosniff", "content-length: 8"];
    let head = ["HTTP/1.1 200 OK"].into_iter().chain(headers).chain([""]);
    let get = ["HTTP/1.1 200 OK"].into_iter().chain(headers).chain(["connection: close", "", "nftables"]);
    let expected: Vec<_> = head.chain(get).collect();
    assert_eq!(exchange(address, requests).await, expected);
    server.abort();
}

#[tokio::test]
async fn an_http_1_0_request_without_a_host_is_answered() {
    let (server, address) = serve().await;
    let answer = exchange(address, "GET /healthz HTTP/1.0\r\n\r\n").await;
    assert_eq!((answer[0].as_str(), answer.last().unwrap().as_str()), ("HTTP/1.0 200 OK", "ok"));
    server.abort();
}
