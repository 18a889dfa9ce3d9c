//! Connections to the API server, directly or through a proxy.
//!
//! hyper-util has the handshakes with proxies. They are combined as in Go's `http.Transport`: `https` through an HTTP
//! proxy uses a tunnel, a request over `http` is sent to the proxy itself.

use std::future::ready;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

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
use super::resolve::{Addresses, Resolver, resolver};

/// The time limit for establishing a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// A connection without traffic is probed after this long, which detects a server that vanished without closing it.
/// With the two below: after 45 s.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;

pub(super) type TcpConnector = HttpConnector<Resolver>;

/// TCP connections with the options of all connections here.
pub(super) fn tcp(addresses: &Addresses) -> TcpConnector {
    let mut connector = HttpConnector::new_with_resolver(resolver(GaiResolver::new(), addresses.clone()));
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT));
    connector.set_keepalive(Some(KEEPALIVE));
    connector.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    connector.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    connector
}

/// A failed connection through a proxy.
#[derive(Debug, thiserror::Error)]
#[error("proxy {proxy}")]
struct ProxyError {
    proxy: String,
    source: BoxError,
}

type Tcp = TokioIo<TcpStream>;

/// Connects to servers through `proxy`, to which `connector` connects. TLS with the server itself is added on top.
pub(super) fn through_proxy(
    proxy: &Proxy,
    connector: HttpsConnector<TcpConnector>,
) -> impl Service<Uri, Response = Stream, Error = BoxError, Future: Send> + Clone + Send + Sync + 'static + use<>
{
    let proxy = proxy.clone();
    service_fn(move |server: Uri| {
        let (proxy, connector) = (proxy.clone(), connector.clone());
        async move {
            let result = connect(&proxy, connector, server).await;
            result.map_err(|source| BoxError::from(ProxyError { proxy: proxy.to_string(), source }))
        }
    })
}

async fn connect(
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
    Ok(Stream { io: stream, to_proxy: false })
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

/// A connection through a proxy to a server, or to a proxy that accepts requests for it.
pub(super) struct Stream {
    io: MaybeHttpsStream<Tcp>,
    to_proxy: bool,
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
