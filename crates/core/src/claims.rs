//! Who answers on an address when several Services claim it.
//!
//! Kubernetes keeps cluster IPs and node ports apart, but anybody may write any
//! external IP into a Service, two load-balancer Services may share an address,
//! and a folder of manifests is checked by nobody. A kernel map has one entry per
//! address and port, so one claim must win, and always the same one, whatever the
//! order in which the objects arrive.
//!
//! The proxy itself claims the address and port by which it finds the API server. A Service that names these among its
//! external IPs would have the proxy's own connections, and never learn that it was deleted: nobody could tell the
//! proxy. A cluster IP or a load-balancer address may be the API server's own Service, and wins.
//!
//! The order: a cluster IP beats a load-balancer address beats the API server's address beats an external IP, so
//! that no Service can take another one's cluster IP by naming it; then the older
//! Service wins; then the smaller name. When the winner goes, the next takes over.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use crate::address::{IpFamily, Protocol};
use crate::event::{Service, ServicePortSpec};
use crate::name::{ObjectName, ServicePortName};
use crate::room::Room;

/// Where packets to a service port arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Frontend {
    /// An address of the Service's own.
    Vip(IpAddr, Protocol, u16),
    /// A port on the node's addresses.
    NodePort(Protocol, u16),
}

impl fmt::Display for Frontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Vip(ip, protocol, port) => write!(f, "{protocol} {}", SocketAddr::new(ip, port)),
            Self::NodePort(protocol, port) => write!(f, "{protocol} node port {port}"),
        }
    }
}

/// What a Service says an address is to it; the smaller kind wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClaimKind {
    /// Its cluster IP, given by the API server alone.
    ClusterIp,
    /// Its node port, given by the API server alone.
    NodePort,
    /// An address in its load-balancer status, written by a controller.
    LoadBalancerIp,
    /// Where the proxy itself finds the API server.
    ApiServer,
    /// One of its external IPs, written by its author.
    ExternalIp,
}

/// One service port's wish for one frontend. Smaller wins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    kind: ClaimKind,
    /// Nanoseconds since the epoch; Services without a creation time come last.
    created: u64,
    owner: ServicePortName,
}

/// All claims of one family.
#[derive(Debug, Default)]
pub struct Claims {
    /// The claim that counts, of each frontend that has any.
    winners: HashMap<Frontend, Claim>,
    /// The claims besides it, of the few frontends that have several.
    losers: HashMap<Frontend, BTreeSet<Claim>>,
}

impl Claims {
    /// Whether `owner` is the one that answers on `frontend`.
    pub fn is_owner(&self, frontend: &Frontend, owner: &ServicePortName) -> bool {
        self.owner(frontend) == Some(owner)
    }

    /// Whether nobody claims anything.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.winners.is_empty() && self.losers.is_empty()
    }

    /// Who answers on `frontend`.
    pub fn owner(&self, frontend: &Frontend) -> Option<&ServicePortName> {
        self.winners.get(frontend).map(|claim| &claim.owner)
    }

    /// Adds a claim. Returns the other service port that contends for the frontend
    /// and the result, if there is one.
    pub fn add(&mut self, frontend: Frontend, claim: Claim) -> Option<Contest> {
        let winner = match self.winners.entry(frontend) {
            Entry::Vacant(entry) => {
                entry.insert(claim);
                return None;
            }
            Entry::Occupied(entry) => entry.into_mut(),
        };
        let loser = if claim < *winner { std::mem::replace(winner, claim) } else { claim };
        let contest = Contest { frontend, winner: winner.owner.clone(), loser: loser.owner.clone() };
        self.losers.entry(frontend).or_default().insert(loser);
        (contest.winner != contest.loser).then_some(contest)
    }

    /// Takes one claim back. Returns the service port that now answers in its owner's place.
    pub fn remove(&mut self, frontend: &Frontend, claim: &Claim) -> Option<ServicePortName> {
        let Entry::Occupied(mut winner) = self.winners.entry(*frontend) else { return None };
        let Some(others) = self.losers.get_mut(frontend) else {
            if winner.get() == claim {
                winner.remove();
            }
            return None;
        };
        let next = if winner.get() == claim { others.pop_first() } else { None };
        let heir = next.as_ref().map(|next| next.owner.clone());
        match next {
            Some(next) => _ = winner.insert(next),
            None => _ = others.remove(claim),
        }
        if others.is_empty() {
            self.losers.remove(frontend);
        }
        heir
    }

    /// Makes room for so many claimed frontends in all.
    pub(crate) fn make_room(&mut self, in_all: usize) {
        self.winners.make_room(in_all);
    }
}

/// Two service ports want the same frontend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contest {
    /// What they both want.
    pub frontend: Frontend,
    /// Who answers on it.
    pub winner: ServicePortName,
    /// Who does not, as long as the winner is there.
    pub loser: ServicePortName,
}

/// The proxy's own claim to where it finds the API server, in the name of the Service that leads to every API server.
pub(crate) fn api_server_claim(socket: SocketAddr) -> (Frontend, Claim) {
    let service = ObjectName::new("default", "kubernetes");
    let owner = ServicePortName { service, port: "https".into(), protocol: Protocol::Tcp };
    let claim = Claim { kind: ClaimKind::ApiServer, created: 0, owner };
    (Frontend::Vip(socket.ip(), Protocol::Tcp, socket.port()), claim)
}

