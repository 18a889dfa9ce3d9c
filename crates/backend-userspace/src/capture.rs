//! Brings packets for service addresses to this node.
//!
//! A cluster IP belongs to no host, so a route of type `local` to `lo` makes all of it local. Any other address may belong
//! to another host: `externalIPs` can name a node, the API server or a router. Of those only the ports of Services are
//! captured: a routing rule for each port of a protocol leads to its own table, in which a route makes that port of
//! an address local ([`Object`]). All other packets to the address, including ICMP, are routed as before.
//!
//! Routes and rules carry our protocol number. So those of an earlier run are known at once, and those of others are never
//! touched: a deletion names the protocol, and the kernel finds no other. No address is added to an interface, since the
//! kubelet and network plug-ins read those.
//!
//! The kernel evaluates all rules for each route lookup, at some 8 ns each. Therefore there are at most [`MAX_RULES`], and
//! no Service gets them all ([`is_fair`]).

mod object;

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

use indexmap::IndexSet;
use portolan_core::{ApplyReport, IpFamily, ObjectName, Protocol};
use portolan_netlink::route::{kind, lookup, matching, write_routes_of, write_rules_of};
use portolan_netlink::{Message, Nack, NetlinkError, NetlinkSocket, flag};

use crate::address::{AddressKind, ListenAddress};
use crate::limits::is_fair;
use crate::node::rtnetlink_family;

pub(crate) use object::{Object, Port};

/// How many rules there may be for each IP family.
pub(crate) const MAX_RULES: usize = 256;
/// How many messages a batch has, so that the receive buffer holds an answer to each.
const BATCH: usize = 256;

/// The routes and rules of one IP family.
#[derive(Debug)]
pub(crate) struct Captures {
    family: IpFamily,
    socket: NetlinkSocket,
    /// Whether external addresses are captured by the ports of Services. If not, they are captured as a whole: this kernel
    /// is older than 4.17 or built without `CONFIG_IP_MULTIPLE_TABLES`.
    pub(crate) by_port: bool,
    /// The source address of programs on this node when they connect to a captured port. Needed for IPv4 only.
    source: Option<IpAddr>,
    /// How many service ports and listeners want each object, and the Service of the first.
    wanted: HashMap<Object, (usize, ObjectName)>,
    /// What the kernel has.
    present: HashSet<Object>,
    /// What may have to be added or deleted.
    changed: IndexSet<Object>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Add,
    Delete,
}

impl Captures {
    /// Nothing is wanted yet, and the kernel was not read.
    pub(crate) fn open(family: IpFamily) -> Result<Self, NetlinkError> {
        Ok(Self {
            family,
            socket: NetlinkSocket::open(portolan_netlink::Protocol::Route)?,
            by_port: true,
            source: None,
            wanted: HashMap::new(),
            present: HashSet::new(),
            changed: IndexSet::new(),
        })
    }

    /// The same for a backend. Removes the routes of earlier versions to whole external addresses at once: the API server
    /// may be behind one.
    pub(crate) fn begin(family: IpFamily) -> Result<Self, NetlinkError> {
        let mut captures = Self::open(family)?;
        let mut old: Vec<_> = captures.dump()?.into_iter().collect();
        old.retain(|object| matches!(object, Object::OldAddress(_)));
        captures.send(&old, Change::Delete, &mut ApplyReport::default())?;
        captures.by_port = captures.has_port_rules();
        Ok(captures)
    }

    /// The same on a kernel without rules for ports.
    #[cfg(test)]
    pub(crate) fn without_port_rules(self) -> Self {
        Self { by_port: false, ..self }
    }

    /// What captures a listen address; `None` for node ports, which are at addresses of the node.
    pub(crate) fn object(&self, address: ListenAddress, kind: AddressKind) -> Option<Object> {
        match kind {
            AddressKind::NodePort => None,
            _ if kind.is_external() && self.by_port => Some(Object::Port(address)),
            _ => Some(Object::Address(address.socket.ip())),
        }
    }

    /// One more service port or listener, of this Service, wants an object.
    pub(crate) fn want(&mut self, object: Object, service: &ObjectName) {
        for object in with_rule(object) {
            self.wanted.entry(object).or_insert_with(|| (0, service.clone())).0 += 1;
            self.changed.insert(object);
        }
    }

    /// One less wants it.
    pub(crate) fn release(&mut self, object: Object) {
        for object in with_rule(object) {
            let Some((count, _)) = self.wanted.get_mut(&object) else { continue };
            *count -= 1;
            if *count == 0 {
                self.wanted.remove(&object);
                self.changed.insert(object);
            }
        }
    }

