//! The whole way: from an API server's answer, or its watch event, to the kernel's commit.
//!
//! The API server is testkit's, in this process, so its work is part of what is timed.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use portolan_backend_nftables::NftablesFactory;
use portolan_core::event::{Event, Node as NodeObject};
use portolan_core::{BackendFactory as _, IpFamily, NodeConfig, State};
use portolan_source::{ApiServer as Server, ApiSource, Timing};
use portolan_sync::{Attempt, SyncLoop, SyncObserver, SyncSettings, SyncThread};
use portolan_testkit::api_server::ApiServer;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::measure::Samples;
use crate::report::{Row, Seen, Unit};

const REPETITIONS: u32 = 300;
const PATIENCE: Duration = Duration::from_secs(60);

/// Passes on when the kernel has everything that has come in.
struct Observer(Sender<Instant>);

impl SyncObserver for Observer {
    fn started(&mut self, _: IpFamily) {}
    fn received(&mut self, _: &Event) {}
    fn node(&mut self, _: &NodeObject) {}
    fn queued(&mut self, _: IpFamily) {}
    fn attempted(&mut self, _: IpFamily, _: &Attempt<'_>) {}
    fn programmed(&mut self, _: IpFamily, _: Duration) {}
    fn in_force(&mut self, _: IpFamily) {}
    fn settled(&mut self) {
        // The benchmark may have ended.
        let _ = self.0.send(Instant::now());
    }
}

/// A first load through the API, and changes of one endpoint.
pub(crate) fn run(services: u32, endpoints: u32, rows: &mut Vec<Row>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let api = runtime.block_on(ApiServer::start())?;
    api.apply_all((0..services).flat_map(|n| [service(n), slice(n, n * endpoints, endpoints)]));

    let began = Instant::now();
    let (settled, sync) = start(&runtime, &api)?;
    let cold = wait(&settled)? - began;
    let row = |scenario: &str, measure: &str, time: Duration| Row {
        scenario: scenario.to_owned(),
        services,
        endpoints: services * endpoints,
        measure: measure.to_owned(),
        seen: Seen::Outside,
        value: time.as_secs_f64(),
        unit: Unit::Seconds,
        target: None,
    };
    rows.push(row("cold-api", "once", cold));

    runtime.block_on(api.wait_for_watchers(&["services", "endpointslices"]));
    let mut samples = Samples::default();
    for round in 0..REPETITIONS {
        let number = round * (services / REPETITIONS);
        let mut changed = slice(number, number * endpoints, endpoints);
        changed["endpoints"][0]["addresses"][0] = json!(address(128, services * endpoints + round));
        let began = Instant::now();
        api.apply(changed).context("the API server refused a slice")?;
        samples.push(wait(&settled)? - began);
    }
    rows.push(row("step-api", "p50", samples.percentile(50)));
    rows.push(row("step-api", "p99", samples.percentile(99)));
    sync.stop();
    Ok(())
}

/// Starts source and sync as the proxy does.
fn start(runtime: &Runtime, api: &ApiServer) -> anyhow::Result<(Receiver<Instant>, SyncThread)> {
    let server = Server { kubeconfig: Some(api.kubeconfig_file().to_owned()), ..Server::default() };
    let source = runtime.block_on(ApiSource::new(&server, "node1", Timing::default(), Arc::new(())))?;
    let (events, receiver) = tokio::sync::mpsc::channel(1024);
    runtime.spawn(source.run(events, std::future::pending()));
    let (settled, times) = channel();
    let make = move || {
        let factory = NftablesFactory::new();
        let backends = IpFamily::ALL
            .into_iter()
            .map(|family| Ok((family, factory.create(family)?)))
            .collect::<Result<_, _>>()?;
        let settings = SyncSettings::new(Duration::ZERO, Duration::from_secs(30), SystemTime::now());
        let state = State::new(NodeConfig::new("node1"));
        Ok(SyncLoop::new(state, backends, &settings, Box::new(Observer(settled))))
    };
    Ok((times, SyncThread::start(make, receiver)?))
}

fn wait(settled: &Receiver<Instant>) -> anyhow::Result<Instant> {
    settled.recv_timeout(PATIENCE).context("the kernel was not brought up to date")
}

fn address(first: u32, index: u32) -> String {
    std::net::Ipv4Addr::from((first << 24) + index).to_string()
}

fn service(number: u32) -> Value {
    let ip = address(10, (96 << 16) + number + 1);
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": format!("s{number}"), "namespace": "bench"},
        "spec": {
            "type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ipFamilies": ["IPv4"],
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}],
        },
    })
}

fn slice(number: u32, first: u32, endpoints: u32) -> Value {
    let endpoint = |index: u32| {
        json!({
            "addresses": [address(128, index)], "nodeName": format!("node-{}", index % 100),
            "conditions": {"ready": true, "serving": true, "terminating": false},
        })
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": format!("s{number}-1"), "namespace": "bench",
            "labels": {"kubernetes.io/service-name": format!("s{number}")},
        },
        "addressType": "IPv4", "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": (first..first + endpoints).map(endpoint).collect::<Vec<_>>(),
    })
}
