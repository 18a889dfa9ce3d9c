//! What an observer shows of attempts that fail, mode by mode.

use portolan_config::{Environment, Invocation};
use portolan_health::Probe;
use portolan_metrics::Build;

use super::*;

fn observer(mode: ProxyMode) -> Observer {
    let environment = Environment { hostname: &|| Ok("n1".to_owned()), modes: &[] };
    let Invocation::Run(config) = portolan_config::parse(["portolan".into()], &environment).unwrap() else {
        panic!("nothing was asked for but to run");
    };
    Observer {
        metrics: Metrics::new(&Build { git_version: "v1".into(), version: "1" }).unwrap(),
        health: Health::new(Duration::from_secs(30)),
        service_health: ServiceHealth::default(),
        events: EventRecorder::disabled(),
        mode,
        families: 1,
        family_check: FamilyCheck::new(&config, &[IpFamily::V4]),
        in_force: None,
        failing: PerFamily::default(),
        contention: Contention::default(),
    }
}

fn attempt(observer: &mut Observer, scope: Scope, result: Result<&ApplyReport, &BackendError>) {
    let attempt = Attempt { scope, took: Duration::ZERO, cause: Cause::Changes, result };
    observer.attempted(IpFamily::V4, &attempt);
}

/// The values of `kubeproxy_sync_proxy_rules_NAME_failures_total`, where shown.
fn failures(observer: &Observer, names: [&str; 3]) -> [Option<u64>; 3] {
    let page = observer.metrics.render().unwrap();
    names.map(|name| {
        let series = format!("kubeproxy_sync_proxy_rules_{name}_failures_total{{ip_family=\"IPv4\"}} ");
        page.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok())
    })
}

const SHOWN: [&str; 3] = ["iptables_restore", "iptables_partial_restore", "nftables_sync"];

fn refused(source: impl Error + Send + Sync + 'static) -> BackendError {
    BackendError::Refused { action: "load the rules".into(), source: Box::new(source) }
}

fn of_programs() -> BackendError {
    refused(ProgramError::Locked { complaint: "somebody has it".into() })
}

fn of_others() -> BackendError {
    refused(std::io::Error::other("no more sets"))
}

#[test]
fn failures_of_the_iptables_mode_are_counted_and_those_about_changes_twice() {
    let mut observer = observer(ProxyMode::IPTABLES);
    assert_eq!(failures(&observer, SHOWN), [None; 3]);
    attempt(&mut observer, Scope::Partial, Ok(&ApplyReport::default()));
    assert_eq!(failures(&observer, SHOWN), [Some(0), Some(0), None]);
    attempt(&mut observer, Scope::Full, Err(&of_programs()));
    assert_eq!(failures(&observer, SHOWN), [Some(1), Some(0), None]);
    attempt(&mut observer, Scope::Partial, Err(&of_programs()));
    assert_eq!(failures(&observer, SHOWN), [Some(2), Some(1), None]);
}

#[test]
fn of_the_ipvs_mode_those_are_counted_that_programs_of_iptables_are_the_cause_of() {
    let mut observer = observer(ProxyMode::IPVS);
    attempt(&mut observer, Scope::Full, Ok(&ApplyReport::default()));
    assert_eq!(failures(&observer, SHOWN), [Some(0), None, None]);
    for scope in [Scope::Full, Scope::Partial] {
        attempt(&mut observer, scope, Err(&of_others()));
    }
    assert_eq!(failures(&observer, SHOWN), [Some(0), None, None]);
    for scope in [Scope::Full, Scope::Partial] {
        attempt(&mut observer, scope, Err(&of_programs()));
    }
    assert_eq!(failures(&observer, SHOWN), [Some(2), None, None]);
}

#[test]
fn failures_of_other_modes_are_none_of_iptables() {
    for (mode, shown) in [(ProxyMode::NFTABLES, Some(1)), (ProxyMode::USERSPACE, None)] {
        let mut observer = observer(mode);
        attempt(&mut observer, Scope::Partial, Err(&of_programs()));
        assert_eq!(failures(&observer, SHOWN), [None, None, shown]);
    }
}

/// An observer whose changes are late at once, after its initial sync.
fn synced() -> Observer {
    let mut observer = observer(ProxyMode::NFTABLES);
    observer.health.set_sync_period(Duration::ZERO);
    observer.started(IpFamily::V4);
    observer.in_force(IpFamily::V4);
    observer
}

#[test]
fn failing_syncs_are_unhealthy_unless_only_a_comparison_failed_that_left_the_rules() {
    let unread =
        || BackendError::Unread { object: "table ip portolan".into(), source: Box::new(of_others()) };
    let cases = [
        ("changes", Cause::Changes, of_others(), false),
        ("changes that could not be compared", Cause::Changes, unread(), false),
        ("removed rules", Cause::Repair, unread(), false),
        ("a comparison that wrote", Cause::Comparison, of_others(), false),
        ("a comparison that wrote nothing", Cause::Comparison, unread(), true),
    ];
    for (case, cause, problem, is_healthy) in cases {
        let mut observer = synced();
        let attempt = Attempt { scope: Scope::Full, took: Duration::ZERO, cause, result: Err(&problem) };
        observer.attempted(IpFamily::V4, &attempt);
        let answers = [Probe::Readyz, Probe::Livez].map(|probe| observer.health.report(probe).ok);
        assert_eq!(answers, [is_healthy; 2], "{case}");
        observer.in_force(IpFamily::V4);
        assert!(observer.health.report(Probe::Readyz).ok, "{case}");
    }
}

#[test]
fn removed_rules_are_not_programmed_until_they_are_written_again() {
    let mut observer = synced();
    observer.found_damaged(IpFamily::V4);
    assert!(!observer.health.is_programmed(IpFamily::V4) && !observer.health.report(Probe::Readyz).ok);
    observer.in_force(IpFamily::V4);
    assert!(observer.health.is_programmed(IpFamily::V4) && observer.health.report(Probe::Readyz).ok);
}
