//! Connections to the API server, directly or through a proxy.
//!
//! hyper-util has the handshakes with proxies. They are combined as in Go's `http.Transport`: `https` through an HTTP
//! proxy uses a tunnel, a request over `http` is sent to the proxy itself.

use std::future::ready;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::Uri;
use http::uri::{Authority, Scheme};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::dns::GaiResolver;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::{BoxError, Service, ServiceExt as _, service_fn};

use super::proxy::{Protocol, Proxy};
use super::resolve::{Addresses, Resolver};

/// How long establishing a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// A connection without traffic is probed after this long, which detects a server that vanished without closing it.
/// With the two below: after 45 s.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;

type TcpConnector = HttpConnector<Resolver>;

/// TCP connections with the options of all connections here.
pub(super) fn tcp(addresses: &Addresses) -> TcpConnector {
    let mut connector =
        HttpConnector::new_with_resolver(Resolver::new(GaiResolver::new(), addresses.clone()));
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT));
    connector.set_keepalive(Some(KEEPALIVE));
    connector.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    connector.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    connector
}

/// Connects to servers. TLS with the server itself is added on top.
#[derive(Clone)]
pub(super) enum Dialer {
    Direct(TcpConnector),
    Proxied {
        /// Over TLS, if the proxy's address says so.
        connector: HttpsConnector<TcpConnector>,
        proxy: Proxy,
    },
}

/// A failed connection through a proxy.
#[derive(Debug, thiserror::Error)]
#[error("proxy {proxy}")]
struct ProxyError {
    proxy: String,
    source: BoxError,
}

type Tcp = TokioIo<TcpStream>;

impl Dialer {
    async fn dial(self, server: Uri) -> Result<Stream, BoxError> {
        match self {
            Self::Direct(connector) => Ok(Stream::to_server(connector.oneshot(server).await?.into())),
            Self::Proxied { connector, proxy } => {
                let result = through(&proxy, connector, server).await;
                result.map_err(|source| ProxyError { proxy: proxy.to_string(), source }.into())
            }
        }
    }
}

async fn through(
    proxy: &Proxy,
    connector: HttpsConnector<TcpConnector>,
    server: Uri,
) -> Result<Stream, BoxError> {
    let mut stream = Some(connector.oneshot(proxy.address.clone()).await?);
    // Connected already, so that an error tells whether the proxy was reached.
    let connected = service_fn(move |_: Uri| {
        ready(stream.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)))
    });
    let server = with_port(server)?;
    let stream = match &proxy.protocol {
        Protocol::Http(_) if server.scheme() == Some(&Scheme::HTTP) => {
            return Ok(Stream { io: connected.oneshot(server).await?, to_proxy: true });
        }
        Protocol::Http(header) => {
            let mut tunnel = Tunnel::new(proxy.address.clone(), connected);
            if let Some(header) = header {
                tunnel = tunnel.with_auth(header.clone());
            }
            tunnel.oneshot(server).await?
        }
        Protocol::Socks5(user) => {
            let mut socks = SocksV5::new(proxy.address.clone(), connected);
            if let Some((user, password)) = user.clone() {
                socks = socks.with_auth(user, password);
            }
            socks.oneshot(server).await?
        }
    };
    Ok(Stream::to_server(stream))
}

/// A URL with a port; the handshakes use 443 for every other.
fn with_port(url: Uri) -> Result<Uri, http::Error> {
    if url.port().is_some() || url.scheme() != Some(&Scheme::HTTP) {
        return Ok(url);
    }
    let mut parts = url.into_parts();
    if let Some(host) = &parts.authority {
        parts.authority = Some(Authority::try_from(format!("{}:80", host.host()))?);
    }
    Ok(Uri::from_parts(parts)?)
}

impl Service<Uri> for Dialer {
    type Response = Stream;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Stream, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        Box::pin(self.clone().dial(server))
    }
}

/// A connection to a server, or to a proxy that accepts requests for it.
pub(super) struct Stream {
    io: MaybeHttpsStream<Tcp>,
    to_proxy: bool,
}

impl Stream {
    fn to_server(io: MaybeHttpsStream<Tcp>) -> Self {
        Self { io, to_proxy: false }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        self.io.connected().proxy(self.to_proxy)
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
