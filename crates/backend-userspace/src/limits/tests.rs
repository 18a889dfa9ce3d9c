//! Sessions and listeners of several Services under small limits.

use super::*;

/// No limits but these.
fn limits(max_sessions: usize, max_sessions_per_service: usize) -> Limits {
    let limits = Limits {
        max_udp_sessions: usize::MAX,
        ..Limits::new(Arc::default(), max_sessions, max_sessions_per_service)
    };
    with_descriptors(limits, usize::MAX)
}

fn with_descriptors(limits: Limits, count: usize) -> Limits {
    let descriptors = host::Descriptors { for_clients: count, listeners: count, pipes: 0 };
    limits.state().descriptors = descriptors;
    limits
}

fn service(name: &str) -> ObjectName {
    ObjectName::new("shop", name)
}

fn process(limit: Limit) -> Full {
    Full { limit, of_service: false }
}

fn of_service(limit: Limit) -> Full {
    Full { limit, of_service: true }
}

/// As many sessions as this Service gets.
fn fill(limits: &Arc<Limits>, name: &str) -> (Vec<Permit>, Full) {
    let mut sessions = Vec::new();
    loop {
        match limits.admit(Kind::Tcp, &service(name)) {
            Ok(session) => sessions.push(session),
            Err(full) => return (sessions, full),
        }
    }
}

#[test]
fn sessions_beyond_the_limit_are_rejected_until_one_ends() {
    let limits = Arc::new(limits(2, 0));
    let admit = |kind| limits.admit(kind, &service("web"));
    let (first, _second) = (admit(Kind::Tcp).unwrap(), admit(Kind::Udp).unwrap());
    assert_eq!(admit(Kind::Tcp).unwrap_err(), process(Limit::Sessions));
    assert_eq!(admit(Kind::Udp).unwrap_err(), process(Limit::Sessions));
    drop(first);
    assert!(admit(Kind::Udp).is_ok());
    assert_eq!(limits.counters.accepted.get(), 3);
    assert_eq!((limits.counters.tcp_sessions.get(), limits.counters.udp_sessions.get()), (0, 1));
}

#[test]
fn sessions_end_where_descriptors_do() {
    let limits = Arc::new(with_descriptors(limits(0, 0), 6));
    let web = service("web");
    let _listener = limits.admit(Kind::Listener, &web).unwrap();
    let both = [limits.admit(Kind::Tcp, &web), limits.admit(Kind::Tcp, &web)];
    assert!(both.iter().all(Result::is_ok));
    assert_eq!(limits.admit(Kind::Udp, &web).unwrap_err(), process(Limit::Descriptors));
}

#[test]
fn udp_leaves_ports_to_other_programs_and_tcp_needs_none_of_them() {
    let limits = Arc::new(Limits { max_udp_sessions: 2, ..limits(0, 0) });
    let dns = service("dns");
    let both = [limits.admit(Kind::Udp, &dns), limits.admit(Kind::Udp, &dns)];
    assert!(both.iter().all(Result::is_ok));
    assert_eq!(limits.admit(Kind::Udp, &dns).unwrap_err(), process(Limit::Ports));
    assert!(limits.admit(Kind::Tcp, &dns).is_ok());
}

#[test]
fn the_busiest_service_leaves_a_quarter_and_the_next_leaves_some_as_well() {
    let limits = Arc::new(limits(1000, 0));
    let (first, full) = fill(&limits, "busy");
    assert_eq!((first.len(), full), (750, of_service(Limit::Sessions)));
    let (second, full) = fill(&limits, "busy-too");
    assert_eq!((second.len(), full), (188, of_service(Limit::Sessions)));
    assert!(limits.admit(Kind::Tcp, &service("quiet")).is_ok());
}

#[test]
fn a_service_has_its_limit_with_all_its_ports_and_another_its_own() {
    let limits = Arc::new(limits(0, 3));
    let admit = |kind| limits.admit(kind, &service("web"));
    let _three = [admit(Kind::Tcp), admit(Kind::Udp), admit(Kind::Tcp)];
    assert_eq!(limits.state().services[&service("web")].sessions(), 3);
    assert_eq!(admit(Kind::Udp).unwrap_err(), of_service(Limit::OfService));
    assert!(limits.admit(Kind::Tcp, &service("other")).is_ok());
}

#[test]
fn services_without_sessions_take_no_memory() {
    let limits = Arc::new(limits(0, 0));
    for number in 0..10_000 {
        limits.admit(Kind::Tcp, &service(&format!("s{number}"))).unwrap();
    }
    assert!(limits.state().services.is_empty());
}

#[test]
fn a_warning_is_logged_at_once_and_then_after_a_pause() {
    let (mut limiter, now) = (log_limiter(), Instant::now());
    assert!(limiter.fail("", now));
    assert!(!limiter.fail("", now));
    assert!(limiter.fail("", now + LOG_INTERVAL));
}
