//! What connection tracking remembers while plans come and go.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use portolan_core::address::{IpFamily, Protocol};
use portolan_core::changes::ChangeSet;
use portolan_core::event::{Change, Event};
use portolan_core::flows::{Flow, FlowCheck, StaleFlow};
use portolan_core::plan::{Endpoint, NodePlan, ServicePort};
use portolan_core::{NodeConfig, State};
use portolan_testkit::objects::{empty_lists, ip, service, slice};
use portolan_testkit::world;
use proptest::prelude::*;

/// Events about UDP alone, each with whether the plan comes into force after it.
pub(crate) fn steps() -> impl Strategy<Value = Vec<(Event, bool)>> {
    let event = world::event().prop_map(only_udp);
    proptest::collection::vec((event, prop::bool::weighted(0.6)), 1..40)
}

/// What happens while searches for stale flows take their time.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Event(Box<Event>),
    /// The plan comes into force.
    Apply,
    /// Applying it fails, so that nothing is known of the kernel.
    Fail,
    /// A search begins if it may.
    Search,
    /// The kernel shows the search what there is.
    List,
    /// So many of the flows found are judged again and removed.
    Remove(usize),
}

pub(crate) fn slow_steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => world::event().prop_map(|event| Step::Event(Box::new(only_udp(event)))),
        5 => Just(Step::Apply),
        1 => Just(Step::Fail),
        3 => Just(Step::Search),
        3 => Just(Step::List),
        4 => (1_usize..20).prop_map(Step::Remove),
    ];
    proptest::collection::vec(step, 1..80)
}

fn only_udp(mut event: Event) -> Event {
    match &mut event {
        Event::Service(Change::Applied(service)) => udp_ports(service),
        Event::Service(Change::Replaced(services)) => services.iter_mut().for_each(udp_ports),
        Event::EndpointSlice(Change::Applied(slice)) => udp_slice(slice),
        Event::EndpointSlice(Change::Replaced(slices)) => slices.iter_mut().for_each(udp_slice),
        _ => {}
    }
    event
}

fn udp_ports(service: &mut portolan_core::event::Service) {
    service.ports.iter_mut().for_each(|port| port.protocol = Protocol::Udp);
}

fn udp_slice(slice: &mut portolan_core::event::EndpointSlice) {
    slice.ports.iter_mut().for_each(|port| port.protocol = Protocol::Udp);
}

/// The flows of one family.
#[derive(Debug, Default)]
pub(crate) struct Tracked(HashSet<Flow>);

impl Tracked {
    /// Brings `plan` into force: stale flows go, and clients begin every new one that it allows.
    pub(crate) fn follow(&mut self, plan: &NodePlan, changes: &ChangeSet) {
        let check = FlowCheck::after(plan, changes);
        let complete = FlowCheck::after(plan, &ChangeSet::complete());
        let fresh: Vec<Flow> = allowed(plan).collect();
        for flow in &fresh {
            assert!(!check.is_stale(flow), "{flow:?} follows the plan");
            assert!(!complete.is_stale(flow), "{flow:?} agrees with the plan according to the full check");
        }
        for flow in self.0.iter().filter(|flow| check.is_stale(flow)) {
            assert!(is_asked_for(&check, flow), "{flow:?} is stale and would not be found");
            let is_unowned = owner(plan, flow.destination).is_none();
            assert!(is_unowned || complete.is_stale(flow), "{flow:?} was taken for stale");
        }
        for flow in anothers(plan.family) {
            let is_taken = |check: &FlowCheck| check.is_stale(&flow) && !check.is_by_node_port(&flow);
            assert!(!is_taken(&check) && !is_taken(&complete), "{flow:?} is another proxy's");
        }
        self.0.retain(|flow| !check.is_stale(flow));
        for flow in self.0.iter().filter(|flow| complete.is_stale(flow)) {
            // Without endpoints there is nothing that this flow could be translated to instead.
            let is_harmless = flow.reply_source == flow.destination
                && owner(plan, flow.destination)
                    .is_some_and(|port| endpoints(port, flow.destination).is_empty());
            assert!(is_harmless, "{flow:?} contradicts the plan and was left");
        }
        assert_unowned_are_untouched(plan, &self.0);
        self.0.extend(fresh);
        self.0.extend(untouched(plan));
    }
}

/// A translated flow was ours, and went with the Service that had its address.
fn assert_unowned_are_untouched(plan: &NodePlan, flows: &HashSet<Flow>) {
    for flow in flows.iter().filter(|flow| owner(plan, flow.destination).is_none()) {
        assert_eq!(
            flow.reply_source, flow.destination,
            "{flow:?} was left though no Service has its address"
        );
    }
}

