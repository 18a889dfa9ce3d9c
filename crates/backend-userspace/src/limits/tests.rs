//! Who gets how much.

use std::net::Ipv4Addr;

use super::*;

/// No limits but these.
fn limits(most_sessions: usize, most_of_service: usize) -> Limits {
    Limits {
        most_descriptors: usize::MAX.into(),
        most_listeners: usize::MAX.into(),
        most_udp: usize::MAX,
        ..Limits::new(Arc::default(), most_sessions, most_of_service)
    }
}

fn service(limits: &Limits, name: &str) -> Arc<Share> {
    limits.share(&ObjectName::new("shop", name))
}

fn client(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(number).into()
}

/// As many sessions as this Service gets, each of another client.
fn fill(limits: &Limits, share: &Arc<Share>) -> (Vec<Session>, Full) {
    let mut sessions = Vec::new();
    for number in 0.. {
        match limits.admit(Transport::Tcp, share, client(number)) {
            Ok(session) => sessions.push(session),
            Err(full) => return (sessions, full),
        }
    }
    unreachable!("the limits have none");
}

#[test]
fn sessions_beyond_the_limit_are_refused_until_one_ends() {
    let limits = limits(2, 0);
    let share = service(&limits, "web");
    let admit = |transport| limits.admit(transport, &share, client(1));
    let (first, _second) = (admit(Transport::Tcp).unwrap(), admit(Transport::Udp).unwrap());
    assert_eq!(admit(Transport::Tcp).unwrap_err(), Full::Process(Limit::Sessions));
    assert_eq!(admit(Transport::Udp).unwrap_err(), Full::Process(Limit::Sessions));
    drop(first);
    assert!(admit(Transport::Udp).is_ok());
    assert_eq!(limits.counters().accepted(), 3);
    assert_eq!((limits.counters().tcp_sessions(), limits.counters().udp_sessions()), (0, 1));
}

#[test]
fn sessions_end_where_descriptors_do() {
    let limits = Limits { most_descriptors: 6.into(), ..limits(0, 0) };
    let share = service(&limits, "web");
    let _listener = limits.admit_listener(&share).unwrap();
    let both = [1, 2].map(|number| limits.admit(Transport::Tcp, &share, client(number)));
    assert!(both.iter().all(Result::is_ok));
    let full = limits.admit(Transport::Udp, &share, client(3)).unwrap_err();
    assert_eq!(full, Full::Process(Limit::Descriptors));
}

#[test]
fn udp_leaves_ports_to_others_and_tcp_needs_none_of_them() {
    let limits = Limits { most_udp: 2, ..limits(0, 0) };
    let share = service(&limits, "dns");
    let both = [1, 2].map(|number| limits.admit(Transport::Udp, &share, client(number)));
    assert!(both.iter().all(Result::is_ok));
    let full = limits.admit(Transport::Udp, &share, client(3)).unwrap_err();
    assert_eq!(full, Full::Process(Limit::Ports));
    assert!(limits.admit(Transport::Tcp, &share, client(3)).is_ok());
}

#[test]
fn the_busiest_service_leaves_a_quarter_and_the_next_leaves_some_as_well() {
    let limits = limits(1000, 0);
    let (first, full) = fill(&limits, &service(&limits, "busy"));
    assert_eq!((first.len(), full), (750, Full::Service(Limit::Sessions)));
    let (second, full) = fill(&limits, &service(&limits, "busy-too"));
    assert_eq!((second.len(), full), (188, Full::Service(Limit::Sessions)));
    assert!(limits.admit(Transport::Tcp, &service(&limits, "quiet"), client(1)).is_ok());
}

#[test]
fn one_client_does_not_take_all_that_its_service_may_have() {
    let limits = limits(1000, 0);
    let share = service(&limits, "web");
    let admit = |number| limits.admit(Transport::Tcp, &share, client(number));
    let greedy: Vec<_> = std::iter::repeat_with(|| admit(1)).map_while(Result::ok).collect();
    assert_eq!(greedy.len(), 693);
    assert_eq!(admit(1).unwrap_err(), Full::Client(Limit::Sessions));
    let _other = admit(2).unwrap();
    drop(greedy);
    assert!(admit(1).is_ok());
}

#[test]
fn a_service_has_its_limit_with_all_its_ports_and_another_its_own() {
    let limits = limits(0, 3);
    let share = service(&limits, "web");
    let admit = |transport, number| limits.admit(transport, &service(&limits, "web"), client(number));
    let _three = [admit(Transport::Tcp, 1), admit(Transport::Udp, 2), admit(Transport::Tcp, 3)];
    assert_eq!(share.sessions(), 3);
    assert_eq!(admit(Transport::Udp, 4).unwrap_err(), Full::Service(Limit::OfService));
    assert!(limits.admit(Transport::Tcp, &service(&limits, "other"), client(1)).is_ok());
}

#[test]
fn services_that_are_gone_are_forgotten() {
    let limits = limits(0, 0);
    for number in 0..10_000 {
        service(&limits, &format!("s{number}"));
    }
    assert!(limits.shares.lock().unwrap().len() < 100);
}
