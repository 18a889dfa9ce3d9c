//! The node's own addresses, at which node ports answer.

use std::collections::HashSet;
use std::net::SocketAddr;

use portolan_core::plan::NodePortAddresses;
use portolan_netlink::NetlinkError;

use super::{Changed, Frontends};
use crate::addresses;
use crate::listen::{Place, Transport};
use crate::rtnetlink::InterfaceAddress;

impl Frontends {
    /// Where a node port answers.
    pub(super) fn node_places(&self, number: u16, transport: Transport) -> impl Iterator<Item = Place> {
        let accepted = self.addresses.iter().filter(|own| self.is_accepted(own.socket(0)));
        accepted.map(move |own| Place { address: own.socket(number), transport })
    }

    /// Whether node ports answer at this address, if it is the node's.
    pub(super) fn is_accepted(&self, address: SocketAddr) -> bool {
        match self.node.as_ref().map(|node| &node.node_port_addresses) {
            None => false,
            Some(NodePortAddresses::All) => true,
            Some(NodePortAddresses::Within(ranges)) => {
                ranges.iter().any(|range| range.contains(&address.ip()))
            }
        }
    }

    /// Follows the node's addresses.
    ///
    /// # Errors
    /// The kernel does not tell them.
    pub(crate) async fn follow_addresses(&mut self) -> Result<(), NetlinkError> {
        let changed = self.read_addresses()?;
        if changed.is_empty() {
            return Ok(());
        }
        if let Some(captures) = &mut self.captures {
            captures.addresses_changed()?;
        }
        let ports: Vec<_> = self.claims.node_ports().collect();
        let at = |own: &InterfaceAddress| {
            ports
                .iter()
                .map(|(number, transport)| Place { address: own.socket(*number), transport: *transport })
                .collect::<Vec<_>>()
        };
        let touched = changed.iter().flat_map(at).collect();
        self.settle(touched).await;
        self.finish_captures(&mut Changed::default())
    }

    /// Reads the node's addresses and returns those that came or went.
    pub(super) fn read_addresses(&mut self) -> Result<Vec<InterfaceAddress>, NetlinkError> {
        let now = addresses::list(self.family)?;
        let before: HashSet<_> = self.addresses.iter().copied().map(|own| own.socket(0)).collect();
        let after: HashSet<_> = now.iter().copied().map(|own| own.socket(0)).collect();
        let gone = self.addresses.iter().filter(|own| !after.contains(&own.socket(0)));
        let come = now.iter().filter(|own| !before.contains(&own.socket(0)));
        let changed = gone.chain(come).copied().collect();
        self.surroundings.set_addresses(now.iter().map(|own| own.address).collect());
        self.own = after;
        self.addresses = now;
        Ok(changed)
    }
}
