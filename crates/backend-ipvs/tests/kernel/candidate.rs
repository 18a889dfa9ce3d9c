//! The mode as the kit for backends knows it: virtual servers, the device, sets and rules, read from the kernel.

use std::fmt::Write as _;
use std::fs;

use portolan_backend_ipvs::{IpvsFactory, Options};
use portolan_core::{BackendFactory, IpFamily};
use portolan_ipvs::{DEVICE, Links, Servers, Set, Sets};
use portolan_testkit::conformance::{Candidate, Conformance};
use portolan_testkit::netns::{Namespace, Program};
use portolan_testkit::scenario::Need;
use portolan_testkit::upstream::rules_by_chain;

/// Nodes served with these options.
#[derive(Default)]
pub(crate) struct Ipvs(pub(crate) Options);

impl Candidate for Ipvs {
    fn factory(&self) -> Box<dyn BackendFactory> {
        Box::new(IpvsFactory::new(self.0.clone()))
    }

    fn holds(&self, family: IpFamily) -> String {
        [servers(family), addresses(family), members(family), rules(family)].concat()
    }
}

/// Virtual servers and the endpoints that get new connections; others stay until their last has ended.
fn servers(family: IpFamily) -> String {
    let Some(mut kernel) = Servers::load().unwrap() else { return String::new() };
    let mut servers = kernel.list(family).unwrap();
    servers.sort_by_key(|server| server.key);
    let mut text = String::new();
    for server in servers {
        writeln!(text, "{server:?}").unwrap();
        let mut endpoints = kernel.destinations(&server.key).unwrap();
        endpoints.retain(|endpoint| endpoint.weight > 0);
        endpoints.sort_by_key(|endpoint| endpoint.socket);
        for endpoint in endpoints {
            writeln!(text, "  {} weight {}", endpoint.socket, endpoint.weight).unwrap();
        }
    }
    text
}

/// The device with its addresses, but for those that the kernel gives to every device.
fn addresses(family: IpFamily) -> String {
    let mut links = Links::open().unwrap();
    let Some(device) = links.find(DEVICE).unwrap() else { return String::new() };
    let all = links.addresses(family).unwrap().into_iter();
    let ours = all.filter(|address| address.interface == device.index && address.is_lasting());
    let mut ips: Vec<_> = ours.map(|address| address.address).collect();
    ips.sort_unstable();
    format!("{DEVICE}: {ips:?}\n")
}

/// The members of all sets that are there.
fn members(family: IpFamily) -> String {
    let mut kernel = Sets::load().unwrap();
    let mut text = String::new();
    for set in Set::ALL {
        if let Some(members) = kernel.members(*set, family).unwrap() {
            let mut members: Vec<_> = members.into_iter().collect();
            members.sort_unstable();
            writeln!(text, "{}: {members:?}", set.name(family)).unwrap();
        }
    }
    text
}

/// All rules.
fn rules(family: IpFamily) -> String {
    let save = if family == IpFamily::V4 { "iptables-save" } else { "ip6tables-save" };
    let saved = Program::new(save).run().unwrap();
    let told =
        |((table, chain), rules): (_, Vec<&str>)| format!("{table} {chain}\n  {}\n", rules.join("\n  "));
    rules_by_chain(&saved).into_iter().map(told).collect()
}

/// The kernel's own list of virtual servers and their endpoints.
pub(crate) fn listed(node: &Namespace) -> String {
    node.run(|| fs::read_to_string("/proc/thread-self/net/ip_vs").unwrap()).unwrap()
}

/// As with kube-proxy's.
const REMEMBERED: &str =
    "the kernel forgets no client of which it remembers a connection, and that is minutes";

const BY_CHANCE: &str =
    "round robin deals endpoints out in the same order everywhere, so that clients agree by chance";

/// What this mode does in its own way, as kube-proxy's does, besides what a level of tests cannot send.
pub(crate) fn kit() -> Conformance<Ipvs> {
    Conformance::new(|_node| Ipvs::default())
        .unmet([
            Need::DropWithoutLocalEndpoints,
            Need::ServiceCidrs,
            Need::SharedAffinity,
            Need::LocalShortCut,
            Need::OpenExternalPorts,
            Need::OuterSource,
        ])
        .differing("affinity::a_client_is_forgotten_when_its_time_is_over", REMEMBERED)
        .differing("affinity::a_changed_time_is_followed", REMEMBERED)
        .differing("affinity::families_do_not_influence_each_other", BY_CHANCE)
        .differing("affinity::ports_of_a_service_do_not_influence_each_other", BY_CHANCE)
}
