//! Virtual servers and the dummy device, which take a kernel with IPVS and dummy devices.
//!
//! What is made over netlink is read back from `/proc/net/ip_vs` and by `ip`, so that writer and reader
//! cannot agree on a mistake.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use portolan_core::{IpFamily, Protocol};
use portolan_ipvs::{
    AddressChange, DEVICE, Links, ServerChange, ServerKey, ServerSettings, Servers, Timeouts, server_flag,
};
use portolan_testkit::netns::{Program, isolated};

fn servers() -> Servers {
    Servers::load().unwrap().unwrap()
}

fn key(protocol: Protocol, at: &str) -> ServerKey {
    let at: SocketAddr = at.parse().unwrap();
    ServerKey { protocol, address: at.ip(), port: at.port() }
}

fn settings(scheduler: &str) -> ServerSettings {
    ServerSettings { scheduler: scheduler.into(), flags: 0, timeout: Duration::ZERO }
}

/// What the kernel shows, without counts of connections: `TCP 0A60000A:0050 rr`.
fn shown() -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/thread-self/net/ip_vs").unwrap();
    let line = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let kept = if words.first() == Some(&"->") { &words[..4] } else { &words[..] };
        kept.join(" ")
    };
    table.lines().skip(3).map(line).collect()
}

fn set(lines: &[&str]) -> BTreeSet<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

#[test]
#[ignore = "needs IPVS: run by tests/vm"]
fn servers_of_all_protocols_and_both_families_come_change_and_go() {
    isolated(|| {
        let mut servers = servers();
        let web = key(Protocol::Tcp, "10.96.0.10:80");
        let dns = key(Protocol::Udp, "[fd00:10:96::10]:53");
        let sctp = key(Protocol::Sctp, "10.96.0.10:80");
        let sticky = ServerSettings {
            flags: server_flag::PERSISTENT,
            timeout: Duration::from_secs(10_800),
            ..settings("rr")
        };
        let pod: SocketAddr = "10.244.0.11:8080".parse().unwrap();
        let pod6: SocketAddr = "[fd00:10:244::11]:5353".parse().unwrap();
        let sent = servers
            .change(&[
                ServerChange::Add(web, settings("rr")),
                ServerChange::Add(dns, sticky.clone()),
                ServerChange::Add(sctp, settings("wlc")),
                ServerChange::AddDestination(web, pod, 1),
                ServerChange::AddDestination(dns, pod6, 0),
            ])
            .unwrap();
        assert_eq!((sent.messages, sent.calls), (5, 1));
        let wanted = set(&[
            "TCP 0A60000A:0050 rr",
            "-> 0AF4000B:1F90 Masq 1",
            "UDP [fd00:0010:0096:0000:0000:0000:0000:0010]:0035 rr",
            "-> [fd00:0010:0244:0000:0000:0000:0000:0011]:14E9 Masq 0",
            "SCTP 0A60000A:0050 wlc",
        ]);
        let shown_now = shown();
        // The time is shown in ticks of the kernel's clock, of which there are 250 or 1,000 in a second.
        assert!(shown_now.iter().any(|line| line.contains("persistent")), "{shown_now:?}");
        let but_masks = |lines: &BTreeSet<String>| -> BTreeSet<String> {
            lines.iter().map(|line| line.split(" persistent").next().unwrap().to_owned()).collect()
        };
        assert_eq!(but_masks(&shown_now), but_masks(&wanted));

        // And read back.
        let mut listed = servers.list(IpFamily::V4).unwrap();
        listed.sort_by_key(|server| server.key);
        assert_eq!(listed.iter().map(|server| server.key).collect::<Vec<_>>(), [web, sctp]);
        let v6 = servers.list(IpFamily::V6).unwrap();
        assert_eq!((v6.len(), v6[0].key, v6[0].settings.clone()), (1, dns, sticky));
        let destinations = servers.destinations(&dns).unwrap();
        assert_eq!((destinations.len(), destinations[0].socket, destinations[0].weight), (1, pod6, 0));
        assert!(servers.has(&web).unwrap() && !servers.has(&key(Protocol::Udp, "10.96.0.10:80")).unwrap());
        assert_eq!(servers.destinations(&key(Protocol::Tcp, "10.96.0.99:1")).unwrap(), []);

        servers
            .change(&[
                ServerChange::Edit(web, settings("sh")),
                ServerChange::Weigh(web, pod, 7),
                ServerChange::RemoveDestination(dns, pod6),
                ServerChange::Remove(sctp),
                // Gone already, or never there.
                ServerChange::Remove(sctp),
                ServerChange::RemoveDestination(dns, pod6),
                ServerChange::RemoveDestination(sctp, pod),
            ])
            .unwrap();
        let shown_now = but_masks(&shown());
        let v6 = "UDP [fd00:0010:0096:0000:0000:0000:0000:0010]:0035 rr";
        assert_eq!(shown_now, set(&["TCP 0A60000A:0050 sh", "-> 0AF4000B:1F90 Masq 7", v6]));
    });
}

