//! Ports to call from, each a new one.
//!
//! The kernel takes a client's ports at random, so that two connections meet in one port now and then: one after the
//! other, or at once if they go to different addresses. Connection tracking distinguishes such connections by their
//! ends, IPVS does not always (see the tests of `backend-ipvs`), and a test that counts every single connection
//! then counts what no proxy has in hand.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};

use socket2::Socket;

/// Above the ports that need a privilege, and so many that none comes again within the ten seconds for which a
/// connection is remembered that ended with a reset.
const FIRST: u16 = 1_024;
const COUNT: u16 = 32_768;

/// Gives ports away one after the other.
#[derive(Debug, Default)]
pub(super) struct FreshPorts {
    given: AtomicU16,
}

impl FreshPorts {
    /// Binds to this address and the next port that no other socket has.
    pub(super) fn bind(&self, socket: &Socket, source: IpAddr) -> io::Result<()> {
        for _ in 0..COUNT {
            let port = FIRST + self.given.fetch_add(1, Ordering::Relaxed) % COUNT;
            match socket.bind(&SocketAddr::new(source, port).into()) {
                Err(error) if error.kind() == ErrorKind::AddrInUse => {}
                outcome => return outcome,
            }
        }
        Err(ErrorKind::AddrInUse.into())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use socket2::{Domain, Type};

    use super::*;

    fn bound(ports: &FreshPorts) -> (Socket, u16) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        ports.bind(&socket, Ipv4Addr::LOCALHOST.into()).unwrap();
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        (socket, port)
    }

    #[test]
    fn no_port_is_given_twice_even_when_its_socket_is_gone() {
        let ports = FreshPorts::default();
        let (first, second) = (bound(&ports).1, bound(&ports).1);
        assert!(first < second, "{first} {second}");
    }

    #[test]
    fn port_in_use_is_skipped() {
        let (kept, taken) = bound(&FreshPorts::default());
        let (_socket, port) = bound(&FreshPorts::default());
        assert!(taken < port, "{taken} {port}");
        drop(kept);
    }
}
