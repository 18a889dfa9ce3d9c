//! Updates of health, and the responses to probes after them.

use std::time::UNIX_EPOCH;

use super::*;

use IpFamily::{V4, V6};
use Step::{Eligible, Failed, Ineligible, Queued, Removed, Started, Updated};

const SYNC_PERIOD: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
enum Step {
    Started(IpFamily),
    Queued(IpFamily),
    Updated(IpFamily),
    Failed(IpFamily),
    Removed(IpFamily),
    Eligible,
    Ineligible,
}

/// Points in time after a start.
struct Time {
    start: Instant,
}

impl Time {
    fn at(&self, seconds: f64) -> Moment {
        let passed = Duration::from_secs_f64(seconds);
        Moment {
            monotonic: self.start + passed,
            wall: UNIX_EPOCH + Duration::from_secs(1_700_000_000) + passed,
        }
    }
}

/// Health with a clock that is set before each call.
struct State {
    health: Health,
    now: Arc<Mutex<Moment>>,
}

impl State {
    fn at(&self, now: Moment) -> &Health {
        *self.now.lock().unwrap() = now;
        &self.health
    }

    fn report(&self, probe: Probe, now: Moment) -> Report {
        self.at(now).report(probe)
    }

    fn lag(&self, family: IpFamily, now: Moment) -> Duration {
        self.at(now).lag(family)
    }
}

/// The state after each step at its second.
fn after(steps: &[(f64, Step)]) -> (State, Time) {
    let time = Time { start: Instant::now() };
    let now = Arc::new(Mutex::new(time.at(0.0)));
    let clock = Arc::clone(&now);
    let state = State { health: Health::with_clock(SYNC_PERIOD, move || *clock.lock().unwrap()), now };
    for (second, step) in steps {
        let health = state.at(time.at(*second));
        match *step {
            Started(family) => health.started(family),
            Queued(family) => health.queued(family),
            Updated(family) => health.updated(family),
            Failed(family) => health.failed(family),
            Removed(family) => health.removed(family),
            Eligible => health.set_node(NodeEligibility::Eligible),
            Ineligible => health.set_node(NodeEligibility::Ineligible),
        }
    }
    (state, time)
}

#[test]
fn probes_follow_syncs_and_the_node() {
    const SYNCED: [(f64, Step); 3] = [(0.0, Started(V4)), (0.0, Eligible), (1.0, Updated(V4))];
    let then = |steps: &[(f64, Step)]| SYNCED.iter().chain(steps).copied().collect::<Vec<_>>();
    let cases = [
        ("nothing has started", vec![], 0.0, false, true),
        (
            "the node is there but nothing is synced",
            vec![(0.0, Started(V4)), (0.0, Eligible)],
            9.0,
            false,
            true,
        ),
        (
            "no load balancer waits for a node never seen",
            vec![(0.0, Started(V4)), (1.0, Updated(V4))],
            9.0,
            false,
            true,
        ),
        ("one family synced", then(&[]), 9.0, true, true),
        ("long without changes", then(&[]), 9e6, true, true),
        ("the other family has not been synced yet", then(&[(1.0, Started(V6))]), 9.0, false, true),
        ("both families synced", then(&[(1.0, Started(V6)), (2.0, Updated(V6))]), 9.0, true, true),
        ("the node is about to go", then(&[(2.0, Ineligible)]), 9.0, false, true),
        ("the node stays after all", then(&[(2.0, Ineligible), (3.0, Eligible)]), 9.0, true, true),
        ("a change just waits", then(&[(10.0, Queued(V4))]), 69.9, true, true),
        ("a change waits for twice the sync period", then(&[(10.0, Queued(V4))]), 70.0, false, false),
        ("the oldest change counts", then(&[(10.0, Queued(V4)), (60.0, Queued(V4))]), 70.0, false, false),
        ("the change is programmed", then(&[(10.0, Queued(V4)), (80.0, Updated(V4))]), 81.0, true, true),
        (
            "a later change has its own time",
            then(&[(10.0, Queued(V4)), (20.0, Updated(V4)), (30.0, Queued(V4))]),
            89.9,
            true,
            true,
        ),
        (
            "a sync of one family does not help the other",
            then(&[(1.0, Started(V6)), (2.0, Updated(V6)), (10.0, Queued(V6)), (60.0, Updated(V4))]),
            70.0,
            false,
            false,
        ),
        ("a family that takes no part does not count", then(&[(10.0, Queued(V6))]), 99.0, true, true),
        (
            "a first sync that never works",
            vec![(0.0, Started(V4)), (0.0, Eligible), (5.0, Queued(V4))],
            65.0,
            false,
            false,
        ),
        ("a sync without changes has just failed", then(&[(10.0, Failed(V4))]), 69.9, true, true),
        (
            "syncs without changes keep failing",
            then(&[(10.0, Failed(V4)), (60.0, Failed(V4))]),
            70.0,
            false,
            false,
        ),
        ("rules have just been removed", then(&[(10.0, Removed(V4))]), 69.9, true, true),
        ("removed rules stay missing", then(&[(10.0, Removed(V4)), (60.0, Failed(V4))]), 70.0, false, false),
        ("removed rules are back", then(&[(10.0, Removed(V4)), (11.0, Updated(V4))]), 71.0, true, true),
    ];
    for (case, steps, second, healthz, livez) in cases {
        let (state, time) = after(&steps);
        let answer = |probe| state.report(probe, time.at(second)).ok;
        assert_eq!((answer(Probe::Healthz), answer(Probe::Livez)), (healthz, livez), "{case}");
    }
}

