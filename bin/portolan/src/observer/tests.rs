//! What an observer shows of attempts that fail.

use portolan_config::{Environment, Invocation};
use portolan_health::Probe;
use portolan_metrics::Build;

use super::*;

fn observer() -> Observer {
    let environment = Environment { hostname: &|| Ok("n1".to_owned()), modes: &[] };
    let Invocation::Run(config) = portolan_config::parse(["portolan".into()], &environment).unwrap() else {
        panic!("nothing was asked for but to run");
    };
    Observer {
        metrics: Metrics::new(&Build { git_version: "v1".into(), version: "1" }).unwrap(),
        health: Health::new(Duration::from_secs(30)),
        service_health: ServiceHealth::default(),
        events: EventRecorder::disabled(),
        families: 1,
        family_check: FamilyCheck::new(&config, &[IpFamily::V4]),
        synced: None,
        failing: PerFamily::default(),
        contention: Contention::default(),
    }
}

fn refused() -> BackendError {
    BackendError::refused("load the rules", std::io::Error::other("no more sets"))
}

#[test]
fn what_backends_report_is_exported_of_success_and_failure_alike() {
    let mut observer = observer();
    let rules = Metric::gauge("mine_rules", 3).with_label("table", "nat");
    let failures = |count| Metric::increment("mine_failures_total", count);
    let report =
        ApplyReport { metrics: vec![rules, failures(0)], failed_removals: 2, ..ApplyReport::default() };
    let error = refused().with_metrics([failures(1)]);
    for (result, counted) in [(Ok(&report), 0), (Err(&error), 1), (Err(&error), 2)] {
        let attempt = Attempt { scope: Scope::Partial, took: Duration::ZERO, cause: Cause::Changes, result };
        observer.attempted(IpFamily::V4, &attempt);
        let page = observer.metrics.render().unwrap();
        for line in [
            "mine_rules{ip_family=\"IPv4\",table=\"nat\"} 3".to_owned(),
            format!("mine_failures_total{{ip_family=\"IPv4\"}} {counted}"),
            "portolan_failed_removals_total{ip_family=\"IPv4\"} 2".to_owned(),
        ] {
            assert!(page.lines().any(|shown| shown == line), "{line} is not in\n{page}");
        }
    }
}

/// An observer whose changes are late at once, after its initial sync.
fn synced() -> Observer {
    let mut observer = observer();
    observer.health.set_sync_period(Duration::ZERO);
    observer.started(IpFamily::V4);
    observer.synced(IpFamily::V4);
    observer
}

#[test]
fn failing_syncs_are_unhealthy_unless_only_a_comparison_failed_that_left_the_rules() {
    let unread = || BackendError::unread("table ip portolan", std::io::Error::other("no more sets"));
    let cases = [
        ("changes", Cause::Changes, refused(), false),
        ("changes that could not be compared", Cause::Changes, unread(), false),
        ("removed rules", Cause::Repair, unread(), false),
        ("a comparison that wrote", Cause::FullSync, refused(), false),
        ("a comparison that wrote nothing", Cause::FullSync, unread(), true),
    ];
    for (case, cause, problem, is_healthy) in cases {
        let mut observer = synced();
        let attempt = Attempt { scope: Scope::Full, took: Duration::ZERO, cause, result: Err(&problem) };
        observer.attempted(IpFamily::V4, &attempt);
        let answers = [Probe::Readyz, Probe::Livez].map(|probe| observer.health.report(probe).ok);
        assert_eq!(answers, [is_healthy; 2], "{case}");
        observer.synced(IpFamily::V4);
        assert!(observer.health.report(Probe::Readyz).ok, "{case}");
    }
}

#[test]
fn removed_rules_are_not_programmed_until_they_are_written_again() {
    let mut observer = synced();
    observer.rules_damaged(IpFamily::V4);
    assert!(!observer.health.is_programmed(IpFamily::V4) && !observer.health.report(Probe::Readyz).ok);
    observer.synced(IpFamily::V4);
    assert!(observer.health.is_programmed(IpFamily::V4) && observer.health.report(Probe::Readyz).ok);
}
