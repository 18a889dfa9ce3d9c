//! What is reported of health checks and gauges after a sync.

use portolan_core::IpFamily::{V4, V6};
use portolan_core::backend::Retry;
use portolan_core::event::{Change, Conditions, Event, ServiceType};
use portolan_core::state::WithoutLocalEndpoints;
use portolan_core::{IpFamily, Protocol};
use portolan_testkit::objects::{node, service, slice};

use super::rig::*;

const TERMINATING: Conditions = Conditions { ready: false, serving: true, terminating: true };

/// The load-balanced Service `ns/lb` with `externalTrafficPolicy: Local` and this health-check port.
fn balanced(check: u16) -> Event {
    service("ns/lb", "10.96.0.5")
        .port("", Protocol::Tcp, 80)
        .node_port(30080)
        .service_type(ServiceType::LoadBalancer)
        .external_local()
        .health_check_node_port(check)
        .applied()
}

fn pod(conditions: Conditions, node: &str) -> Event {
    slice("ns/lb-1", "lb")
        .port("", Protocol::Tcp, 8080)
        .endpoint("10.244.0.5", Some(node), conditions)
        .applied()
}

impl Rig {
    /// The health checks that were reported since the last call.
    fn health_checks(&self) -> Vec<String> {
        self.notes.take().into_iter().filter(|note| note.starts_with("health checks")).collect()
    }

    async fn gauge(&mut self, family: IpFamily, events: impl IntoIterator<Item = Event>) -> [usize; 2] {
        self.send(events).await;
        self.pass(millis(1)).await;
        let WithoutLocalEndpoints { internal, external } = self.notes.without_local(family).unwrap();
        [internal, external]
    }
}

fn reported(check: &str) -> String {
    format!("health checks IPv4 All [(ns/lb, {check})]")
}

#[tokio::test(start_paused = true)]
async fn health_check_is_reported_after_the_sync_and_when_it_changes() {
    let mut rig = Rig::ready(&settings()).await;
    rig.script(V4, [Outcome::bad(Retry::SameChanges), Outcome::GOOD]);
    rig.send([balanced(30_100), pod(Conditions::READY, "n1")]).await;
    rig.pass(millis(50)).await;
    assert_eq!(rig.health_checks(), [""; 0], "the rules are not there yet");
    rig.pass(secs(1)).await;
    assert_eq!(rig.health_checks(), [reported("Some(HealthCheck { port: 30100, local_endpoints: 1 })")]);

    rig.send([pod(TERMINATING, "n1")]).await;
    rig.pass(secs(1)).await;
    assert_eq!(rig.health_checks(), [reported("Some(HealthCheck { port: 30100, local_endpoints: 0 })")]);
    rig.send([v4("other", 9)]).await;
    rig.pass(secs(1)).await;
    assert_eq!(rig.health_checks(), [""; 0]);
    rig.send([balanced(30_200), gone("unknown")]).await;
    rig.pass(secs(1)).await;
    assert_eq!(rig.health_checks(), [reported("Some(HealthCheck { port: 30200, local_endpoints: 0 })")]);
    rig.send([gone("lb")]).await;
    rig.pass(secs(1)).await;
    assert_eq!(rig.health_checks(), [reported("None")]);
}

#[tokio::test(start_paused = true)]
async fn addresses_of_health_checks_follow_the_node_object() {
    let mut rig = Rig::ready(&settings()).await;
    rig.send([balanced(30_100), Event::Node(Change::Applied(node("n1", &["192.0.2.7", "fd00::7"])))]).await;
    rig.pass(secs(1)).await;
    let checks = rig.health_checks();
    assert_eq!(checks.len(), 1, "{checks:?}");
    assert!(checks[0].starts_with("health checks IPv4 Within([192.0.2.7/32])"), "{checks:?}");
}

#[tokio::test(start_paused = true)]
async fn number_of_ports_without_local_endpoints_is_reported_after_each_success() {
    let mut rig = Rig::ready(&settings()).await;
    assert_eq!(rig.gauge(V6, []).await, [0, 0]);
    assert_eq!(rig.gauge(V4, [balanced(0), pod(Conditions::READY, "n2")]).await, [0, 1]);
    let internal = service("ns/in", "10.96.0.6").port("", Protocol::Tcp, 80).internal_local().applied();
    let elsewhere = slice("ns/in-1", "in").port("", Protocol::Tcp, 80).on("n2", "10.244.0.6").applied();
    rig.script(V4, [Outcome::bad(Retry::SameChanges)]);
    assert_eq!(rig.gauge(V4, [internal, elsewhere]).await, [0, 1], "not programmed yet");
    rig.pass(secs(1)).await;
    assert_eq!(rig.gauge(V4, []).await, [1, 1]);
    assert_eq!(rig.gauge(V4, [gone("in"), gone("lb")]).await, [0, 0]);
    assert_eq!(rig.gauge(V6, []).await, [0, 0]);
}