/// The flows of one family, and a cleaner that takes its time, in the way of the sync loop.
#[derive(Debug, Default)]
pub(crate) struct Cleaned {
    tracked: HashSet<Flow>,
    asked: FlowCheck,
    searching: Option<FlowCheck>,
    found: Vec<StaleFlow>,
}

impl Cleaned {
    pub(crate) fn take(&mut self, step: &Step, state: &mut State, family: IpFamily) {
        let is_programmed = state.changes(family).is_empty();
        match step {
            Step::Apply => {
                self.asked.merge(FlowCheck::after(state.plan(family), state.changes(family)));
                state.committed(family);
                self.tracked.extend(allowed(state.plan(family)));
                self.tracked.extend(untouched(state.plan(family)));
            }
            Step::Fail => state.forget_applied(family),
            Step::Search if is_programmed && self.is_idle() => {
                let mut check = std::mem::take(&mut self.asked);
                check.renew(state, family);
                self.searching = Some(check);
            }
            Step::List => {
                let Some(check) = self.searching.take() else { return };
                for flow in self.tracked.iter().filter(|flow| check.is_stale(flow)) {
                    let is_by_node_port = check.is_by_node_port(flow);
                    self.found.push(StaleFlow { flow: *flow, is_by_node_port, handle: Box::default() });
                }
            }
            Step::Remove(count) if is_programmed => self.remove(*count, state, family),
            Step::Event(_) | Step::Search | Step::Remove(_) => {}
        }
    }

    fn is_idle(&self) -> bool {
        self.searching.is_none() && self.found.is_empty()
    }

    fn remove(&mut self, count: usize, state: &State, family: IpFamily) {
        let rest = self.found.len().saturating_sub(count);
        for stale in self.found.split_off(rest) {
            if !stale.is_wanted(state, family) {
                let is_new = allowed(state.plan(family)).any(|flow| flow == stale.flow);
                assert!(!is_new, "{:?} follows the plan", stale.flow);
                self.tracked.remove(&stale.flow);
            }
        }
    }

    /// What must hold once the plan is programmed and the last search is over.
    pub(crate) fn settle(&mut self, state: &mut State, family: IpFamily) {
        self.take(&Step::Apply, state, family);
        for _ in 0..2 {
            for step in [Step::List, Step::Remove(usize::MAX), Step::Search] {
                self.take(&step, state, family);
            }
        }
        let plan = state.plan(family);
        assert_unowned_are_untouched(plan, &self.tracked);
        let complete = FlowCheck::after(plan, &ChangeSet::complete());
        for flow in self.tracked.iter().filter(|flow| complete.is_stale(flow)) {
            let is_untouched = flow.reply_source == flow.destination;
            let is_served = owner(plan, flow.destination)
                .is_some_and(|port| !endpoints(port, flow.destination).is_empty());
            assert!(is_untouched && !is_served, "{flow:?} contradicts the plan and was left");
        }
        for flow in allowed(plan) {
            assert!(self.tracked.contains(&flow), "{flow:?} follows the plan and was removed");
        }
    }
}

/// Plays steps of one family that come into force one by one, and none of which leaves a stale flow.
fn follow(steps: impl IntoIterator<Item = Vec<Event>>) {
    let mut state = State::new(NodeConfig::new("n1"));
    for event in empty_lists() {
        state.handle(event);
    }
    let mut tracked = Tracked::default();
    for events in steps {
        for event in events {
            state.handle(event);
        }
        state.prepare();
        tracked.follow(state.plan(IpFamily::V6), state.changes(IpFamily::V6));
        state.committed(IpFamily::V6);
    }
}

#[test]
fn cluster_ip_whose_local_endpoint_moved_passes_no_flow_to_its_next_owner() {
    let pod = |node| {
        let slice = slice("default/a-1", "a").port("", Protocol::Udp, 8080).family(IpFamily::V6);
        slice.on(node, "fd00:10:244::6").applied()
    };
    let old = service("default/a", "fd00:10:96::1").port("", Protocol::Udp, 82);
    let old = old.load_balancer_ip("2001:db8:113::1").internal_local().applied();
    let new = service("default/b", "fd00:10:96::1").port("", Protocol::Udp, 82).created(0).applied();
    follow([vec![pod("n1"), old], vec![pod("n2")], vec![new]]);
}

#[test]
fn internal_local_cluster_ip_without_local_endpoint_passes_no_flow_to_its_next_owner() {
    let slice = slice("shop/c-1", "c").port("", Protocol::Udp, 8080).family(IpFamily::V6);
    let pod = slice.on("n2", "fd00:10:244::1").applied();
    let old = || service("shop/c", "fd00:10:96::4").port("", Protocol::Udp, 81);
    let new = service("default/a", "fd00:10:96::4").port("", Protocol::Udp, 81).applied();
    follow([vec![pod, old().applied()], vec![old().node_port(30080).internal_local().applied()], vec![new]]);
}

