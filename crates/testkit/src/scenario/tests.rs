use std::collections::BTreeSet;

use portolan_core::Protocol::{Sctp, Tcp, Udp};
use portolan_core::{IpFamily, State};

use super::*;

fn packet(from: Sender) -> Packet {
    Packet { from, to: cluster_ip(WEB), protocol: Tcp, family: IpFamily::V4 }
}

fn reaches(pods: &[u8], seen: Seen) -> Expected {
    let endpoints = pods.iter().map(|pod| Target { pod: *pod, port: POD_PORT }).collect();
    Expected::Reaches { endpoints, seen }
}

fn found(arrivals: &[(u8, Seen)]) -> Found {
    let arrival = |(pod, seen): &(u8, Seen)| (Target { pod: *pod, port: POD_PORT }, *seen);
    Found { arrivals: arrivals.iter().map(arrival).collect(), ..Found::default() }
}

#[test]
fn names_are_unique_and_every_scenario_asks_something() {
    let mut names = BTreeSet::new();
    for Named { name, scenario } in all() {
        assert!(names.insert(name), "{name} twice");
        for step in &scenario.steps {
            assert!(!step.checks.is_empty(), "{name} has a step that nothing is asked after");
        }
        let packets = scenario.steps.iter().flat_map(|step| &step.checks).flat_map(Check::packets);
        assert!(packets.count() > 0, "{name} sends nothing");
    }
}

#[test]
fn a_plan_can_be_made_of_every_step() {
    for Named { name, scenario } in all() {
        let mut state = State::new(scenario.config.clone());
        for step in &scenario.steps {
            step.events.iter().cloned().for_each(|event| state.handle(event));
            state.prepare();
        }
        assert_eq!(state.take_conflicts(), [], "{name}");
    }
}

#[test]
fn objects_after_an_expectation_begin_a_step() {
    let scenario = Scenario::new()
        .given(web())
        .given(pods("web", [here(1)]))
        .expect(from([CLIENT]).to(everywhere()).reaches([1]).as_the_node())
        .given(gone("web"))
        .expect(from([CLIENT]).to(everywhere()).passes_untouched());
    let events: Vec<_> = scenario.steps.iter().map(|step| step.events.len()).collect();
    assert_eq!(events, [3, 1]);
}

#[test]
fn every_endpoint_must_be_met_and_no_other() {
    use Seen::{TheNode, Themselves};
    let expected = reaches(&[1, 2], Themselves);
    let judge = |arrivals: &[(u8, Seen)]| expected.judge(&packet(CLIENT), &found(arrivals)).is_ok();
    assert!(judge(&[(1, Themselves), (2, Themselves)]));
    assert!(!judge(&[(1, Themselves)]), "one is missing");
    assert!(!judge(&[(1, Themselves), (2, Themselves), (3, Themselves)]), "one is too many");
    assert!(!judge(&[(1, Themselves), (2, TheNode)]), "one is shown the node");
    assert!(!judge(&[(1, Themselves), (1, TheNode), (2, Themselves)]), "one is shown both");
}

#[test]
fn a_packet_that_is_lost_now_and_then_is_a_mismatch() {
    let mut sometimes = found(&[(1, Seen::TheNode)]);
    sometimes.silent = true;
    let error = reaches(&[1], Seen::TheNode).judge(&packet(CLIENT), &sometimes).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tcp from client to cluster IP 10.96.0.80:80\n    \
         should: reach pod1:8080 as the node\n    \
         did:    reach pod1:8080 as the node, vanish"
    );
}

#[test]
fn a_pod_that_reaches_itself_must_see_the_node() {
    use Seen::{TheNode, Themselves};
    let expected = reaches(&[1, 2], Themselves);
    assert_eq!(expected.judge(&packet(Sender::Pod(1)), &found(&[(1, TheNode), (2, Themselves)])), Ok(()));
    assert!(expected.judge(&packet(Sender::Pod(1)), &found(&[(1, Themselves), (2, Themselves)])).is_err());
}

#[test]
fn to_a_receiver_a_program_on_the_node_is_the_node() {
    let expected = reaches(&[1], Seen::Themselves);
    assert_eq!(expected.judge(&packet(NODE_ITSELF), &found(&[(1, Seen::TheNode)])), Ok(()));
    let hides = expected.hides(NODE_ITSELF, Target { pod: 1, port: POD_PORT });
    assert_eq!(hides, Some(false), "but nothing masqueraded it");
}

#[test]
fn refused_dropped_and_untouched_are_three_things() {
    let fates = [Expected::IsRefused, Expected::IsDropped, Expected::PassesUntouched];
    let findings = [
        Found { refused: true, ..Found::default() },
        Found { silent: true, ..Found::default() },
        Found { untouched: true, ..Found::default() },
    ];
    for (i, expected) in fates.iter().enumerate() {
        for (j, found) in findings.iter().enumerate() {
            assert_eq!(expected.judge(&packet(POD), found).is_ok(), i == j, "{expected:?} {found:?}");
        }
    }
}