#[test]
#[ignore = "needs IPVS: run by tests/vm"]
fn a_change_that_is_refused_is_named_and_the_others_are_carried_out() {
    isolated(|| {
        let mut servers = servers();
        let (one, other) = (key(Protocol::Tcp, "10.96.0.10:80"), key(Protocol::Tcp, "10.96.0.11:80"));
        let changes = [
            ServerChange::Add(one, settings("no-such")),
            ServerChange::Add(other, settings("rr")),
            ServerChange::AddDestination(one, "10.244.0.11:80".parse().unwrap(), 1),
        ];
        let error = servers.change(&changes).unwrap_err();
        let text = "the kernel refused to add virtual server tcp 10.96.0.10:80 with scheduler no-such";
        assert_eq!(error.to_string(), text);
        assert_eq!(shown(), set(&["TCP 0A60000B:0050 rr"]));
    });
}

#[test]
#[ignore = "needs IPVS: run by tests/vm"]
fn schedulers_are_found_without_a_server_being_made() {
    isolated(|| {
        let mut servers = servers();
        let known = ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh"];
        for scheduler in known {
            assert!(servers.has_scheduler(scheduler).unwrap(), "{scheduler}");
        }
        assert!(!servers.has_scheduler("no-such").unwrap());
        assert_eq!(shown(), BTreeSet::new());
    });
}

#[test]
#[ignore = "needs IPVS: run by tests/vm"]
fn timeouts_of_zero_stay_as_they_are() {
    isolated(|| {
        let mut servers = servers();
        let before = servers.timeouts().unwrap();
        assert!(!before.udp.is_zero());
        let wanted = Timeouts { tcp: Duration::from_secs(1234), ..Timeouts::default() };
        servers.set_timeouts(wanted).unwrap();
        assert_eq!(servers.timeouts().unwrap(), Timeouts { tcp: wanted.tcp, ..before });
    });
}

#[test]
#[ignore = "needs dummy devices: run by tests/vm"]
fn addresses_of_the_device_are_the_nodes_own_while_it_is_down() {
    isolated(|| {
        Program::new("ip").args(["link", "set", "lo", "up"]).run().unwrap();
        let mut links = Links::open().unwrap();
        assert_eq!(links.find(DEVICE).unwrap(), None);
        links.create_dummy(DEVICE).unwrap();
        assert!(links.create_dummy(DEVICE).is_err(), "there is one already");
        let device = links.find(DEVICE).unwrap().unwrap();
        assert!(device.is_dummy());
        let ips: [IpAddr; 2] = ["10.96.0.10", "fd00:10:96::10"].map(|ip| ip.parse().unwrap());
        let add = ips.map(|ip| AddressChange::Add(device.index, ip));
        assert_eq!(links.change(&add).unwrap().calls, 1);
        for ip in ips {
            let found = links.addresses(IpFamily::of(ip)).unwrap();
            let found: Vec<_> =
                found.iter().filter(|a| a.interface == device.index).map(|a| a.address).collect();
            assert_eq!(found, [ip]);
            // Who serves at all addresses serves at this one.
            let listener = TcpListener::bind((ip, 0)).unwrap();
            TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        }
        assert!(links.delete(&device, DEVICE).unwrap());
        assert!(!links.delete(&device, DEVICE).unwrap());
    });
}