#[test]
fn a_healthy_body_has_the_current_time_and_the_sync_time_of_each_family() {
    let (state, time) = after(&[
        (0.0, Started(V6)),
        (0.0, Started(V4)),
        (0.0, Eligible),
        (1.5, Updated(V4)),
        (2.0, Updated(V6)),
    ]);
    let status = "\"status\":{\"IPv4\":{\"lastUpdated\":\"2023-11-14T22:13:21.5Z\",\"healthy\":true},\
                  \"IPv6\":{\"lastUpdated\":\"2023-11-14T22:13:22Z\",\"healthy\":true}}}";
    let times = "{\"lastUpdated\":\"2023-11-14T22:13:30.25Z\",\"currentTime\":\"2023-11-14T22:13:30.25Z\",";
    assert_eq!(
        state.report(Probe::Healthz, time.at(10.25)).body,
        format!("{times}\"nodeEligible\":true,\"healthy\":true,{status}")
    );
    assert_eq!(state.report(Probe::Livez, time.at(10.25)).body, format!("{times}\"healthy\":true,{status}"));
}

#[test]
fn an_unhealthy_body_has_the_last_sync_time_of_any_family_and_names_the_late_one() {
    let (state, time) = after(&[
        (0.0, Started(V4)),
        (0.0, Started(V6)),
        (1.0, Updated(V4)),
        (2.0, Updated(V6)),
        (3.0, Queued(V4)),
        (4.0, Ineligible),
    ]);
    assert_eq!(
        state.report(Probe::Healthz, time.at(63.0)).body,
        "{\"lastUpdated\":\"2023-11-14T22:13:22Z\",\"currentTime\":\"2023-11-14T22:14:23Z\",\
         \"nodeEligible\":false,\"healthy\":false,\
         \"status\":{\"IPv4\":{\"lastUpdated\":\"2023-11-14T22:13:21Z\",\"healthy\":false},\
         \"IPv6\":{\"lastUpdated\":\"2023-11-14T22:13:22Z\",\"healthy\":true}}}"
    );
}

#[test]
fn eligibility_alone_does_not_make_the_proxy_unhealthy() {
    let (state, time) = after(&[(0.0, Started(V4)), (1.0, Updated(V4))]);
    let report = state.report(Probe::Healthz, time.at(2.0));
    assert!(!report.ok && report.body.contains("\"nodeEligible\":false,\"healthy\":true"), "{report:?}");
}

#[test]
fn before_anything_has_started_there_is_no_status() {
    let (state, time) = after(&[]);
    assert_eq!(
        state.report(Probe::Healthz, time.at(0.0)).body,
        "{\"lastUpdated\":\"0001-01-01T00:00:00Z\",\"currentTime\":\"2023-11-14T22:13:20Z\",\
         \"nodeEligible\":false,\"healthy\":false}"
    );
}