    /// Sets whether packets to a captured port of a Service are rejected, because nothing listens. IPv6 does so by itself.
    /// IPv4 sends no answer from an address that is not in the table `local` (`ip_route_output_key_hash_rcu` in
    /// net/ipv4/route.c), so a route rejects.
    pub(crate) fn set_rejected(&mut self, address: ListenAddress, service: Option<&ObjectName>) {
        let object = Object::Reject(address);
        match (self.wanted.contains_key(&object), service) {
            (false, Some(service)) if self.family == IpFamily::V4 => self.want(object, service),
            (true, None) => self.release(object),
            _ => {}
        }
    }

    /// Whether the kernel has an object, and the rule that it needs.
    pub(crate) fn has(&self, object: Object) -> bool {
        self.present.contains(&object) && !self.lacks_rule(object)
    }

    /// Whether the kernel has a route but no rule that leads to it, because there are too many.
    pub(crate) fn lacks_rule(&self, object: Object) -> bool {
        self.present.contains(&object)
            && matches!(object, Object::Port(address) if !self.present.contains(&Object::Rule(address.into())))
    }

    /// Reads our objects from the kernel.
    pub(crate) fn read(&mut self) -> Result<(), NetlinkError> {
        self.present = self.dump()?;
        self.changed = self.wanted.keys().chain(&self.present).copied().collect();
        Ok(())
    }

    /// Whether the kernel still has all of our objects.
    pub(crate) fn are_intact(&mut self) -> Result<bool, NetlinkError> {
        let found = self.dump()?;
        Ok(self.present.is_subset(&found))
    }

    /// The node's addresses changed. The kernel removes routes with a source address together with it.
    pub(crate) fn addresses_changed(&mut self) -> Result<(), NetlinkError> {
        self.source = None;
        let has_source = |object: &Object| matches!(object, Object::Port(_));
        if self.family == IpFamily::V4 && self.present.iter().any(has_source) {
            self.read()?;
            // Those that are left are written again with the present source.
            self.present.retain(|object| !has_source(object));
        }
        Ok(())
    }

    fn dump(&mut self) -> Result<HashSet<Object>, NetlinkError> {
        let family = rtnetlink_family(self.family);
        let each = |found: &mut HashSet<_>, message: &Message<'_>| found.extend(Object::read(message));
        // Routes of others may change meanwhile; ours do not.
        let (mut found, _) =
            self.socket.dump_once(kind::GET_ROUTE, |message| write_routes_of(message, family), each)?;
        match self.socket.dump_once(kind::GET_RULE, |message| write_rules_of(message, family), each) {
            Ok((rules, _)) => found.extend(rules),
            // The kernel has no rules at all.
            Err(error) if error.errno().is_some() => {}
            Err(error) => return Err(error),
        }
        Ok(found)
    }

    /// Adds what is wanted and missing. What the kernel rejects is tried again the next time.
    pub(crate) fn add(&mut self, report: &mut ApplyReport) -> Result<(), NetlinkError> {
        let is_missing = |object: &Object| self.wanted.contains_key(object) && !self.present.contains(object);
        let mut missing: Vec<_> = self.changed.iter().copied().filter(is_missing).collect();
        self.leave_out_excess_rules(&mut missing);
        let port = missing.iter().find_map(|object| match object {
            Object::Port(address) => Some(address.socket.ip()),
            _ => None,
        });
        if let Some(ip) = port.filter(|_| self.family == IpFamily::V4 && self.source.is_none()) {
            let route = lookup(&mut self.socket, ip).ok().flatten();
            self.source = route.and_then(|route| route.source).or(Some(Ipv4Addr::LOCALHOST.into()));
        }
        if self.send(&missing, Change::Add, report)?.is_some() {
            // The source may no longer be an address of the node.
            self.source = None;
        }
        Ok(())
    }

    /// Leaves out rules that exceed the limit, in all or for their Service.
    fn leave_out_excess_rules(&self, missing: &mut Vec<Object>) {
        if !missing.iter().any(|object| matches!(object, Object::Rule(_))) {
            return;
        }
        // Rules that are about to be deleted count too, but for no Service.
        let owner = |object: &Object| match object {
            Object::Rule(_) => Some(self.wanted.get(object).map(|(_, service)| service)),
            _ => None,
        };
        let mut owners: Vec<_> = self.present.iter().filter_map(owner).collect();
        missing.retain(|object| {
            let Some(owner) = owner(object) else { return true };
            let used = owners.iter().filter(|other| **other == owner).count();
            let is_admitted = is_fair(used, MAX_RULES.saturating_sub(owners.len()));
            owners.extend(is_admitted.then_some(owner));
            is_admitted
        });
    }

    /// Deletes what is present and no longer wanted.
    pub(crate) fn remove(&mut self, report: &mut ApplyReport) -> Result<(), NetlinkError> {
        let is_excess = |object: &Object| !self.wanted.contains_key(object) && self.present.contains(object);
        let excess: Vec<_> = self.changed.iter().copied().filter(is_excess).collect();
        self.send(&excess, Change::Delete, report)?;
        let (wanted, present) = (&self.wanted, &self.present);
        self.changed.retain(|object| wanted.contains_key(object) != present.contains(object));
        Ok(())
    }

