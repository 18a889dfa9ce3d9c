//! Connections as a client makes them, and what became of each.

use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::ports::FreshPorts;
use super::{Namespace, NetnsError, PodCounts, refusal, repeated, sctp};

/// How long an answer may take on a busy machine. It does not hide a lost packet: a connection whose SYN had to be
/// repeated counts as failed, and a datagram is sent once.
const PATIENCE: Duration = Duration::from_secs(10);

/// The kernel repeats a SYN after one second (RFC 6298), so that what is not connected by now has failed.
const UNTIL_REPEATED: Duration = Duration::from_millis(1500);

/// How many connections [`Caller::many_tcp`] keeps going at once.
const AT_ONCE: u32 = 4;

/// What an [`EchoServer`](super::EchoServer) said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Who answered.
    pub pod: String,
    /// The address that the server saw, which is the caller's own unless something translated it.
    pub peer: SocketAddr,
}

/// How to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// By a connection that is reset after the answer.
    Tcp,
    /// By one datagram.
    Udp,
    /// By an association that is aborted after the answer, where the kernel has SCTP.
    Sctp,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrafficError {
    /// The network or the far side said no, or nothing.
    #[error("no answer from {to}")]
    Unanswered {
        /// Who was asked.
        to: SocketAddr,
        /// What the socket reported; [`TrafficError::kind`] sorts it.
        source: io::Error,
    },
    /// Another program answered, not an echo server.
    #[error("{to} answered {text:?}, which is no greeting")]
    Garbled {
        /// Who was asked.
        to: SocketAddr,
        /// What came back.
        text: String,
    },
    /// The caller could not get into its own namespace.
    #[error("cannot ask from here")]
    NoCaller(#[from] NetnsError),
}

impl TrafficError {
    /// The kind of failure: `ConnectionRefused` when something rejected the packet, `TimedOut` when it was
    /// dropped.
    pub fn kind(&self) -> ErrorKind {
        match self {
            // A read that runs into its time limit reports the same as one that must not block.
            Self::Unanswered { source, .. } if source.kind() == ErrorKind::WouldBlock => ErrorKind::TimedOut,
            Self::Unanswered { source, .. } => source.kind(),
            Self::Garbled { .. } => ErrorKind::InvalidData,
            Self::NoCaller(_) => ErrorKind::Other,
        }
    }

    /// The kind in words, to count by.
    pub fn reason(&self) -> String {
        self.kind().to_string()
    }
}

/// Asks echo servers from one place, with one source address and one patience.
#[derive(Clone, Debug)]
pub struct Caller {
    namespace: Namespace,
    source: Option<IpAddr>,
    source_port: u16,
    fresh_ports: Option<Arc<FreshPorts>>,
    /// [`PATIENCE`], and [`UNTIL_REPEATED`] to connect, unless given.
    patience: Option<Duration>,
}

impl From<&Namespace> for Caller {
    /// A caller that leaves the source address to the kernel.
    fn from(namespace: &Namespace) -> Self {
        Self { namespace: namespace.clone(), source: None, source_port: 0, fresh_ports: None, patience: None }
    }
}

impl Caller {
    /// Asks from this address, which one of the namespace's interfaces must have.
    #[must_use]
    pub fn with_source(mut self, address: impl Into<IpAddr>) -> Self {
        self.source = Some(address.into());
        self
    }

    /// Sends datagrams and opens associations from this port, so that no flow that is still remembered can be theirs.
    /// Connections of TCP have the kernel's choice, which then begins a flow anew.
    #[must_use]
    pub fn with_source_port(mut self, port: u16) -> Self {
        self.source_port = port;
        self
    }

    /// Makes each connection of TCP from a port that neither this caller nor any that is cloned from it used lately, for
    /// tests that ask several addresses at once and count every answer.
    #[must_use]
    pub fn with_fresh_ports(mut self) -> Self {
        self.fresh_ports = Some(Arc::default());
        self
    }

    /// Waits this long for each step (connecting, reading), also for the answer to a repeated SYN. Without it,
    /// answers are awaited for ten seconds, and a repeated SYN is a failure.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    fn patience(&self) -> Duration {
        self.patience.unwrap_or(PATIENCE)
    }

    /// Where the questions come from.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Opens a connection, reads the greeting and resets the connection.
    ///
    /// # Errors
    /// With the kind of failure kept; see [`TrafficError::kind`].
    pub fn connect_tcp(&self, to: SocketAddr) -> Result<Answer, TrafficError> {
        self.namespace.run(|| self.ask(Transport::Tcp, to))?
    }

    /// Sends one datagram and reads the answer.
    ///
    /// # Errors
    /// As [`Caller::connect_tcp`]; an ICMP error in answer shows as its kind, too.
    pub fn query_udp(&self, to: SocketAddr) -> Result<Answer, TrafficError> {
        self.namespace.run(|| self.ask(Transport::Udp, to))?
    }

    /// Opens an association, reads the greeting and aborts the association.
    ///
    /// # Errors
    /// As [`Caller::query_udp`]. Where the kernel has no SCTP, that is what the error says.
    pub fn connect_sctp(&self, to: SocketAddr) -> Result<Answer, TrafficError> {
        self.namespace.run(|| self.ask(Transport::Sctp, to))?
    }

    /// Opens `connections` connections, a few at once, and counts the outcomes.
    ///
    /// # Errors
    /// When the namespace cannot be entered. Connections that fail are counted.
    pub fn many_tcp(&self, to: SocketAddr, connections: u32) -> Result<PodCounts, NetnsError> {
        let share = |worker| connections / AT_ONCE + u32::from(worker < connections % AT_ONCE);
        let ask_share = |worker| {
            (0..share(worker)).fold(PodCounts::default(), |mut tally, _| {
                tally.count(&self.ask(Transport::Tcp, to));
                tally
            })
        };
        self.namespace.run(|| {
            std::thread::scope(|scope| {
                let workers: Vec<_> =
                    (0..AT_ONCE).map(|worker| scope.spawn(move || ask_share(worker))).collect();
                let tallies = workers.into_iter().map(|worker| worker.join().unwrap_or_default());
                tallies.fold(PodCounts::default(), PodCounts::merged)
            })
        })
    }

    /// Asks once from the current thread, which must be in the namespace already.
    pub(super) fn ask(&self, transport: Transport, to: SocketAddr) -> Result<Answer, TrafficError> {
        let answer = match transport {
            Transport::Tcp => self.greeting_tcp(to),
            Transport::Udp => self.greeting_udp(to),
            Transport::Sctp => self.greeting_sctp(to),
        };
        answer.map_err(|source| TrafficError::Unanswered { to, source }).and_then(|text| parse(to, &text))
    }

    fn greeting_tcp(&self, to: SocketAddr) -> io::Result<String> {
        let mut stream = self.open_tcp(to)?;
        // Closing with a reset leaves no port in TIME_WAIT, so that thousands of connections fit in a second.
        stream.set_linger(Some(Duration::ZERO))?;
        read_line(&mut stream)
    }

    /// A connection from the current thread's namespace, with this caller's source address and time limits.
    pub(super) fn open_tcp(&self, to: SocketAddr) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        match (&self.fresh_ports, self.source) {
            (Some(ports), _) => ports.bind(&socket, self.source_towards(to).ip())?,
            (None, Some(source)) => socket.bind(&SocketAddr::new(source, 0).into())?,
            (None, None) => {}
        }
        refusal::connect(&socket, to, self.patience.unwrap_or(UNTIL_REPEATED))?;
        if self.patience.is_none() && repeated::was_repeated(&socket)? {
            return Err(ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(self.patience()))?;
        socket.set_write_timeout(Some(self.patience()))?;
        Ok(socket)
    }

    fn greeting_sctp(&self, to: SocketAddr) -> io::Result<String> {
        let mut socket = sctp::connect(self.source_towards(to), to, self.patience())?;
        socket.set_read_timeout(Some(self.patience()))?;
        // An association that is aborted is gone at both ends, and neither waits for the other to confirm it.
        socket.set_linger(Some(Duration::ZERO))?;
        read_line(&mut socket)
    }

    /// Where to send from; what was not given is unspecified.
    fn source_towards(&self, to: SocketAddr) -> SocketAddr {
        let unspecified = match to {
            SocketAddr::V4(_) => IpAddr::from([0; 4]),
            SocketAddr::V6(_) => IpAddr::from([0; 16]),
        };
        SocketAddr::new(self.source.unwrap_or(unspecified), self.source_port)
    }

    fn greeting_udp(&self, to: SocketAddr) -> io::Result<String> {
        let socket = UdpSocket::bind(self.source_towards(to))?;
        // Only a connected socket receives ICMP errors.
        socket.connect(to)?;
        socket.set_read_timeout(Some(self.patience()))?;
        socket.send(b"who are you?\n")?;
        let mut buffer = [0; 512];
        let length = socket.recv(&mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }
}

/// Reads up to the first line's end; a stream that ends before it is cut off.
pub(super) fn read_line(stream: &mut impl Read) -> io::Result<String> {
    let mut line = Vec::new();
    let mut buffer = [0; 256];
    while !line.ends_with(b"\n") {
        match stream.read(&mut buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            length => line.extend_from_slice(&buffer[..length]),
        }
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// Takes a greeting apart.
pub(super) fn parse(to: SocketAddr, text: &str) -> Result<Answer, TrafficError> {
    let parts = text.trim_end().split_once(' ');
    let answer = parts.and_then(|(pod, peer)| Some(Answer { pod: pod.to_owned(), peer: peer.parse().ok()? }));
    answer.ok_or_else(|| TrafficError::Garbled { to, text: text.to_owned() })
}
