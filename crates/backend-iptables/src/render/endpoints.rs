//! The endpoints of a service port in the order of their rules, with their chains.

use std::io::Write as _;
use std::net::SocketAddr;

use portolan_core::ServicePortName;
use portolan_core::plan::Endpoint;

use crate::names::{Chain, Hash, Kind};

/// More than the longest address with its port, `[…]:65535` around 45 bytes (`INET6_ADDRSTRLEN` of `linux/inet.h`
/// without the final zero).
const MAX_TEXT: usize = 56;

/// An endpoint and its chain.
#[derive(Debug, Clone, Copy)]
pub(super) struct EndpointChain {
    pub(super) endpoint: Endpoint,
    pub(super) chain: Chain,
}

impl EndpointChain {
    /// Address and port.
    pub(super) fn address(&self) -> SocketAddr {
        self.endpoint.socket_address()
    }
}

/// These endpoints in the order of their text, as kube-proxy sorts them, so that its chains equal ours.
pub(super) fn sorted(name: &ServicePortName, endpoints: &[Endpoint]) -> Vec<EndpointChain> {
    let chain = |endpoint: &Endpoint| {
        let hash = Hash::of_endpoint(name, endpoint.socket_address());
        EndpointChain { endpoint: *endpoint, chain: Chain::Own(Kind::Endpoint, hash) }
    };
    let mut chains: Vec<_> = endpoints.iter().map(chain).collect();
    chains.sort_by_cached_key(|chain| text(chain.address()));
    chains
}

fn text(address: SocketAddr) -> [u8; MAX_TEXT] {
    let mut text = [0; MAX_TEXT];
    // Fits, by the length above.
    let _ = write!(text.as_mut_slice(), "{address}");
    text
}

#[cfg(test)]
mod tests {
    use portolan_core::plan::Locality;
    use portolan_core::{ObjectName, Protocol};

    use super::*;

    fn order(texts: &[&str]) -> Vec<String> {
        let endpoints: Vec<_> = texts
            .iter()
            .map(|text| text.parse().unwrap())
            .map(|at: SocketAddr| Endpoint { address: at.ip(), port: at.port(), locality: Locality::Remote })
            .collect();
        let name = ServicePortName {
            service: ObjectName::new("shop", "web"),
            port: "".into(),
            protocol: Protocol::Tcp,
        };
        sorted(&name, &endpoints).iter().map(|chain| chain.address().to_string()).collect()
    }

    #[test]
    fn endpoints_are_sorted_by_their_text() {
        let v4 = ["10.0.0.2:80", "10.0.0.10:9", "10.0.0.10:80", "10.0.0.100:80", "9.0.0.1:80"];
        assert_eq!(order(&v4), ["10.0.0.100:80", "10.0.0.10:80", "10.0.0.10:9", "10.0.0.2:80", "9.0.0.1:80"]);
        let v6 = ["[fd00::9]:80", "[fd00::10]:80", "[fd00::1]:80", "[fd00::a]:80"];
        assert_eq!(order(&v6), ["[fd00::10]:80", "[fd00::1]:80", "[fd00::9]:80", "[fd00::a]:80"]);
    }

    #[test]
    fn the_longest_address_fits_into_the_sort_key() {
        let longest = ["[::ffff:255.255.255.255]:65535", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"];
        for address in longest {
            let address: SocketAddr = address.parse().unwrap();
            assert!(address.to_string().len() < MAX_TEXT);
        }
    }
}