    /// Deletes all of our objects, wanted or not.
    pub(crate) fn remove_all(&mut self) -> Result<(), NetlinkError> {
        self.wanted.clear();
        self.read()?;
        self.remove(&mut ApplyReport::default())
    }

    /// Whether a route leads to another host at this address. A default route does not say so.
    pub(crate) fn is_elsewhere(&mut self, address: IpAddr) -> bool {
        let route = matching(&mut self.socket, address).ok().flatten();
        route.is_some_and(|route| !route.is_local && !route.is_default)
    }

    /// Tries whether this process may add routes, with one to an address that is local anyway.
    pub(crate) fn probe() -> Result<(), NetlinkError> {
        /// In 127.0.0.0/8, and hardly in use.
        const TRIAL: Object = Object::Address(IpAddr::V4(Ipv4Addr::new(127, 255, 80, 80)));
        let (mut captures, mut report) = (Self::open(IpFamily::V4)?, ApplyReport::default());
        let rejected = captures.send(&[TRIAL], Change::Add, &mut report)?;
        let rejected = rejected.or(captures.send(&[TRIAL], Change::Delete, &mut report)?);
        rejected.map_or(Ok(()), |rejected| Err(rejected.into()))
    }

    /// Whether the kernel has rules for ports. One without them adds a rule for all packets instead, so a rule to an empty
    /// table is added and read back.
    fn has_port_rules(&mut self) -> bool {
        const TRIAL: Object = Object::Rule(Port { protocol: Protocol::Tcp, number: 1 });
        let has_rule = |found: HashSet<_>| found.iter().any(|object| matches!(object, Object::Rule(_)));
        if self.dump().is_ok_and(has_rule) {
            return true;
        }
        let mut report = ApplyReport::default();
        let is_added = self.send(&[TRIAL], Change::Add, &mut report).is_ok_and(|rejected| rejected.is_none());
        let has_rules = is_added && self.dump().is_ok_and(has_rule);
        is_added && self.send(&[TRIAL], Change::Delete, &mut report).is_ok() && has_rules
    }

    /// Adds or deletes objects, and returns the first error of the kernel.
    fn send(
        &mut self,
        objects: &[Object],
        change: Change,
        report: &mut ApplyReport,
    ) -> Result<Option<Nack>, NetlinkError> {
        let mut first = None;
        // A deletion finds a route whatever its source is.
        let source = self.source.filter(|_| change == Change::Add);
        for part in objects.chunks(BATCH) {
            let mut batch = self.socket.new_batch();
            for object in part {
                let (kind, flags) = change.message(*object);
                // An address and some numbers fit into any message.
                let _ = batch.add(kind, flags, |message| object.write(message, self.family, source));
            }
            if let Some(last) = batch.last() {
                batch.set_flags(last, flag::ACK);
            }
            let rejected = self.socket.send_each(&batch)?.into_iter();
            let rejected = rejected.filter(|nack| !change.is_done(nack.errno));
            let mut rejected: HashMap<_, _> = rejected.map(|nack| (nack.sequence, nack)).collect();
            report.messages += part.len();
            report.bytes += batch.size();
            report.operations += part.len() - rejected.len();
            for (sequence, object) in (0..).map(|at| batch.first().wrapping_add(at)).zip(part) {
                if let Some(nack) = rejected.remove(&sequence) {
                    first.get_or_insert(nack);
                } else if change == Change::Add {
                    self.present.insert(*object);
                } else {
                    self.present.remove(object);
                }
            }
        }
        Ok(first)
    }
}

/// An object with the rule that it needs.
fn with_rule(object: Object) -> impl Iterator<Item = Object> {
    let rule = if let Object::Port(address) = object { Some(Object::Rule(address.into())) } else { None };
    std::iter::once(object).chain(rule)
}

impl Change {
    /// The kind and the flags of the message that does this.
    fn message(self, object: Object) -> (u16, u16) {
        let (new, delete) = object.kinds();
        match (self, object) {
            (Self::Delete, _) => (delete, flag::REQUEST),
            // It may exist with another source.
            (Self::Add, Object::Port(_)) => (new, flag::REQUEST | flag::CREATE | flag::REPLACE),
            (Self::Add, _) => (new, flag::REQUEST | flag::CREATE | flag::EXCL),
        }
    }

    /// Whether an error means that the kernel is already as it should be.
    fn is_done(self, errno: i32) -> bool {
        match self {
            Self::Add => errno == libc::EEXIST,
            Self::Delete => [libc::ESRCH, libc::ENOENT].contains(&errno),
        }
    }
}

#[cfg(test)]
mod tests;
