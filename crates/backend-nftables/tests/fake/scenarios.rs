//! The scenario table on pretended tables: every packet traced, every draw tried.
//!
//! What real packets can only sample is exact here: the set of endpoints, each as likely as any other,
//! and whether a packet was masqueraded, also where the receiver could not tell.

use std::collections::BTreeSet;
use std::net::IpAddr;

use portolan_nft::{Element, ElementValue, Transaction};
use portolan_testkit::every_scenario;
use portolan_testkit::scenario::{
    Check, Expected, Found, HOST, LeftOut, Memory, Need, Network, Packet, ReturningClients, Scenario, Seen,
    Sender, Step, Target, all, named, node_addresses, pod_addresses,
};
use portolan_testkit::trace::{
    self, Fate, Host, Learned, Novelty, Outcome, Outcomes, Probability, Source, Tracer,
};

use super::*;

/// No time passes in pretended tables.
const UNMET: [Need; 1] = [Need::RealTime];

/// One of those that a program gets from its kernel.
const SOURCE_PORT: u16 = 40_000;

/// A node that a scenario is played on.
struct Stage {
    node: Node,
    host: Host,
    addresses: Vec<IpAddr>,
    memory: Memory,
}

impl Stage {
    fn new(scenario: &Scenario) -> Self {
        let addresses = node_addresses();
        let mut host = addresses.iter().fold(Host::new("world"), |host, ip| host.with_address(*ip));
        for network in ["192.0.2.0/24", "2001:db8:2::/64"] {
            host = host.with_network(network.parse().unwrap(), "client");
        }
        for (number, ip) in pod_addresses() {
            let cable = match scenario.network {
                Network::Routed => format!("pod{number}"),
                Network::Bridged => "cni0".into(),
            };
            host = host.with_network(ip.into(), &cable);
        }
        let node = Node::new(scenario.config.clone(), []);
        Self { node, host, addresses, memory: Memory::default() }
    }

    /// Takes in what happens.
    fn follow(&mut self, step: &Step) {
        for address in &step.node_addresses {
            self.host = self.host.clone().with_address(*address);
            self.addresses.push(*address);
        }
        self.node.handle(step.events.iter().cloned()).apply_all();
    }

    /// What is not as it should be.
    fn hold(&mut self, check: &Check) -> Vec<String> {
        let packets = check.packets().filter(|packet| !check.lacks(packet, &UNMET));
        let told = |holds: bool, what: String| if holds { Vec::new() } else { vec![what] };
        match check {
            Check::Each(_, expected) => {
                let judged = packets.map(|packet| judge(&packet, expected, &self.trace(&packet)));
                judged.filter_map(Result::err).collect()
            }
            Check::Stay(comers) => packets.filter_map(|packet| self.come(comers, &packet).err()).collect(),
            Check::SomeMoved(_) => vec!["clients are forgotten with time only, and none passes here".into()],
            Check::Spread(memory) => {
                told(self.memory.is_spread(memory), format!("all have the same endpoint in {memory}"))
            }
            Check::Apart(one, other) => {
                told(self.memory.are_apart(one, other), format!("{one} and {other} agree on every client"))
            }
        }
    }

    fn trace(&self, packet: &Packet) -> Outcomes {
        let to = packet.socket();
        let from = (packet.from.source(to.ip(), &self.addresses), SOURCE_PORT).into();
        let traced = match packet.from {
            Sender::Client(_) | Sender::Pod(_) => trace::Packet::arriving(packet.protocol, from, to),
            Sender::Node | Sender::NodeBoundTo(_) => trace::Packet::sent(packet.protocol, from, to),
        };
        let outcomes = Tracer::new(&self.node.tables(), &self.host).trace(&traced);
        outcomes.unwrap_or_else(|error| panic!("{packet}: {error}"))
    }

    /// A client comes once more: to the endpoint that it had, or to any, each as likely as the others.
    /// One of those is then its own, and stays in the tables.
    fn come(&mut self, comers: &ReturningClients, packet: &Packet) -> Result<(), String> {
        let outcomes = self.trace(packet);
        let had = self.memory.had(comers, packet);
        let among = had.map_or_else(|| comers.among.clone(), |had| BTreeSet::from([had]));
        let reached: BTreeSet<_> = outcomes.endpoints().into_iter().filter_map(Target::at).collect();
        if reached != among || !are_equally_likely(&among, &outcomes) {
            let names: Vec<_> = among.iter().map(ToString::to_string).collect();
            let wanted = format!("come to {} with equal chances", names.join(" or "));
            return Err(format!("{packet}\n    should: {wanted}\n{outcomes}"));
        }
        let chosen = had.unwrap_or_else(|| choice(&among, packet));
        let outcome = outcomes.iter().find(|outcome| endpoint(outcome) == Some(chosen)).unwrap();
        self.learn(outcome);
        self.memory.has(comers, packet, chosen);
        Ok(())
    }

