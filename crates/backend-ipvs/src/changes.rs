//! What is to be done, in an order in which no packet finds less than both states have in common.
//!
//! Sets first, because rules ask them about every new connection; then servers, which lead nowhere while their
//! address is not the node's; then addresses, which the filter lets nobody use that is in no set. What goes, goes
//! the other way round.

use std::net::IpAddr;

use portolan_core::IpFamily;
use portolan_ipvs::{Member, ServerChange, Set, SetChange};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Of what is in a set.
    Set(SetChange),
    /// Of a virtual server or where it leads.
    Server(ServerChange),
    /// The device gets an address.
    AddAddress(IpAddr),
    /// The device loses one.
    RemoveAddress(IpAddr),
}

/// Changes, not yet in order.
#[derive(Debug)]
pub(crate) struct Changes {
    family: IpFamily,
    members_in: Vec<(Set, Member)>,
    members_out: Vec<(Set, Member)>,
    servers: Vec<ServerChange>,
    destinations_out: Vec<ServerChange>,
    servers_out: Vec<ServerChange>,
    addresses_in: Vec<IpAddr>,
    addresses_out: Vec<IpAddr>,
}

impl Changes {
    pub(crate) fn new(family: IpFamily) -> Self {
        Self {
            family,
            members_in: Vec::new(),
            members_out: Vec::new(),
            servers: Vec::new(),
            destinations_out: Vec::new(),
            servers_out: Vec::new(),
            addresses_in: Vec::new(),
            addresses_out: Vec::new(),
        }
    }

    pub(crate) fn member_in(&mut self, set: Set, member: Member) {
        self.members_in.push((set, member));
    }

    pub(crate) fn member_out(&mut self, set: Set, member: Member) {
        self.members_out.push((set, member));
    }

    /// The device gets an address, which the filter then knows.
    pub(crate) fn address_in(&mut self, ip: IpAddr) {
        self.addresses_in.push(ip);
    }

    /// The other way round.
    pub(crate) fn address_out(&mut self, ip: IpAddr) {
        self.addresses_out.push(ip);
    }

    pub(crate) fn server(&mut self, change: ServerChange) {
        match change {
            ServerChange::Remove(_) => self.servers_out.push(change),
            ServerChange::RemoveDestination(..) | ServerChange::Weigh(_, _, 0) => {
                self.destinations_out.push(change);
            }
            _ => self.servers.push(change),
        }
    }

    /// Elements that come, by themselves: what rules need that are about to be loaded.
    pub(crate) fn take_members_in(&mut self) -> Vec<Change> {
        let mut members = std::mem::take(&mut self.members_in);
        // An address must not be guarded before those are known who may use it.
        members.sort_by_key(|(set, _)| *set == Set::LoadBalancerFirewall);
        self.additions(members)
    }

    fn additions(&self, members: Vec<(Set, Member)>) -> Vec<Change> {
        let add = |(set, member)| Change::Set(SetChange::Add(set, self.family, member));
        members.into_iter().map(add).collect()
    }

    fn removals(&self, mut members: Vec<(Set, Member)>) -> Vec<Change> {
        members.sort_by_key(|(set, _)| *set != Set::LoadBalancerFirewall);
        let remove = |(set, member)| Change::Set(SetChange::Remove(set, self.family, member));
        members.into_iter().map(remove).collect()
    }

    /// All that comes, in order.
    pub(crate) fn take_additions(&mut self) -> Vec<Change> {
        let mut all = self.take_members_in();
        all.extend(self.servers.drain(..).map(Change::Server));
        all.extend(self.additions(known(&self.addresses_in)));
        all.extend(self.addresses_in.drain(..).map(Change::AddAddress));
        all
    }

    /// All of them in order.
    pub(crate) fn in_order(mut self) -> Vec<Change> {
        let mut all = self.take_additions();
        all.extend(self.destinations_out.drain(..).map(Change::Server));
        all.extend(self.servers_out.drain(..).map(Change::Server));
        let unknown = known(&self.addresses_out);
        all.extend(self.addresses_out.drain(..).map(Change::RemoveAddress));
        all.extend(self.removals(unknown));
        let members_out = std::mem::take(&mut self.members_out);
        all.extend(self.removals(members_out));
        all
    }
}

/// How the filter knows addresses of the device.
fn known(ips: &[IpAddr]) -> Vec<(Set, Member)> {
    ips.iter().map(|ip| (Set::IpvsIps, Member::Ip(*ip))).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portolan_core::Protocol;
    use portolan_ipvs::{ServerKey, ServerSettings};

    use super::*;

    #[test]
    fn what_comes_is_ready_before_its_address_and_what_goes_goes_the_other_way_round() {
        let ip: IpAddr = "10.96.0.10".parse().unwrap();
        let key = ServerKey { protocol: Protocol::Tcp, address: ip, port: 80 };
        let settings = ServerSettings { scheduler: "rr".into(), flags: 0, timeout: Duration::ZERO };
        let member = Member::Socket(Protocol::Tcp, (ip, 80).into());
        let mut changes = Changes::new(IpFamily::V4);
        changes.member_out(Set::LoadBalancer, member);
        changes.member_out(Set::LoadBalancerFirewall, member);
        changes.address_out(ip);
        changes.server(ServerChange::Remove(key));
        changes.server(ServerChange::Weigh(key, (ip, 1).into(), 0));
        changes.address_in(ip);
        changes.server(ServerChange::Add(key, settings));
        changes.member_in(Set::LoadBalancerFirewall, member);
        changes.member_in(Set::LoadBalancer, member);
        let words: Vec<_> = changes.in_order().iter().map(|change| format!("{change:?}")).collect();
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
        assert_eq!(words.len(), begins.len());
        for (word, begin) in words.iter().zip(begins) {
            assert!(word.starts_with(begin), "{word} instead of {begin}");
        }
    }
}
