//! A proxy with a backend of its own, from start to signal, through the same entry as ours.
//!
//! One test, because it sends its own process a signal, and a process has one log.

#![expect(clippy::unwrap_used, reason = "everything in this file is a test")]

use std::ffi::OsString;
use std::fs;
use std::io::{Error, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use portolan_core::{
    ApplyReport, BackendError, BackendFactory, ChangeSet, IpFamily, NodePlan, ProbeFailure, ProxyBackend,
    ProxyMode, Registry,
};

const PATIENCE: Duration = Duration::from_secs(30);

const SERVICE: &str = "apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  clusterIP: 10.96.0.7
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: web-1
  namespace: shop
  labels: {kubernetes.io/service-name: web}
addressType: IPv4
ports: [{name: \"\", port: 8080, protocol: TCP}]
endpoints: [{addresses: [10.244.0.7]}]
";

/// What the backends were told, and whether they may succeed.
#[derive(Default)]
struct Told {
    refuses: bool,
    panics: bool,
    plans: Vec<String>,
    cleaned: Vec<IpFamily>,
}

#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Told>>);

#[async_trait]
impl BackendFactory for Recorder {
    fn mode(&self) -> ProxyMode {
        ProxyMode::new("recorder")
    }

    async fn probe(&self) -> Result<(), ProbeFailure> {
        Ok(())
    }

    fn create(&self, family: IpFamily) -> Result<Box<dyn ProxyBackend>, BackendError> {
        Ok(Box::new(Recording { told: Arc::clone(&self.0), family }))
    }
}

struct Recording {
    told: Arc<Mutex<Told>>,
    family: IpFamily,
}

#[async_trait]
impl ProxyBackend for Recording {
    fn mode(&self) -> ProxyMode {
        ProxyMode::new("recorder")
    }

    async fn apply(&mut self, plan: &NodePlan, _: &ChangeSet) -> Result<ApplyReport, BackendError> {
        let panics = self.told.lock().unwrap().panics;
        assert!(!panics, "the recorder is broken");
        let mut told = self.told.lock().unwrap();
        if told.refuses {
            let source = Box::new(Error::other("not now"));
            return Err(BackendError::Busy { object: "the recorder".into(), source });
        }
        told.plans.push(format!("{} {:?}", self.family, plan.service_ports));
        Ok(ApplyReport::default())
    }

    async fn cleanup(&mut self) -> Result<(), BackendError> {
        self.told.lock().unwrap().cleaned.push(self.family);
        Ok(())
    }
}

/// Addresses on loopback that were free a moment ago.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Status code and body, once somebody answers.
fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn run(recorder: &Recorder, args: &[String]) -> ExitCode {
    let mut registry = Registry::default();
    registry.register(recorder.clone()).unwrap();
    portolan::run(&registry, std::iter::once("portolan".into()).chain(args.iter().map(OsString::from)))
}

fn put(folder: &Path, text: &str) {
    let draft = folder.join("draft");
    fs::write(&draft, text).unwrap();
    fs::rename(draft, folder.join("web.yaml")).unwrap();
}

#[test]
fn a_custom_backend_serves_manifests_is_probed_and_measured_and_stops_on_sigterm() {
    let recorder = Recorder::default();
    recorder.0.lock().unwrap().refuses = true;
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), SERVICE);
    let (health, metrics) = (free_address(), free_address());
    let mut args = [
        "--mode=recorder".to_owned(),
        format!("--manifests={}", folder.path().display()),
        "--hostname-override=n1".to_owned(),
        format!("--healthz-bind-address={health}"),
        format!("--metrics-bind-address={metrics}"),
    ];
    let proxy = {
        let (recorder, args) = (recorder.clone(), args.clone());
        thread::spawn(move || run(&recorder, &args))
    };
    let status = |address, path| get(address, path).map(|(status, _)| status);
    let page = || get(metrics, "/metrics").map(|(_, body)| body).unwrap_or_default();

    // No rules yet: alive, but not to be sent traffic.
    wait_until("an apply has failed", || {
        page().contains("kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"}")
    });
    assert_eq!((status(health, "/healthz"), status(health, "/livez")), (Some(503), Some(200)));
    assert!(get(health, "/healthz").unwrap().1.contains("\"healthy\":false"));
    assert!(!page().contains("kubeproxy_sync_proxy_rules_last_timestamp_seconds{"));
    assert_eq!(status(health, "/metrics"), Some(404));

    // The kernel takes them: healthy.
    recorder.0.lock().unwrap().refuses = false;
    wait_until("/healthz is 200", || status(health, "/healthz") == Some(200));
    let plan = "IPv4 {shop/web tcp: port 80 cluster 10.96.0.7 → [10.244.0.7:8080 anywhere]}";
    assert!(recorder.0.lock().unwrap().plans.iter().any(|told| told == plan));
    assert!(page().contains("kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv4\"} 1"));
    assert!(page().contains("kubeproxy_proxy_healthz_total{code=\"503\"}"));
    assert!(page().contains("portolan_source_errors_total{error=\"broken_file\"} 0"));
    assert!(!page().contains("nftables_sync_failures_total{"), "another mode failed");
    assert_eq!(get(metrics, "/proxyMode"), Some((200, "recorder".to_owned())));
    assert_eq!(get(metrics, "/healthz"), Some((200, "ok".to_owned())));

    // A change of the folder arrives.
    put(folder.path(), &SERVICE.replace("10.244.0.7", "10.244.0.8"));
    let changed = plan.replace("10.244.0.7", "10.244.0.8");
    wait_until("the change is applied", || recorder.0.lock().unwrap().plans.contains(&changed));

    // SIGTERM ends it, and takes nothing away.
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(proxy.join().unwrap(), ExitCode::SUCCESS);
    assert_eq!(recorder.0.lock().unwrap().cleaned, []);
    assert_eq!(get(health, "/livez"), None);

    // --cleanup does, in every family that the host has.
    assert_eq!(run(&recorder, &["--cleanup".to_owned()]), ExitCode::SUCCESS);
    assert_eq!(recorder.0.lock().unwrap().cleaned.first(), Some(&IpFamily::V4));

    // A folder that is not there, and a backend that panics, end it with an exit code.
    args[1].push_str("-gone");
    assert_eq!(run(&recorder, &args), ExitCode::FAILURE);
    args[1].truncate(args[1].len() - "-gone".len());
    recorder.0.lock().unwrap().panics = true;
    assert_eq!(run(&recorder, &args), ExitCode::FAILURE);
}
