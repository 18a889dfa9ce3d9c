//! Takes a packet from hook to hook, as the kernel's routing would.

use std::net::IpAddr;
use std::sync::Arc;

use portolan_nft::{Family, Hook};

use super::chain::{End, Walk};
use super::flow::{Flow, Manip};
use super::hook::{ScenarioNetwork, Station, stations};
use super::weighted::Weighted;
use super::{Fate, Host, Origin, Outcome, Outcomes, Packet, TraceError, Tracer, Work};

/// The interface by which the node talks to itself.
const LOOPBACK: &str = "lo";

pub(super) fn trace(tracer: &Tracer<'_>, packet: &Packet) -> Result<Outcomes, TraceError> {
    let (from, to) = (packet.source, packet.destination);
    let family = match (from.ip(), to.ip()) {
        (IpAddr::V4(_), IpAddr::V4(_)) => Family::Ip,
        (IpAddr::V6(_), IpAddr::V6(_)) => Family::Ip6,
        _ => return Err(TraceError::MixedFamilies { from, to }),
    };
    let walk = Walk { host: tracer.host, packet, known: &tracer.known };
    let mut journey = Journey { tracer, family, walk, ended: Weighted::default() };
    let delivered = match &packet.origin {
        Origin::Arriving => journey.arriving(tracer.host.interface_towards(from.ip()))?,
        Origin::ArrivingBy(interface) => journey.arriving(interface)?,
        Origin::Sent => journey.sent()?,
    };
    journey.outcomes(delivered)
}

struct Journey<'t> {
    tracer: &'t Tracer<'t>,
    family: Family,
    walk: Walk<'t>,
    ended: Weighted<'t, (Flow, End)>,
}

impl<'t> Journey<'t> {
    fn arriving(&mut self, interface: &Arc<str>) -> Result<Weighted<'t, Flow>, TraceError> {
        let flows = Weighted::certain(Flow::start(self.walk.packet, Some(Arc::clone(interface))));
        // Both look at addresses when they route, IPv6 before any hook as well.
        let flows = if self.family == Family::Ip6 { self.refuse_martians(flows)? } else { flows };
        let flows = self.hook(Hook::Prerouting, flows)?;
        let flows = self.refuse_martians(flows)?;
        let (local, passing) = self.split_local(flows);
        let mut delivered = self.hook(Hook::Input, local)?;
        let passing = self.hook(Hook::Forward, passing)?;
        delivered.add_all(self.hook(Hook::Postrouting, passing)?)?;
        Ok(delivered)
    }

    fn sent(&mut self) -> Result<Weighted<'t, Flow>, TraceError> {
        let flows = self.hook(Hook::Output, Weighted::certain(Flow::start(self.walk.packet, None)))?;
        let flows = self.hook(Hook::Postrouting, flows)?;
        let (local, mut delivered) = self.split_local(flows);
        let lo: Arc<str> = LOOPBACK.into();
        let back = local.map(|flow| flow.come_back(&lo))?;
        let back = self.hook(Hook::Prerouting, back)?;
        delivered.add_all(self.hook(Hook::Input, back)?)?;
        Ok(delivered)
    }

    fn split_local(&self, flows: Weighted<'t, Flow>) -> (Weighted<'t, Flow>, Weighted<'t, Flow>) {
        flows.split(|flow| self.walk.host.is_local(flow.destination.ip()))
    }

    /// Drops what cannot have come from elsewhere.
    fn refuse_martians(&mut self, flows: Weighted<'t, Flow>) -> Result<Weighted<'t, Flow>, TraceError> {
        let mut passed = Weighted::default();
        for (flow, mut way) in flows {
            match martian(self.walk.packet, &flow, self.walk.host) {
                None => passed.add(flow, way)?,
                Some(reason) => {
                    way.trail = way.trail.unroutable(reason);
                    self.ended.add((flow, End::Dropped), way)?;
                }
            }
        }
        Ok(passed)
    }

    /// Takes packets through all that hangs on a hook; gives back those that pass.
    fn hook(&mut self, hook: Hook, flows: Weighted<'t, Flow>) -> Result<Weighted<'t, Flow>, TraceError> {
        let mut here = flows;
        if here.is_empty() {
            return Ok(here);
        }
        for station in stations(self.tracer.tables, self.family, hook) {
            here = match station {
                Station::Conntrack => here.map(Flow::tracked)?,
                Station::Filter(site) => self.base_chain(site, here)?,
                Station::Nat(manip, sites) => self.nat(manip, &sites, here)?,
            };
        }
        Ok(here)
    }

    /// Accepting, returning and reaching the end all come to the same: no chain has another policy.
    fn base_chain(
        &mut self,
        site: ScenarioNetwork<'t>,
        flows: Weighted<'t, Flow>,
    ) -> Result<Weighted<'t, Flow>, TraceError> {
        let flows = flows.worked(Work { base_chains: 1, ..Work::default() });
        let exits = self.walk.chain(site, flows)?;
        self.ended.add_all(exits.ended)?;
        let mut passed = exits.fell;
        passed.add_all(exits.accepted)?;
        Ok(passed)
    }

    fn nat(
        &mut self,
        manip: Manip,
        sites: &[ScenarioNetwork<'t>],
        flows: Weighted<'t, Flow>,
    ) -> Result<Weighted<'t, Flow>, TraceError> {
        let (mut decided, mut open) = flows.split(|flow| flow.is_decided(manip));
        for site in sites {
            let (now, still_open) = self.base_chain(*site, open)?.split(|flow| flow.is_decided(manip));
            decided.add_all(now)?;
            open = still_open;
        }
        decided.add_all(open)?;
        let host = self.walk.host;
        decided.map(|flow| flow.translate(manip, host))
    }

    fn outcomes(self, delivered: Weighted<'t, Flow>) -> Result<Outcomes, TraceError> {
        let mut all = Weighted::default();
        for (flow, way) in delivered {
            let source = flow.translation.source;
            let fate = Fate::Delivered { to: flow.destination, source, mark: flow.mark };
            all.add((fate, flow.translation, flow.learned), way)?;
        }
        for ((flow, end), way) in self.ended {
            let fate = match end {
                End::Refused(refusal) => Fate::Refused(refusal),
                End::Dropped => Fate::Dropped,
            };
            all.add((fate, flow.translation, flow.learned), way)?;
        }
        let outcome = |((fate, translation, learned), way): (_, super::weighted::Way<'t>)| Outcome {
            fate,
            translation,
            learned,
            probability: way.probability,
            work: way.work,
            path: way.trail.steps(),
        };
        Ok(Outcomes(all.into_iter().map(outcome).collect()))
    }
}

/// Why the kernel does not believe that a packet came from elsewhere (RFC 1812 section 5.3.7,
/// RFC 4291 section 2.5.3). Only IPv4 rejects its own addresses as sources.
fn martian(packet: &Packet, flow: &Flow, host: &Host) -> Option<&'static str> {
    if flow.destination.ip().is_loopback() {
        return Some("a loopback destination from elsewhere");
    }
    let source = packet.source.ip();
    let own = if source.is_ipv4() { host.is_local(source) } else { source.is_loopback() };
    own.then_some("the node's own address as a source from elsewhere")
}
