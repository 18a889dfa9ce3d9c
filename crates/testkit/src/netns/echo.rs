//! Servers in pods that say who they are and whom they see.
//!
//! Over TCP, and SCTP where the kernel has it, a server greets every connection with one line,
//! `<pod> <peer address>:<port>`, and then sends back each line it is sent: enough for one question, and for a
//! connection that lasts. Over UDP, every datagram is answered with such a line. The peer address is the proof of
//! what was masqueraded.
//!
//! One thread serves all ports of a pod, so three pods answer some ten thousand connections a second on one
//! core.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use super::{Namespace, NetnsError, sctp};

/// A running server on some ports of one pod, IPv4 and IPv6, by every protocol that the kernel has.
///
/// Dropping it closes the ports and all connections: further ones are refused, as with a pod whose process
/// ended.
#[derive(Debug)]
pub struct EchoServer {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl EchoServer {
    /// Listens on `ports` in a namespace and answers as `name`; over SCTP at the addresses that it has now.
    ///
    /// # Errors
    /// When a port is taken; nothing listens then.
    pub fn start(namespace: &Namespace, name: &str, ports: &[u16]) -> Result<Self, NetnsError> {
        // The unspecified IPv6 address takes IPv4 as well (net.ipv6.bindv6only is 0 in a new namespace).
        let addresses: Vec<_> = ports.iter().map(|port| (Ipv6Addr::UNSPECIFIED, *port).into()).collect();
        Self::start_at(namespace, name, &addresses)
    }

    /// Listens at just these addresses, which the namespace must have.
    ///
    /// # Errors
    /// When a port is taken or an address is not there; nothing listens then.
    pub fn start_at(namespace: &Namespace, name: &str, addresses: &[SocketAddr]) -> Result<Self, NetnsError> {
        let runtime = Builder::new_current_thread().enable_io().build();
        let runtime = runtime.map_err(NetnsError::io("start the servers of", name))?;
        let sockets = namespace.run(|| runtime.block_on(Sockets::listen(addresses)))??;
        let (stop, stopped) = oneshot::channel();
        let name = Arc::from(name);
        let thread = namespace.spawn(move || serve(&runtime, sockets, &name, stopped))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A server that panicked shows as connections without an answer, which fails the test.
            drop(thread.join());
        }
    }
}

/// Sockets that serve no client yet.
#[derive(Debug, Default)]
struct Sockets {
    /// Of TCP and SCTP.
    listeners: Vec<TcpListener>,
    datagrams: Vec<UdpSocket>,
}

impl Sockets {
    async fn listen(addresses: &[SocketAddr]) -> Result<Self, NetnsError> {
        let mut sockets = Self::default();
        for &address in addresses {
            let taken = || NetnsError::io("listen on", object(address));
            sockets.listeners.push(TcpListener::bind(address).await.map_err(taken())?);
            sockets.datagrams.push(UdpSocket::bind(address).await.map_err(taken())?);
        }
        if sctp::speaks_sctp()? {
            sockets.listen_sctp(addresses)?;
        }
        Ok(sockets)
    }

    fn listen_sctp(&mut self, addresses: &[SocketAddr]) -> Result<(), NetnsError> {
        for &address in addresses {
            let taken = |source| NetnsError::io("listen by SCTP on", object(address))(source);
            let own =
                if address.ip().is_unspecified() { sctp::own_addresses() } else { Ok(vec![address.ip()]) };
            for ip in own.map_err(taken)? {
                let listener =
                    sctp::listen(SocketAddr::new(ip, address.port())).and_then(TcpListener::from_std);
                self.listeners.push(listener.map_err(taken)?);
            }
        }
        Ok(())
    }
}

/// What is listened on, in words.
fn object(address: SocketAddr) -> String {
    if address.ip().is_unspecified() { format!("port {}", address.port()) } else { address.to_string() }
}

/// Serves until the handle is dropped, which shows as the channel's end.
fn serve(runtime: &Runtime, sockets: Sockets, name: &Arc<str>, stopped: oneshot::Receiver<()>) {
    for listener in sockets.listeners {
        runtime.spawn(accept(listener, Arc::clone(name)));
    }
    for socket in sockets.datagrams {
        runtime.spawn(answer_datagrams(socket, Arc::clone(name)));
    }
    // Dropping the runtime afterwards ends all tasks and with them closes their sockets.
    drop(runtime.block_on(stopped));
}

async fn accept(listener: TcpListener, name: Arc<str>) {
    loop {
        // An error here belongs to the connection that was to be accepted, not to the listener.
        if let Ok((stream, peer)) = listener.accept().await {
            let name = Arc::clone(&name);
            tokio::spawn(async move {
                // The caller may go at any time; that is its right and no fault.
                drop(converse(stream, peer, &name).await);
            });
        }
    }
}

async fn converse(stream: TcpStream, peer: SocketAddr, name: &str) -> io::Result<()> {
    // Sockets of SCTP know no such option, and need none: an answer alone on its way is not held back.
    drop(stream.set_nodelay(true));
    let mut stream = BufReader::new(stream);
    stream.write_all(greeting(name, peer).as_bytes()).await?;
    let mut line = Vec::new();
    while stream.read_until(b'\n', &mut line).await? > 0 {
        stream.write_all(&line).await?;
        line.clear();
    }
    Ok(())
}

async fn answer_datagrams(socket: UdpSocket, name: Arc<str>) {
    let mut buffer = [0; 2048];
    loop {
        // Errors are late reports of an earlier answer that was not received.
        if let Ok((_, peer)) = socket.recv_from(&mut buffer).await {
            drop(socket.send_to(greeting(&name, peer).as_bytes(), peer).await);
        }
    }
}

/// The line a caller learns everything from; IPv4 peers in IPv4's notation.
fn greeting(name: &str, peer: SocketAddr) -> String {
    format!("{name} {}\n", SocketAddr::new(peer.ip().to_canonical(), peer.port()))
}