#[test]
fn what_is_not_met_leaves_out_packets_or_everything() {
    let traffic = || from([CLIENT, POD]).to([cluster_ip(WEB)]);
    let scenario = Scenario::new().expect(traffic().reaches([1]).as_themselves());
    assert_eq!(scenario.left_out(&[]), LeftOut::Nothing);
    assert_eq!(scenario.left_out(&[Need::Sctp]), LeftOut::Packets(4), "two senders, two families");
    assert_eq!(scenario.left_out(&[Need::ClientAddress]), LeftOut::Packets(12));
    assert_eq!(scenario.bridged().left_out(&[Need::Bridge]), LeftOut::Everything);
    let hidden = Scenario::new().expect(traffic().by([Udp]).reaches([1]).as_the_node());
    assert_eq!(hidden.left_out(&[Need::Sctp, Need::ClientAddress]), LeftOut::Nothing);
    let refused = Scenario::new().expect(from([CLIENT, NODE_ITSELF]).to(everywhere()).by([Udp]).is_refused());
    assert_eq!(
        refused.left_out(&[Need::RefusalsToTheNode]),
        LeftOut::Packets(4),
        "the node's to two addresses, in two families"
    );
    let waiting = hidden.after(std::time::Duration::from_secs(1));
    assert_eq!(waiting.left_out(&[Need::RealTime]), LeftOut::Everything);
}

#[test]
fn a_memory_holds_as_long_as_its_endpoint_is_allowed() {
    let traffic = || from([Sender::Client(1)]).to([cluster_ip(WEB)]).by([Tcp, Sctp]).over(IpFamily::V4);
    let (pod1, pod2) = (Target { pod: 1, port: POD_PORT }, Target { pod: 2, port: POD_PORT });
    let both = traffic().stays("a", [1, 2]);
    let second = traffic().stays("a", [2]);
    let packet = packet(Sender::Client(1));
    let mut memory = Memory::default();
    assert_eq!(memory.has(&both, &packet, pod1), None);
    assert_eq!((memory.had(&both, &packet), memory.had(&second, &packet)), (Some(pod1), None));
    assert_eq!(memory.has(&second, &packet, pod2), Some(pod1));
    assert!(!memory.is_spread("a"), "one client has one endpoint");
    let sctp = Packet { protocol: Sctp, ..packet };
    assert_eq!(memory.had(&both, &sctp), None, "another protocol is another memory");
    memory.has(&both, &sctp, pod1);
    assert!(memory.is_spread("a"));
    let other = traffic().stays("b", [1, 2]);
    memory.has(&other, &packet, pod2);
    assert!(!memory.are_apart("a", "b"), "not the same comers");
    memory.has(&other, &sctp, pod2);
    assert!(memory.are_apart("a", "b"));
}

#[test]
fn routing_chooses_the_source_of_what_the_node_sends() {
    let addresses = packet::node_addresses();
    let source = |to: &str| NODE_ITSELF.source(to.parse().unwrap(), &addresses).to_string();
    assert_eq!(source("10.96.0.80"), "198.51.100.1");
    assert_eq!(source("192.0.2.1"), "192.0.2.1");
    assert_eq!(source("127.0.0.1"), "127.0.0.1");
    assert_eq!(source("fd00:10:244::12"), "fd00:10:244::1");
    assert_eq!(POD.source("10.96.0.80".parse().unwrap(), &addresses).to_string(), "10.244.0.14");
}

#[test]
fn a_program_on_the_node_sees_who_sends() {
    let expected = reaches(&[HOST], Seen::TheNode);
    assert_eq!(expected.judge(&packet(CLIENT), &found(&[(HOST, Seen::Themselves)])), Ok(()));
    assert!(expected.judge(&packet(CLIENT), &found(&[(HOST, Seen::TheNode)])).is_err());
    let host = Target { pod: HOST, port: POD_PORT };
    assert_eq!((expected.hides(CLIENT, host), expected.hides(NODE_ITSELF, host)), (Some(false), None));
}

#[test]
fn targets_are_named_by_their_names_and_addresses() {
    let target = |pod, port| Some(Target { pod, port });
    for (name, address, wanted) in [
        ("pod2:9090", "10.244.0.12:9090", target(2, 9090)),
        ("pod4:80", "[fd00:10:244::14]:80", target(4, 80)),
        ("node:8080", "192.0.2.1:8080", target(HOST, 8080)),
        ("bystander", "192.0.2.1:30080", None),
        ("pod:80", "10.244.0.15:80", None),
    ] {
        assert_eq!(Target::named(name), wanted, "{name}");
        assert_eq!(Target::at(address.parse().unwrap()), wanted, "{address}");
        assert!(wanted.is_none_or(|target| target.to_string() == name), "{name}");
    }
}