/// kube-proxy shows the start of its loop there, before any rule exists.
#[test]
fn before_the_initial_sync_no_update_time_is_shown() {
    let (state, time) = after(&[(0.0, Started(V4)), (0.0, Eligible), (1.0, Queued(V4))]);
    let never = "0001-01-01T00:00:00Z";
    let family =
        |healthy| format!("\"status\":{{\"IPv4\":{{\"lastUpdated\":\"{never}\",\"healthy\":{healthy}}}}}}}");
    let now = "\"currentTime\":\"2023-11-14T22:13:29Z\"";
    assert_eq!(
        state.report(Probe::Healthz, time.at(9.0)).body,
        format!(
            "{{\"lastUpdated\":\"{never}\",{now},\"nodeEligible\":true,\"healthy\":false,{}",
            family(false)
        )
    );
    assert_eq!(
        state.report(Probe::Livez, time.at(9.0)).body,
        format!("{{\"lastUpdated\":\"2023-11-14T22:13:29Z\",{now},\"healthy\":true,{}", family(true))
    );
}

#[test]
fn readiness_is_health_without_the_node_with_a_reason() {
    const WAITS: &str = "waiting for Services, EndpointSlices and this node's Node object";
    const BEGINS: &str = "the initial sync has not completed";
    const FAILS: &str = "; syncs fail and are retried, see the log";
    let synced = [(0.0, Started(V4)), (1.0, Updated(V4))];
    let then = |steps: &[(f64, Step)]| synced.iter().chain(steps).copied().collect::<Vec<_>>();
    let cases = [
        ("the API server is away", vec![(0.0, Started(V4))], 1e4, Some(WAITS.to_owned())),
        (
            "the first rules are written",
            vec![(0.0, Started(V4)), (5.0, Queued(V4))],
            6.0,
            Some(BEGINS.into()),
        ),
        (
            "the first rules are rejected",
            vec![(0.0, Started(V4)), (5.0, Queued(V4)), (6.0, Failed(V4))],
            7.0,
            Some(format!("{BEGINS}{FAILS}")),
        ),
        ("synced", then(&[]), 9.0, None),
        ("the node is about to be deleted", then(&[(2.0, Eligible), (3.0, Ineligible)]), 9.0, None),
        ("a sync has failed once", then(&[(10.0, Queued(V4)), (11.0, Failed(V4))]), 69.9, None),
        (
            "a change waits for too long",
            then(&[(10.0, Queued(V4))]),
            75.0,
            Some("rules are out of date: a change has waited for 65s".into()),
        ),
        (
            "syncs keep failing",
            then(&[(10.0, Queued(V4)), (11.0, Failed(V4))]),
            75.0,
            Some(format!("rules are out of date: a change has waited for 65s{FAILS}")),
        ),
        (
            "removed rules cannot be written again",
            then(&[(10.0, Removed(V4)), (11.0, Failed(V4))]),
            75.0,
            Some(format!("rules that another process removed are missing{FAILS}")),
        ),
        (
            "syncs work again",
            then(&[(10.0, Removed(V4)), (11.0, Failed(V4)), (80.0, Updated(V4))]),
            81.0,
            None,
        ),
    ];
    for (case, steps, second, reason) in cases {
        let (state, time) = after(&steps);
        let report = state.report(Probe::Readyz, time.at(second));
        let body: serde_json::Value = serde_json::from_str(&report.body).unwrap();
        let expected = reason.clone().map_or(serde_json::Value::Null, Into::into);
        assert_eq!(body["status"]["IPv4"]["reason"], expected, "{case}");
        assert_eq!((report.ok, &body["healthy"]), (reason.is_none(), &reason.is_none().into()), "{case}");
    }
}

#[test]
fn each_family_has_its_reason_and_one_unhealthy_family_is_enough() {
    let (state, time) = after(&[(0.0, Started(V4)), (0.0, Started(V6)), (1.0, Updated(V4))]);
    assert_eq!(
        state.report(Probe::Readyz, time.at(2.0)),
        Report {
            ok: false,
            body: "{\"lastUpdated\":\"2023-11-14T22:13:21Z\",\"currentTime\":\"2023-11-14T22:13:22Z\",\
                   \"healthy\":false,\"status\":{\
                   \"IPv4\":{\"lastUpdated\":\"2023-11-14T22:13:21Z\",\"healthy\":true},\
                   \"IPv6\":{\"lastUpdated\":\"0001-01-01T00:00:00Z\",\"healthy\":false,\
                   \"reason\":\"waiting for Services, EndpointSlices and this node's Node object\"}}}"
                .into(),
        }
    );
}

