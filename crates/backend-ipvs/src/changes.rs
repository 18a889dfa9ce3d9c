//! The changes of one apply, in an order in which packets find at least what both states have in common.
//!
//! Sets are first, because rules match them for every new connection. Virtual servers are next: they get no packets until
//! the node has their address. Addresses are last; the filter rejects packets to them unless they are in a set. Removals
//! follow in the reverse order.

use std::net::IpAddr;

use portolan_core::IpFamily;
use portolan_ipvs::{Member, ServerChange, Set, SetChange};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Of the elements of a set.
    Set(SetChange),
    /// Of a virtual server or its destinations.
    Server(ServerChange),
    /// The device gets an address.
    AddAddress(IpAddr),
    /// The device loses an address.
    RemoveAddress(IpAddr),
}

/// Changes, in any order.
#[derive(Debug)]
pub(crate) struct Changes {
    family: IpFamily,
    list: Vec<Change>,
}

/// The steps of one apply, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    AddMembers,
    /// An address must not be restricted before its source ranges are in their set.
    RestrictAddresses,
    AddServers,
    /// The filter accepts addresses of the device by this set.
    AcceptAddresses,
    AddAddresses,
    RemoveDestinations,
    RemoveServers,
    RemoveAddresses,
    RejectAddresses,
    UnrestrictAddresses,
    RemoveMembers,
}

impl Stage {
    fn of(change: &Change) -> Self {
        match change {
            Change::Set(SetChange::Add(set, ..)) => match set {
                Set::IpvsIps => Self::AcceptAddresses,
                Set::LoadBalancerFirewall => Self::RestrictAddresses,
                _ => Self::AddMembers,
            },
            Change::Set(SetChange::Remove(set, ..)) => match set {
                Set::IpvsIps => Self::RejectAddresses,
                Set::LoadBalancerFirewall => Self::UnrestrictAddresses,
                _ => Self::RemoveMembers,
            },
            Change::Server(ServerChange::Remove(_)) => Self::RemoveServers,
            Change::Server(ServerChange::RemoveDestination(..) | ServerChange::Weigh(_, _, 0)) => {
                Self::RemoveDestinations
            }
            Change::Server(_) => Self::AddServers,
            Change::AddAddress(_) => Self::AddAddresses,
            Change::RemoveAddress(_) => Self::RemoveAddresses,
        }
    }
}

impl Changes {
    pub(crate) fn new(family: IpFamily) -> Self {
        Self { family, list: Vec::new() }
    }

    /// Adds an element to a set. One of [`Set::IpvsIps`] becomes an address of the device as well.
    pub(crate) fn add_member(&mut self, (set, member): (Set, Member)) {
        self.list.push(Change::Set(SetChange::Add(set, self.family, member)));
        if let (Set::IpvsIps, Member::Ip(ip)) = (set, member) {
            self.list.push(Change::AddAddress(ip));
        }
    }

    /// Removes an element from a set. One of [`Set::IpvsIps`] is removed from the device as well.
    pub(crate) fn remove_member(&mut self, (set, member): (Set, Member)) {
        if let (Set::IpvsIps, Member::Ip(ip)) = (set, member) {
            self.list.push(Change::RemoveAddress(ip));
        }
        self.list.push(Change::Set(SetChange::Remove(set, self.family, member)));
    }

    pub(crate) fn server(&mut self, change: ServerChange) {
        self.list.push(Change::Server(change));
    }

    /// Takes out the additions to sets, which the rules that are loaded next need.
    pub(crate) fn take_added_members(&mut self) -> Vec<Change> {
        self.take_until(Stage::RestrictAddresses)
    }

    /// Takes out all additions, in order.
    pub(crate) fn take_additions(&mut self) -> Vec<Change> {
        self.take_until(Stage::AddAddresses)
    }

    /// All changes in order.
    pub(crate) fn in_order(mut self) -> Vec<Change> {
        self.take_until(Stage::RemoveMembers)
    }

    fn take_until(&mut self, last: Stage) -> Vec<Change> {
        let all = std::mem::take(&mut self.list).into_iter();
        let (mut taken, rest): (Vec<_>, Vec<_>) = all.partition(|change| Stage::of(change) <= last);
        self.list = rest;
        taken.sort_by_key(Stage::of);
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portolan_core::Protocol;
    use portolan_ipvs::{ServerKey, ServerSettings};

    use super::*;

    #[test]
    fn additions_precede_their_address_and_removals_follow_it() {
        let ip: IpAddr = "10.96.0.10".parse().unwrap();
        let key = ServerKey { protocol: Protocol::Tcp, address: ip, port: 80 };
        let settings = ServerSettings { scheduler: "rr".into(), flags: 0, timeout: Duration::ZERO };
        let member = Member::Socket(Protocol::Tcp, (ip, 80).into());
        let mut changes = Changes::new(IpFamily::V4);
        changes.remove_member((Set::LoadBalancer, member));
        changes.remove_member((Set::LoadBalancerFirewall, member));
        changes.remove_member((Set::IpvsIps, Member::Ip(ip)));
        changes.server(ServerChange::Remove(key));
        changes.server(ServerChange::Weigh(key, (ip, 1).into(), 0));
        changes.add_member((Set::IpvsIps, Member::Ip(ip)));
        changes.server(ServerChange::Add(key, settings));
        changes.add_member((Set::LoadBalancerFirewall, member));
        changes.add_member((Set::LoadBalancer, member));
        let texts: Vec<_> = changes.in_order().iter().map(|change| format!("{change:?}")).collect();
        let begins = [
            "Set(Add(LoadBalancer,",
            "Set(Add(LoadBalancerFirewall,",
            "Server(Add(",
            "Set(Add(IpvsIps,",
            "AddAddress(",
            "Server(Weigh(",
            "Server(Remove(",
            "RemoveAddress(",
            "Set(Remove(IpvsIps,",
            "Set(Remove(LoadBalancerFirewall,",
            "Set(Remove(LoadBalancer,",
        ];
        assert_eq!(texts.len(), begins.len());
        for (text, begin) in texts.iter().zip(begins) {
            assert!(text.starts_with(begin), "{text} instead of {begin}");
        }
    }
}
