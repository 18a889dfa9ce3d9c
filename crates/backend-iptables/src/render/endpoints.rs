//! The endpoints of a service port in the order of their rules, with their chains.

use std::io::Write as _;
use std::net::SocketAddr;

use portolan_core::ServicePortName;
use portolan_core::plan::Endpoint;

use crate::names::{Chain, Hash, Kind};

/// The length of the longest address with its port, `[…]:65535` around 45 bytes (`INET6_ADDRSTRLEN` of
/// `linux/inet.h` without the final zero), and a few more.
const LONGEST: usize = 56;

/// An endpoint and the chain that leads there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    pub(super) endpoint: Endpoint,
    pub(super) chain: Chain,
}

impl Choice {
    /// Address and port.
    pub(super) fn address(&self) -> SocketAddr {
        self.endpoint.socket_address()
    }
}

/// All of a list, in the order of their text: as kube-proxy sorts them, so that its chains are ours.
pub(super) fn in_order(name: &ServicePortName, list: &[Endpoint]) -> Vec<Choice> {
    let choice = |endpoint: &Endpoint| {
        let hash = Hash::of_endpoint(name, endpoint.socket_address());
        Choice { endpoint: *endpoint, chain: Chain::Own(Kind::Endpoint, hash) }
    };
    let mut choices: Vec<_> = list.iter().map(choice).collect();
    choices.sort_by_cached_key(|choice| text(choice.address()));
    choices
}

fn text(address: SocketAddr) -> [u8; LONGEST] {
    let mut text = [0; LONGEST];
    // It is long enough.
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
        in_order(&name, &endpoints).iter().map(|choice| choice.address().to_string()).collect()
    }

    #[test]
    fn endpoints_stand_in_the_order_of_their_text() {
        let v4 = ["10.0.0.2:80", "10.0.0.10:9", "10.0.0.10:80", "10.0.0.100:80", "9.0.0.1:80"];
        assert_eq!(order(&v4), ["10.0.0.100:80", "10.0.0.10:80", "10.0.0.10:9", "10.0.0.2:80", "9.0.0.1:80"]);
        let v6 = ["[fd00::9]:80", "[fd00::10]:80", "[fd00::1]:80", "[fd00::a]:80"];
        assert_eq!(order(&v6), ["[fd00::10]:80", "[fd00::1]:80", "[fd00::9]:80", "[fd00::a]:80"]);
    }

    #[test]
    fn the_longest_address_is_told_from_its_neighbour() {
        let longest = ["[::ffff:255.255.255.255]:65535", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"];
        for address in longest {
            let address: SocketAddr = address.parse().unwrap();
            assert!(address.to_string().len() < LONGEST);
        }
    }
}
