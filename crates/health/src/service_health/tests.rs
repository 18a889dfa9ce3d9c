//! Real ports on loopback.

mod answering;
mod opening;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::*;

/// The servers in a task of this test, with a proxy that is healthy at first.
struct Rig {
    handle: ServiceHealth,
    health: Health,
    addresses: NodePortAddresses,
    task: JoinHandle<Infallible>,
}

/// The response on a connection, or why there is none.
type Answered = Result<String, io::ErrorKind>;

impl Rig {
    fn start() -> Self {
        Self::of(ServiceHealth::default())
    }

    fn with_hook(hook: OnFailure) -> Self {
        Self::of(ServiceHealth::default().on_failure(hook))
    }

    fn of(handle: ServiceHealth) -> Self {
        // Late as soon as something waits.
        let health = Health::new(Duration::ZERO);
        health.started(IpFamily::V4);
        health.updated(IpFamily::V4);
        let task = tokio::spawn(handle.clone().serve(health.clone()));
        Self { handle, health, addresses: NodePortAddresses::All, task }
    }

    /// Gives the IPv4 servers an update, and lets them apply it.
    async fn update(&self, changed: &[(&str, Option<(u16, usize)>)]) {
        self.update_family(IpFamily::V4, changed).await;
    }

    async fn update_family(&self, family: IpFamily, changed: &[(&str, Option<(u16, usize)>)]) {
        let check = |(port, local_endpoints)| HealthCheck { port, local_endpoints };
        let changed = changed.iter().map(|(name, changed)| (object_name(name), changed.map(check)));
        self.handle.update(family, &self.addresses, changed.collect());
        // Real sockets: they need turns, but no time.
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    async fn restrict(&mut self, ranges: &[&str]) {
        let ranges = ranges.iter().map(|text| text.parse().unwrap()).collect();
        self.addresses = NodePortAddresses::Within(ranges);
        self.update(&[]).await;
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads `namespace/name`.
fn object_name(text: &str) -> ObjectName {
    let (namespace, name) = text.split_once('/').unwrap();
    ObjectName::new(namespace, name)
}

fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

/// Ports that were free a moment ago.
fn free_ports<const N: usize>() -> [u16; N] {
    let held = [(); N].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

async fn ask(address: SocketAddr, request: &str) -> Answered {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(format!("{request} HTTP/1.0\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    };
    exchange.await.map_err(|error: io::Error| error.kind())
}

/// Status and number of endpoints that the port on loopback answers with.
async fn status(port: u16) -> Result<(u16, usize), io::ErrorKind> {
    let answer = ask(at("127.0.0.1", port), "GET /").await?;
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let weight = answer.split("x-load-balancing-endpoint-weight: ").nth(1).unwrap();
    let weight = weight.split('\r').next().unwrap().parse().unwrap();
    assert!(answer.contains(&format!("\"localEndpoints\": {weight},")), "{answer}");
    Ok((status, weight))
}

const REFUSED: Result<(u16, usize), io::ErrorKind> = Err(io::ErrorKind::ConnectionRefused);
