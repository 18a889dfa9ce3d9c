//! A proxy of the kind that clusters without a way out have, in this process: HTTP, the same over TLS, or
//! SOCKS 5. Whatever it is asked for, it connects to one server of a test.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::api_server::ApiServer;

/// What a proxy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// HTTP/1.1: tunnels for `CONNECT`, and requests with a whole URL.
    Http,
    /// The same over TLS, with the server's certificate.
    Https,
    /// SOCKS 5.
    Socks5,
}

/// A running proxy; it stops when dropped.
#[derive(Debug)]
pub struct ForwardProxy {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    accepting: JoinHandle<()>,
}

/// What all connections of a proxy look at.
#[derive(Clone)]
struct Rules {
    protocol: ProxyProtocol,
    server: SocketAddr,
    tls: Option<TlsAcceptor>,
    /// User and password.
    user: Option<(String, String)>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl ForwardProxy {
    /// Starts a proxy on a free port of 127.0.0.1 that leads to `server`, for all clients or for a user with
    /// a password.
    ///
    /// # Errors
    /// There is no free port, or it should speak TLS and the server has no certificate.
    pub async fn start(
        protocol: ProxyProtocol,
        server: &ApiServer,
        user: Option<(&str, &str)>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let tls = match protocol {
            ProxyProtocol::Https => Some(server.tls_acceptor()?),
            _ => None,
        };
        let user = user.map(|(user, password)| (user.to_owned(), password.to_owned()));
        let rules = Rules { protocol, server: server.address(), tls, user, heads: Arc::clone(&heads) };
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let rules = rules.clone();
                // An error is a client or a server that went away.
                tokio::spawn(async move { rules.serve(client).await });
            }
        });
        Ok(Self { address, heads, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What clients asked for: the head of the first request of each connection, or `host:port` of SOCKS.
    pub fn asked(&self) -> Vec<String> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for ForwardProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Rules {
    async fn serve(self, client: TcpStream) -> io::Result<()> {
        match (&self.protocol, &self.tls) {
            (ProxyProtocol::Socks5, _) => self.socks(client).await,
            (_, Some(tls)) => self.http(tls.accept(client).await?).await,
            (_, None) => self.http(client).await,
        }
    }

    async fn http(&self, mut client: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await?);
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        self.note(&text);
        if let Some((user, password)) = &self.user {
            let wanted = format!("Basic {}", BASE64.encode(format!("{user}:{password}")));
            let headers = text.lines().filter_map(|line| line.split_once(": "));
            let shown = |(name, value): (&str, &str)| {
                name.eq_ignore_ascii_case("proxy-authorization") && value == wanted
            };
            if !headers.into_iter().any(shown) {
                let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
                return client.write_all(refusal).await;
            }
        }
        let mut server = TcpStream::connect(self.server).await?;
        if text.starts_with("CONNECT ") {
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
        } else {
            server.write_all(&head).await?;
        }
        copy_bidirectional(&mut client, &mut server).await.map(drop)
    }

    /// RFC 1928 and, for the password, RFC 1929.
    async fn socks(&self, mut client: TcpStream) -> io::Result<()> {
        let version = client.read_u8().await?;
        let methods = bytes(&mut client).await?;
        let method = if self.user.is_some() { 2 } else { 0 };
        if version != 5 || !methods.contains(&method) {
            return client.write_all(&[5, 0xff]).await;
        }
        client.write_all(&[5, method]).await?;
        if let Some((user, password)) = &self.user {
            client.read_u8().await?;
            let given = (bytes(&mut client).await?, bytes(&mut client).await?);
            let right = given.0 == user.as_bytes() && given.1 == password.as_bytes();
            client.write_all(&[1, u8::from(!right)]).await?;
            if !right {
                return Ok(());
            }
        }
        let mut request = [0; 4];
        client.read_exact(&mut request).await?;
        let host = match request[3] {
            1 => Ipv4Addr::from_bits(client.read_u32().await?).to_string(),
            3 => String::from_utf8_lossy(&bytes(&mut client).await?).into_owned(),
            _ => return client.write_all(&[5, 8, 0, 1, 0, 0, 0, 0, 0, 0]).await,
        };
        let port = client.read_u16().await?;
        self.note(&format!("{host}:{port}"));
        let mut server = TcpStream::connect(self.server).await?;
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
        copy_bidirectional(&mut client, &mut server).await.map(drop)
    }

    fn note(&self, asked: &str) {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).push(asked.to_owned());
    }
}

/// Bytes behind a byte that says how many.
async fn bytes(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; stream.read_u8().await?.into()];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}