    /// Puts into the tables what a packet would have put there.
    fn learn(&self, outcome: &Outcome) {
        for learned in outcome.learned.iter().filter(|learned| learned.novelty == Novelty::Added) {
            let mut tables = self.node.tables();
            let set = tables.table(&learned.table).and_then(|table| table.set(&learned.set)).unwrap();
            let set = Arc::clone(set.set());
            let mut transaction = Transaction::new(learned.table.clone());
            transaction.add_elements(&set, [element(learned)]);
            tables.commit(&transaction).unwrap();
        }
    }
}

fn element(learned: &Learned) -> Element {
    let value = learned.data.map_or(ElementValue::None, ElementValue::Data);
    Element { value, expires: learned.lifetime, ..Element::key(learned.key) }
}

fn endpoint(outcome: &Outcome) -> Option<Target> {
    outcome.endpoint().filter(|_| outcome.is_translated()).and_then(Target::at)
}

/// Which endpoint a client draws: different ones for clients next to each other, and for one client over
/// different families and to different ports.
fn choice(among: &BTreeSet<Target>, packet: &Packet) -> Target {
    let client = match packet.from {
        Sender::Client(number) | Sender::Pod(number) => usize::from(number),
        Sender::Node | Sender::NodeBoundTo(_) => 0,
    };
    let way = usize::from(packet.to.port) + usize::from(packet.protocol.number());
    let draw = client + way + usize::from(packet.family == IpFamily::V6);
    *among.iter().nth(draw % among.len()).unwrap()
}

/// Compares everything that may become of a packet with what must.
fn judge(packet: &Packet, expected: &Expected, outcomes: &Outcomes) -> Result<(), String> {
    let mut found = Found::default();
    for outcome in outcomes {
        note(packet, expected, outcome, &mut found);
    }
    expected.judge(packet, &found).map_err(|mismatch| format!("{mismatch}\n{outcomes}"))?;
    match expected {
        Expected::Reaches { endpoints, .. } if !are_equally_likely(endpoints, outcomes) => {
            Err(format!("{packet}\n    should reach all with equal chances\n{outcomes}"))
        }
        _ => Ok(()),
    }
}

fn note(packet: &Packet, expected: &Expected, outcome: &Outcome, found: &mut Found) {
    let Fate::Delivered { to, source, mark } = outcome.fate else {
        *(if outcome.fate == Fate::Dropped { &mut found.silent } else { &mut found.refused }) = true;
        return;
    };
    let is_masqueraded = source == Source::Masqueraded;
    // A mark is taken off where packets leave the node, and serves nothing on those that do not.
    if mark != 0 && endpoint(outcome).is_none_or(|target| target.pod != HOST) {
        found.strange.insert(format!("keep the mark {mark:#x}"));
    }
    match endpoint(outcome) {
        Some(target) => {
            let is_hidden = is_masqueraded || packet.from.is_node();
            found.arrivals.insert((target, if is_hidden { Seen::TheNode } else { Seen::Themselves }));
            if expected.hides(packet.from, target).is_some_and(|hides| hides != is_masqueraded) {
                let what = if is_masqueraded { "masqueraded" } else { "not masqueraded" };
                found.strange.insert(format!("reach {target} {what}"));
            }
        }
        None if is_masqueraded || outcome.is_translated() => {
            found.strange.insert(format!("go to {to} as another"));
        }
        None => found.untouched = true,
    }
}

fn are_equally_likely(endpoints: &BTreeSet<Target>, outcomes: &Outcomes) -> bool {
    let share = Probability::of(1, endpoints.len() as u64);
    endpoints
        .iter()
        .all(|target| outcomes.probability(|outcome| endpoint(outcome) == Some(*target)).ok() == share)
}

/// Plays a scenario, or as much of it as comes before time must pass.
fn play(name: &str) {
    let scenario = named(name).scenario;
    let mut stage = Stage::new(&scenario);
    let steps = scenario.steps.iter().take_while(|step| step.wait.is_zero());
    for (number, step) in steps.enumerate() {
        stage.follow(step);
        let failures: Vec<_> = step.checks.iter().flat_map(|check| stage.hold(check)).collect();
        assert!(failures.is_empty(), "{name}, step {}:\n  {}", number + 1, failures.join("\n  "));
        stage.node.assert_serves_the_plan();
        assert_eq!(stage.node.apply_all(), 0, "{name}, step {}: the same plan once more", number + 1);
    }
}

macro_rules! play_each {
    ($($group:ident { $($scenario:ident)* })*) => {$(
        mod $group {
            $(
                #[test]
                fn $scenario() {
                    super::play(concat!(stringify!($group), "::", stringify!($scenario)));
                }
            )*
        }
    )*};
}

every_scenario!(play_each);

#[test]
fn all_scenarios_run_except_those_with_a_pause() {
    let left_out = all().into_iter().filter(|named| named.scenario.left_out(&UNMET) != LeftOut::Nothing);
    let names: Vec<_> = left_out.map(|named| named.name).collect();
    assert_eq!(
        names,
        [
            "affinity::a_client_is_forgotten_when_its_time_is_over",
            "affinity::every_connection_starts_the_time_anew",
            "affinity::a_changed_time_is_followed",
        ]
    );
}
