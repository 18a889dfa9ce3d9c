//! The API source against a server with every fault there is.
//!
//! Each test ends with the same two questions: does downstream know exactly what the
//! server has, and was every list on the way a complete one?

use std::sync::Arc;
use std::time::Duration;

use portolan_core::event::Object;
use portolan_testkit::api_server::ApiServer;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{ApiSource, Timing};
use crate::ClientObserver;
use crate::convert::{Converted, Converter, Origin, Resource};
use crate::decode::decode;
use crate::metrics::{Count, SourceMetrics};
use crate::recorder::EventRecorder;
use crate::tests::downstream::{Downstream, Known, World};

mod clock;
mod credentials;
mod faults;
mod lists;
mod objects;
mod outages;
mod plugin;
mod proxies;
mod random;
mod requests;
mod secrets;
mod start;
mod tls;

const NODE: &str = "n1";

/// All that is watched.
const RESOURCES: [&str; 4] = ["services", "endpointslices", "nodes", "servicecidrs"];

/// Waits short enough for tests; what must not happen in one waits long.
const TIMING: Timing = Timing {
    watch: Duration::from_secs(300),
    silence: Duration::from_secs(60),
    streamed_list: Duration::from_secs(10),
    answer: Duration::from_secs(10),
    first_retry: Duration::from_millis(10),
    last_retry: Duration::from_millis(40),
    credentials: Duration::from_millis(10),
};

#[test]
fn delays_of_two_nodes_differ() {
    let delay = || Timing::default().backoff().fail(fastrand::f64());
    let delays: std::collections::HashSet<_> = (0..100).map(|_| delay()).collect();
    assert!(delays.len() > 50, "{} different delays", delays.len());
}

/// A source that follows a test's server.
struct Following {
    server: ApiServer,
    downstream: Downstream,
    metrics: Arc<SourceMetrics>,
    reports: EventRecorder,
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Following {
    /// Follows a server that has `objects`, and waits for the first lists.
    async fn of(objects: impl IntoIterator<Item = Value>) -> Self {
        let server = serving(objects).await;
        let mut following = Self::start(server, TIMING).await;
        following.settle().await;
        following
    }

    /// Follows `server` and waits for nothing.
    async fn start(server: ApiServer, timing: Timing) -> Self {
        Self::start_with(server, super::ApiServer::default(), timing, Arc::new(())).await
    }

    /// Follows `server` as `place` says otherwise, and waits for nothing.
    async fn start_with(
        server: ApiServer,
        place: super::ApiServer,
        timing: Timing,
        observer: Arc<dyn ClientObserver>,
    ) -> Self {
        let kubeconfig = place.kubeconfig.or_else(|| Some(server.kubeconfig_file().to_owned()));
        let place = super::ApiServer { kubeconfig, ..place };
        let source = ApiSource::new(&place, NODE, timing, observer).await.unwrap();
        let (sender, downstream) = Downstream::new();
        let (metrics, reports, (stop, stopped)) = (source.metrics(), source.events(), oneshot::channel());
        let task = tokio::spawn(source.run(sender, async move {
            let _: Result<(), _> = stopped.await;
        }));
        Self { server, downstream, metrics, reports, task, stop }
    }

    /// Waits until downstream knows exactly what the server has.
    async fn settle(&mut self) -> &World {
        let wanted = expected(&self.server);
        let same = |world: &World| {
            world.is_listed()
                && world.services.objects == wanted.services.objects
                && world.slices.objects == wanted.slices.objects
                && world.nodes.objects == wanted.nodes.objects
                && world.service_cidrs.objects == wanted.service_cidrs.objects
        };
        self.downstream.until("world like the server's", same).await
    }

    /// Waits until all four watches run, so that a fault hits every one of them.
    async fn watched(&mut self) {
        let watching = self.server.wait_for_watchers(&RESOURCES);
        tokio::time::timeout(Duration::from_secs(20), watching).await.expect("four watches");
    }

    /// Waits until this many tries have failed, while nothing may arrive.
    async fn failed(&mut self, times: u64) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while self.metrics.get(Count::Failures) < times {
            assert!(tokio::time::Instant::now() < deadline, "{} failures", self.metrics.get(Count::Failures));
            assert_eq!(self.downstream.during(Duration::from_millis(10)).await, 0);
        }
    }

    fn services(&self) -> Vec<String> {
        self.downstream.world.services.names()
    }

    async fn finish(self) {
        self.stop.send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(5), self.task).await.expect("an end").unwrap();
    }
}

async fn serving(objects: impl IntoIterator<Item = Value>) -> ApiServer {
    let server = ApiServer::start().await.unwrap();
    server.apply_all(objects);
    server
}

/// What downstream should know of `server`: each object read on its own.
fn expected(server: &ApiServer) -> World {
    let mut world = World {
        services: readable(server),
        slices: readable(server),
        nodes: readable(server),
        service_cidrs: readable(server),
        ..World::default()
    };
    world.nodes.objects.retain(|name, _| &**name == NODE);
    world
}

fn readable<T: Resource>(server: &ApiServer) -> Known<T> {
    let mut known = Known::default();
    for object in server.objects(T::KIND) {
        let json = object.to_string();
        let mut converter = Converter::new(Origin::Api, Arc::default());
        if let Ok((Converted::Proxied(object), _)) = decode::<T>(json.as_bytes(), &mut converter) {
            known.objects.insert(Object::key(&object).clone(), object);
        }
    }
    known
}

fn service(name: &str, ip: &str) -> Value {
    json!({
        "kind": "Service", "metadata": {"namespace": "shop", "name": name},
        "spec": {"clusterIP": ip, "clusterIPs": [ip], "ipFamilies": ["IPv4"], "ports": [{"name": "http", "protocol": "TCP", "port": 80}]},
    })
}

fn slice(name: &str, service: &str, addresses: &[&str]) -> Value {
    let endpoints: Vec<_> = addresses.iter().map(|address| json!({"addresses": [address]})).collect();
    json!({
        "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": endpoints,
        "metadata": {"namespace": "shop", "name": name, "labels": {"kubernetes.io/service-name": service}},
        "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
    })
}

fn node(name: &str) -> Value {
    json!({"kind": "Node", "metadata": {"name": name}, "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.7"}]}})
}

fn service_cidr(name: &str) -> Value {
    json!({"kind": "ServiceCIDR", "metadata": {"name": name}, "spec": {"cidrs": ["10.96.0.0/16"]}})
}

/// `count` Services with a slice each, this node and another, and a ServiceCIDR.
fn small_cluster(count: usize) -> Vec<Value> {
    let mut objects = vec![node(NODE), node("n2"), service_cidr("kubernetes")];
    for i in 0..count {
        objects.push(service(&format!("s{i:03}"), &format!("10.96.{}.{}", i / 250, i % 250)));
        objects.push(slice(&format!("s{i:03}-1"), &format!("s{i:03}"), &["10.244.0.1", "10.244.0.2"]));
    }
    objects
}