/// Whether a cleaner that searches only the named destinations would find the flow.
fn is_asked_for(check: &FlowCheck, flow: &Flow) -> bool {
    let meets = |ip: Option<IpAddr>, port| {
        ip.is_none_or(|ip| ip == flow.destination.ip()) && port == flow.destination.port()
    };
    check.destinations().any(|asked| meets(asked.ip, asked.port))
}

/// Flows that clients would have after this plan: one from outside and one that is masqueraded
/// for each endpoint of each address.
fn allowed(plan: &NodePlan) -> impl Iterator<Item = Flow> {
    destinations(plan.family).filter_map(|to| Some((to, owner(plan, to)?))).flat_map(move |(to, port)| {
        let translated = endpoints(port, to).into_iter().flat_map(move |endpoint| {
            let family = plan.family;
            [client(family), node_ip(family)]
                .map(|seen_as| flow(family, to, endpoint.socket_address(), seen_as))
        });
        translated.collect::<Vec<_>>()
    })
}

/// Flows to addresses that are no Service's: nothing translates them.
fn untouched(plan: &NodePlan) -> impl Iterator<Item = Flow> {
    let free = destinations(plan.family).filter(|to| owner(plan, *to).is_none());
    free.map(|to| flow(plan.family, to, to, client(plan.family)))
}

/// Flows of a Service that another proxy serves, so that the random world does not have it: its cluster IP
/// lies in the ranges that the world's ServiceCIDRs may have, its endpoints may be the world's own.
fn anothers(family: IpFamily) -> impl Iterator<Item = Flow> {
    let (vip, pods) = match family {
        IpFamily::V4 => ("10.96.0.9", ["10.244.0.1", "10.244.9.9"]),
        IpFamily::V6 => ("fd00:10:96::9", ["fd00:10:244::1", "fd00:10:244::9:9"]),
    };
    // The last are numbers of node ports as well: of these, only the destination address decides whether they are ours.
    let ports = (80..83).chain(30080..30083);
    let to = ports.map(move |port| SocketAddr::new(ip(vip), port));
    to.flat_map(move |to| pods.map(|pod| flow(family, to, SocketAddr::new(ip(pod), 8080), client(family))))
}

fn flow(family: IpFamily, to: SocketAddr, answers: SocketAddr, seen_as: IpAddr) -> Flow {
    Flow {
        source: SocketAddr::new(client(family), 40_000),
        destination: to,
        reply_source: answers,
        reply_destination: SocketAddr::new(seen_as, 40_000),
    }
}

/// Every destination that a Service of the random world may have.
fn destinations(family: IpFamily) -> impl Iterator<Item = SocketAddr> {
    let (inside, outside) = match family {
        IpFamily::V4 => ("10.96.0.", "203.0.113."),
        IpFamily::V6 => ("fd00:10:96::", "2001:db8:113::"),
    };
    let vips = [(inside, 6), (outside, 4)].into_iter().flat_map(|(prefix, end)| {
        (1..end).flat_map(move |last| {
            (80..83).map(move |port| SocketAddr::new(ip(&format!("{prefix}{last}")), port))
        })
    });
    vips.chain((30080..30083).map(move |port| SocketAddr::new(node_ip(family), port)))
}

fn client(family: IpFamily) -> IpAddr {
    ip(if family == IpFamily::V4 { "198.51.100.1" } else { "2001:db8:51::1" })
}

fn node_ip(family: IpFamily) -> IpAddr {
    ip(if family == IpFamily::V4 { "192.0.2.1" } else { "2001:db8:2::1" })
}

/// The service port that answers at `to`.
fn owner(plan: &NodePlan, to: SocketAddr) -> Option<&ServicePort> {
    plan.service_ports.values().map(AsRef::as_ref).find(|port| {
        if to.ip() == node_ip(plan.family) {
            return port.node_port == Some(to.port());
        }
        let mut vips = port.cluster_ip.into_iter().chain(port.external_addresses());
        port.port == to.port() && vips.any(|vip| vip == to.ip())
    })
}

/// The endpoints that new flows to `to`, an address of `port`, may have from any client.
fn endpoints(port: &ServicePort, to: SocketAddr) -> Vec<Endpoint> {
    if port.cluster_ip == Some(to.ip()) {
        return port.internal_endpoints().to_vec();
    }
    let mut all = [&port.cluster_endpoints[..], &port.external_endpoints()[..]].concat();
    all.sort_unstable();
    all.dedup();
    all
}