/// The ports of a Service. A manifest may list one twice; the first counts.
pub(crate) fn ports_of(service: &Service) -> impl Iterator<Item = (&ServicePortSpec, ServicePortName)> {
    let mut seen = HashSet::new();
    let is_only = service.ports.len() == 1;
    let ports = service.ports.iter();
    ports.filter(move |spec| is_only || seen.insert((&spec.name, spec.protocol))).map(|spec| {
        let (service, port) = (service.name.clone(), spec.name.clone());
        (spec, ServicePortName { service, port, protocol: spec.protocol })
    })
}

/// What each port of one Service claims in one family: the same addresses.
#[derive(Debug)]
pub(crate) struct Claimant {
    /// As in [`Claim`].
    created: u64,
    /// Each once, with its strongest kind.
    addresses: Vec<(IpAddr, ClaimKind)>,
}

impl Claimant {
    /// Nothing for a Service without a cluster IP of this family.
    pub(crate) fn new(service: &Service, family: IpFamily) -> Option<Self> {
        let cluster_ip = service.cluster_ips[family]?;
        let created = service
            .created
            .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok())
            .map_or(u64::MAX, |age| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX));
        let balanced = service.load_balancer_ips.iter().map(|ip| (*ip, ClaimKind::LoadBalancerIp));
        let external = service.external_ips.iter().map(|ip| (*ip, ClaimKind::ExternalIp));
        let mut addresses = vec![(cluster_ip, ClaimKind::ClusterIp)];
        addresses.extend(balanced.chain(external).filter(|(ip, _)| IpFamily::of(*ip) == family));
        if addresses.len() > 1 {
            // The kinds come strongest first, so an address named twice keeps its stronger claim.
            let mut seen = HashSet::with_capacity(addresses.len());
            addresses.retain(|(ip, _)| seen.insert(*ip));
        }
        Some(Self { created, addresses })
    }

    /// What one of the ports claims, each frontend once.
    pub(crate) fn frontends(&self, spec: &ServicePortSpec) -> impl Iterator<Item = (Frontend, ClaimKind)> {
        let (protocol, number) = (spec.protocol, spec.port);
        let vips = self.addresses.iter().map(move |(ip, kind)| (Frontend::Vip(*ip, protocol, number), *kind));
        let node_port = spec.node_port;
        vips.chain(node_port.map(|port| (Frontend::NodePort(protocol, port), ClaimKind::NodePort)))
    }

    fn claim(&self, kind: ClaimKind, owner: &ServicePortName) -> Claim {
        Claim { kind, created: self.created, owner: owner.clone() }
    }
}

/// All that `service` claims in `family`, each frontend of a port once.
pub(crate) fn claims_of(service: &Service, family: IpFamily) -> Vec<(Frontend, Claim)> {
    let Some(claimant) = Claimant::new(service, family) else { return Vec::new() };
    let mut claims = Vec::with_capacity(service.ports.len() * (claimant.addresses.len() + 1));
    for (spec, owner) in ports_of(service) {
        let of_port = claimant.frontends(spec);
        claims.extend(of_port.map(|(frontend, kind)| (frontend, claimant.claim(kind, &owner))));
    }
    claims
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRONTEND: Frontend = Frontend::NodePort(Protocol::Tcp, 30080);

    fn claim(kind: ClaimKind, created: u64, name: &str) -> Claim {
        let owner = ServicePortName {
            service: ObjectName::new("ns", name),
            port: "".into(),
            protocol: Protocol::Tcp,
        };
        Claim { kind, created, owner }
    }

    #[test]
    fn the_stronger_claim_wins_in_either_order() {
        use ClaimKind::{ClusterIp, ExternalIp, LoadBalancerIp};
        let cases = [
            ("a cluster IP beats an older external IP", claim(ClusterIp, 9, "b"), claim(ExternalIp, 1, "a")),
            (
                "a load balancer's beats an older external IP",
                claim(LoadBalancerIp, 9, "b"),
                claim(ExternalIp, 1, "a"),
            ),
            ("the older beats the younger", claim(ExternalIp, 1, "b"), claim(ExternalIp, 2, "a")),
            ("a known age beats an unknown one", claim(ExternalIp, 1, "b"), claim(ExternalIp, u64::MAX, "a")),
            ("of one age the smaller name wins", claim(ExternalIp, 1, "a"), claim(ExternalIp, 1, "b")),
        ];
        for (rule, winner, loser) in cases {
            for order in [[&winner, &loser], [&loser, &winner]] {
                let mut claims = Claims::default();
                assert_eq!(claims.add(FRONTEND, order[0].clone()), None);
                let contest = claims.add(FRONTEND, order[1].clone()).expect(rule);
                assert_eq!((&contest.winner, &contest.loser), (&winner.owner, &loser.owner), "{rule}");
                assert!(claims.is_owner(&FRONTEND, &winner.owner), "{rule}");
            }
        }
    }

    #[test]
    fn the_next_claim_takes_over_when_the_winner_goes() {
        let [a, b, c] = ["a", "b", "c"].map(|name| claim(ClaimKind::ExternalIp, 1, name));
        let mut claims = Claims::default();
        for claim in [&b, &c, &a] {
            claims.add(FRONTEND, claim.clone());
        }
        assert_eq!(claims.remove(&FRONTEND, &b), None, "a still answers");
        assert_eq!(claims.remove(&FRONTEND, &a), Some(c.owner.clone()));
        assert_eq!(claims.remove(&FRONTEND, &c), None);
        assert_eq!(claims.owner(&FRONTEND), None);
    }
}