#[test]
fn rules_are_programmed_from_the_initial_sync_on_and_not_while_they_are_removed() {
    let cases = [
        ("nothing has started", vec![], false),
        ("started", vec![(0.0, Started(V4))], false),
        ("a change waits", vec![(0.0, Started(V4)), (1.0, Queued(V4))], false),
        ("synced", vec![(0.0, Started(V4)), (1.0, Updated(V4))], true),
        ("late", vec![(0.0, Started(V4)), (1.0, Updated(V4)), (2.0, Queued(V4)), (3.0, Failed(V4))], true),
        ("removed", vec![(0.0, Started(V4)), (1.0, Updated(V4)), (2.0, Removed(V4))], false),
        ("back", vec![(0.0, Started(V4)), (1.0, Updated(V4)), (2.0, Removed(V4)), (3.0, Updated(V4))], true),
        ("the other family", vec![(0.0, Started(V4)), (0.0, Started(V6)), (1.0, Updated(V6))], false),
    ];
    for (case, steps, programmed) in cases {
        assert_eq!(after(&steps).0.health.is_programmed(V4), programmed, "{case}");
    }
}

#[test]
fn before_the_initial_sync_lag_counts_from_the_start() {
    let (state, time) = after(&[(0.0, Started(V4))]);
    assert_eq!(state.lag(V4, time.at(3600.0)), Duration::from_secs(3600));
    state.at(time.at(3590.0)).queued(V4);
    assert_eq!(state.lag(V4, time.at(3600.0)), Duration::from_secs(3600));
    state.at(time.at(3600.0)).updated(V4);
    assert_eq!(state.lag(V4, time.at(3601.0)), Duration::ZERO);
}

#[test]
fn lag_is_the_age_of_the_oldest_pending_change_of_the_family() {
    let cases = [
        ("nothing has waited", vec![], 0.0),
        ("one change", vec![(10.0, Queued(V4))], 6.0),
        ("the oldest of two", vec![(10.0, Queued(V4)), (15.0, Queued(V4))], 6.0),
        ("programmed", vec![(10.0, Queued(V4)), (15.0, Updated(V4))], 0.0),
        ("a change of the other family", vec![(1.0, Started(V6)), (2.0, Queued(V6))], 0.0),
    ];
    for (case, then, lag) in cases {
        let steps: Vec<_> = [(0.0, Started(V4)), (1.0, Updated(V4))].into_iter().chain(then).collect();
        let (state, time) = after(&steps);
        assert_eq!(state.lag(V4, time.at(16.0)), Duration::from_secs_f64(lag), "{case}");
    }
}

#[test]
fn a_jump_of_the_wall_clock_makes_nothing_late() {
    let (state, time) = after(&[(0.0, Started(V4)), (0.0, Eligible), (1.0, Updated(V4))]);
    state.at(time.at(2.0)).queued(V4);
    let jumped = Moment { wall: SystemTime::UNIX_EPOCH, ..time.at(3.0) };
    assert!(state.report(Probe::Livez, jumped).ok);
    let jumped = Moment { wall: time.at(1e6).wall, ..time.at(3.0) };
    assert!(state.report(Probe::Livez, jumped).ok);
}

#[test]
fn unknown_services_fail_healthz_with_the_reason_and_nothing_else() {
    let (state, time) = after(&[(0.0, Started(V4)), (0.0, Eligible), (1.0, Updated(V4))]);
    let now = time.at(2.0);
    state.health.set_incomplete(Some("a.yaml: \"x\"".into()));
    let report = state.report(Probe::Healthz, now);
    assert!(!report.ok);
    let words =
        "\"nodeEligible\":true,\"healthy\":false,\"reason\":\"a.yaml: \\\"x\\\"\",\"status\":{\"IPv4\":";
    assert!(report.body.contains(words), "{}", report.body);
    assert!(state.at(now).is_healthy(), "the Services that are known are served");
    let report = state.report(Probe::Livez, now);
    assert!(report.ok && !report.body.contains("reason"), "{}", report.body);
    state.health.set_incomplete(None);
    let report = state.report(Probe::Healthz, now);
    assert!(report.ok && !report.body.contains("reason"), "{}", report.body);
}
