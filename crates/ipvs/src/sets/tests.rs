//! Messages about sets byte by byte, and the kernel's own sets.

use std::net::IpAddr;

use portolan_core::Protocol::{Sctp, Tcp, Udp};
use portolan_netlink::MessageIter;
use portolan_testkit::netns::{Program, isolated};

use super::*;
use crate::sent::Request;

fn payload(fill: impl FnOnce(&mut MessageWriter<'_>)) -> Vec<u8> {
    let mut buffer = Vec::new();
    let mut writer = MessageWriter::new(&mut buffer, 30, 0, 1);
    fill(&mut writer);
    writer.finish().unwrap();
    buffer
}

/// `ipset add KUBE-CLUSTER-IP 10.96.0.10,tcp:80 -exist`, without the number of the line.
#[test]
fn an_addition_names_set_address_protocol_and_port() {
    let member = Member::Socket(Tcp, "10.96.0.10:80".parse().unwrap());
    let change = SetChange::Add(Set::ClusterIp, IpFamily::V4, member);
    assert_eq!(change.kind(0), 0x0609);
    let bytes = payload(|message| change.write(message)).split_off(16);
    let wanted = [
        vec![2, 0, 0, 0],
        vec![5, 0, 1, 0, 6, 0, 0, 0],
        [vec![20, 0, 2, 0], b"KUBE-CLUSTER-IP\0".to_vec()].concat(),
        vec![32, 0, 7, 0x80],
        vec![12, 0, 1, 0x80, 8, 0, 1, 0x40, 10, 96, 0, 10],
        vec![6, 0, 4, 0x40, 0, 80, 0, 0],
        vec![5, 0, 7, 0, 6, 0, 0, 0],
    ];
    assert_eq!(bytes, wanted.concat());
    assert_eq!(change.describe(), "add to address set KUBE-CLUSTER-IP the element 10.96.0.10,tcp:80");
}

/// An element of each kind and family.
fn samples(family: IpFamily) -> Vec<(Set, Vec<Member>)> {
    let ip = |v4: &str, v6: &str| match family {
        IpFamily::V4 => v4.parse().unwrap(),
        IpFamily::V6 => v6.parse().unwrap(),
    };
    let vip = |port| std::net::SocketAddr::new(ip("10.96.0.10", "fd00:10:96::10"), port);
    let nets = match family {
        IpFamily::V4 => ["192.0.2.0/24", "198.51.100.7/32"],
        IpFamily::V6 => ["2001:db8:2::/64", "2001:db8::7/128"],
    };
    let nets = nets.map(|net| net.parse().unwrap());
    vec![
        (Set::IpvsIps, vec![Member::Ip(vip(0).ip()), Member::Ip(ip("10.96.0.11", "fd00::11"))]),
        (Set::ClusterIp, [Tcp, Udp, Sctp].map(|protocol| Member::Socket(protocol, vip(80))).into()),
        (Set::LoopBack, vec![Member::From(Tcp, vip(8080), vip(0).ip())]),
        (Set::LoadBalancerSourceCidr, nets.map(|net| Member::FromNet(Sctp, vip(443), net)).into()),
        (Set::NodePortTcp, vec![Member::Port(0), Member::Port(30080), Member::Port(65535)]),
    ]
}

#[test]
fn a_listed_element_reads_back_as_it_was_written() {
    for family in IpFamily::ALL {
        for (set, members) in samples(family) {
            for member in members {
                let bytes = payload(|answer| {
                    answer.bytes(&[2, 0, 0, 0]);
                    answer.nest(8, |list| wire::write_member(list, &member));
                });
                let read = wire::members(&MessageIter::new(&bytes).next().unwrap(), set.kind());
                assert_eq!(read, [member]);
            }
        }
    }
}

#[test]
fn the_kernel_keeps_what_is_added_and_ipset_shows_it() {
    isolated(|| {
        let mut sets = Sets::load().unwrap();
        for family in IpFamily::ALL {
            for (set, members) in samples(family) {
                assert_eq!(sets.members(set, family).unwrap(), None);
                assert!(sets.create(set, family).unwrap());
                assert!(!sets.create(set, family).unwrap(), "it is there already");
                let add: Vec<_> = members.iter().map(|m| SetChange::Add(set, family, *m)).collect();
                sets.change(&add).unwrap();
                sets.change(&add).unwrap();
                let wanted: HashSet<_> = members.iter().copied().collect();
                assert_eq!(sets.members(set, family).unwrap(), Some(wanted));
                let shown = Program::new("ipset").args(["list", &set.name(family)]).run().unwrap();
                assert!(shown.contains(&format!("Type: {}", set.kind().as_str())), "{shown}");
                assert!(shown.contains(&format!("Number of entries: {}", members.len())), "{shown}");

                let remove: Vec<_> = members.iter().map(|m| SetChange::Remove(set, family, *m)).collect();
                let sent = sets.change(&remove).unwrap();
                assert_eq!((sent.messages, sent.calls), (members.len(), 1));
                sets.change(&remove).unwrap();
                assert_eq!(sets.members(set, family).unwrap(), Some(HashSet::new()));
            }
        }
        assert_eq!(sets.names().unwrap().len(), 10);
        assert_eq!(sets.destroy(Set::ClusterIp, IpFamily::V6).unwrap(), Destroyed::Now);
        assert_eq!(sets.destroy(Set::ClusterIp, IpFamily::V6).unwrap(), Destroyed::Before);
    });
}

#[test]
fn a_thousand_elements_are_a_few_calls_and_one_that_is_refused_does_not_keep_the_others_out() {
    isolated(|| {
        let mut sets = Sets::load().unwrap();
        sets.create(Set::ClusterIp, IpFamily::V4).unwrap();
        let member = |n: u16| Member::Socket(Tcp, (std::net::Ipv4Addr::new(10, 96, 0, 1), n).into());
        let mut changes: Vec<_> =
            (0..1000).map(|n| SetChange::Add(Set::ClusterIp, IpFamily::V4, member(n))).collect();
        let sent = sets.change(&changes).unwrap();
        assert_eq!((sent.messages, sent.calls), (1000, 4));
        // A set that is not there.
        changes[500] = SetChange::Add(Set::ExternalIp, IpFamily::V4, member(1));
        changes[501] = SetChange::Add(Set::ClusterIp, IpFamily::V4, member(2000));
        let error = sets.change(&changes).unwrap_err();
        assert_eq!(error.errno(), Some(libc::ENOENT), "{error}");
        assert!(error.to_string().contains("add to address set KUBE-EXTERNAL-IP"), "{error}");
        assert_eq!(sets.members(Set::ClusterIp, IpFamily::V4).unwrap().unwrap().len(), 1001);
    });
}

#[test]
fn a_set_that_exists_is_kept_with_its_elements_and_one_of_another_type_is_an_error() {
    isolated(|| {
        let ipset = |words: &str| Program::new("ipset").args(words.split(' ')).run().unwrap();
        ipset("create KUBE-CLUSTER-IP hash:ip,port family inet hashsize 64 maxelem 2000000");
        ipset("add KUBE-CLUSTER-IP 10.96.0.10,6:80");
        ipset("create KUBE-IPVS-IPS hash:ip,port");
        let mut sets = Sets::load().unwrap();
        assert!(!sets.create(Set::ClusterIp, IpFamily::V4).unwrap());
        assert!(sets.fit(Set::ClusterIp, IpFamily::V4, Capacity::Usual).unwrap());
        assert_eq!(sets.members(Set::ClusterIp, IpFamily::V4).unwrap().unwrap().len(), 1);
        made_by_kube_proxy(Set::ClusterIp, IpFamily::V4).unwrap();
        let error = sets.create(Set::IpvsIps, IpFamily::V4).unwrap_err();
        assert_eq!(error.to_string(), "the kernel refused to make address set KUBE-IPVS-IPS");
    });
}

fn run(words: &str) -> Result<String, String> {
    let mut words = words.split(' ');
    Program::new(words.next().unwrap()).args(words).run().map_err(|error| error.to_string())
}

/// How kube-proxy makes a set before each of its syncs, all of which fail where this does.
fn made_by_kube_proxy(set: Set, family: IpFamily) -> Result<String, String> {
    let (name, kind) = (set.name(family), set.kind());
    let inet = if family == IpFamily::V4 { "inet" } else { "inet6" };
    let size = match kind {
        SetKind::Port => "range 0-65535".to_owned(),
        _ => format!("family {inet} hashsize 1024 maxelem 65536"),
    };
    run(&format!("ipset create {name} {} {size} -exist", kind.as_str()))
}

#[test]
fn kube_proxy_takes_every_set_for_its_own_but_one_that_had_to_be_larger() {
    isolated(|| {
        let mut sets = Sets::load().unwrap();
        for family in IpFamily::ALL {
            for set in Set::ALL {
                assert!(sets.create(*set, family).unwrap());
                made_by_kube_proxy(*set, family).unwrap();
                let is_sized = set.kind() != SetKind::Port;
                assert_eq!(sets.fit(*set, family, Capacity::Large).unwrap(), is_sized);
                assert_eq!(made_by_kube_proxy(*set, family).is_err(), is_sized);
                assert_eq!(sets.fit(*set, family, Capacity::Usual).unwrap(), is_sized);
                made_by_kube_proxy(*set, family).unwrap();
            }
        }
        assert_eq!(sets.names().unwrap().len(), 2 * Set::ALL.len());
    });
}

#[test]
fn a_set_is_resized_while_rules_use_it() {
    isolated(|| {
        let mut sets = Sets::load().unwrap();
        for family in IpFamily::ALL {
            let (inet, ip, name) = match family {
                IpFamily::V4 => ("inet", "10.96.0.10", "KUBE-CLUSTER-IP"),
                IpFamily::V6 => ("inet6", "fd00:10:96::10", "KUBE-6-CLUSTER-IP"),
            };
            made_by_kube_proxy(Set::ClusterIp, family).unwrap();
            run(&format!("ipset add {name} {ip},tcp:80")).unwrap();
            let iptables = if family == IpFamily::V4 { "iptables" } else { "ip6tables" };
            run(&format!("{iptables} -A INPUT -m set --match-set {name} dst,dst -j ACCEPT")).unwrap();
            // A run was killed in between.
            run(&format!("ipset create {} hash:ip family {inet}", capacity::interim(family))).unwrap();
            for (capacity, maxelem) in
                [(Capacity::Large, "maxelem 1048576"), (Capacity::Usual, "maxelem 65536")]
            {
                assert!(sets.fit(Set::ClusterIp, family, capacity).unwrap());
                assert!(!sets.fit(Set::ClusterIp, family, capacity).unwrap(), "it has it by now");
                let listed = run(&format!("ipset list {name}")).unwrap();
                assert!(listed.contains(maxelem) && listed.contains("References: 1"), "{listed}");
                let member = Member::Socket(Tcp, (ip.parse::<IpAddr>().unwrap(), 80).into());
                assert_eq!(sets.members(Set::ClusterIp, family).unwrap(), Some([member].into()));
            }
        }
        let names = run("ipset list -name").unwrap();
        assert_eq!(names.lines().count(), 2, "{names}");
    });
}

#[test]
fn a_set_holds_as_many_as_its_capacity_and_a_larger_one_gets_all_of_them() {
    isolated(|| {
        let mut sets = Sets::load().unwrap();
        sets.create(Set::ClusterIp, IpFamily::V4).unwrap();
        let add = |n: u32| {
            let ip = std::net::Ipv4Addr::from(0x0a60_0000 + n);
            SetChange::Add(Set::ClusterIp, IpFamily::V4, Member::Socket(Tcp, (ip, 80).into()))
        };
        let most: Vec<_> = (0..Capacity::Usual.most()).map(add).collect();
        sets.change(&most).unwrap();
        let few: Vec<_> = (0..100).map(|n| add(Capacity::Usual.most() + n)).collect();
        // Which of a few is refused depends on where it hashes to: the kernel counts in parts.
        let refused = sets.carry_out(&few).unwrap().refused;
        assert_eq!(refused.first().unwrap().1.errno(), Some(4352));
        let began = std::time::Instant::now();
        assert!(sets.fit(Set::ClusterIp, IpFamily::V4, Capacity::Large).unwrap());
        println!("a full set was resized in {:?}", began.elapsed());
        sets.change(&few).unwrap();
        assert_eq!(sets.members(Set::ClusterIp, IpFamily::V4).unwrap().unwrap().len(), most.len() + 100);
        sets.fit(Set::ClusterIp, IpFamily::V4, Capacity::Usual).unwrap_err();
        assert_eq!(sets.members(Set::ClusterIp, IpFamily::V4).unwrap().unwrap().len(), most.len() + 100);
    });
}
