//! The real binary through random objects, faults of the API server, restarts and edits by others.
//!
//! After each round the node must serve what a proxy serves that starts on the same objects with an empty
//! kernel. Connections to a Service that nothing touches never fail, except by damage that others do. With the
//! same objects, memory, descriptors and threads of a process stay where they are.
//!
//! Without further settings the same few rounds are played each time. `PORTOLAN_SOAK_MINUTES` sets how long each
//! mode is tested by rounds that are new (`make soak`), `PORTOLAN_SEED` repeats them.

mod kernel;
mod objects;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use portolan_core::event::{Change, Event, Object};
use portolan_testkit::api_server::{ApiServer, Refusal, StreamedLists};
use portolan_testkit::netns::{
    Caller, EchoServer, Namespace, POD_CIDR_V4, POD_CIDR_V6, Portolan, Prober, Program, Topology, Transport,
    isolated, wait_until,
};
use portolan_testkit::shop::POD_PORT;
use portolan_testkit::world;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::Value;
use tokio::runtime::Runtime;

use self::kernel::Mode;

/// A repair may take a sync period, and a lost API server its longest back-off.
const PATIENCE: Duration = Duration::from_secs(90);
/// How many rounds are played where no time is set.
const FEW_ROUNDS: usize = 4;
/// How many rounds lie between two comparisons of what the process uses.
const BETWEEN_USAGES: usize = 10;
/// A connection that met missing rules stays in connection tracking, untranslated, and takes along the next one from
/// its port. That is two minutes by default; ports of a caller come again after one.
const SYN_SENT: (&str, &str) = ("net/netfilter/nf_conntrack_tcp_timeout_syn_sent", "5");
/// Services that no random event touches: so many that memory which grows with each round shows.
const STEADY: u16 = 200;

/// Something that goes wrong while objects change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Nothing,
    ConnectionsCut,
    WatchesExpired,
    HistoryCompacted,
    ServerDown,
    Refused(u16),
    ListBroken(usize),
    Streaming(StreamedLists),
    MalformedEvent,
    ForeignEdit(usize),
    Killed,
    Terminated,
    /// Killed, and damaged before the next process starts.
    KilledAndEdited(usize),
}

impl Fault {
    /// Whether a packet may meet missing rules.
    fn damages(self) -> bool {
        matches!(self, Self::ForeignEdit(_) | Self::KilledAndEdited(_))
    }
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        6 => Just(Fault::Nothing),
        2 => Just(Fault::ConnectionsCut),
        2 => Just(Fault::WatchesExpired),
        1 => Just(Fault::HistoryCompacted),
        1 => Just(Fault::ServerDown),
        1 => select(vec![401, 403, 429, 500, 504]).prop_map(Fault::Refused),
        1 => (0_usize..300).prop_map(Fault::ListBroken),
        1 => select(vec![StreamedLists::Supported, StreamedLists::NoStorage, StreamedLists::Forbidden])
            .prop_map(Fault::Streaming),
        1 => Just(Fault::MalformedEvent),
        4 => any::<usize>().prop_map(Fault::ForeignEdit),
        1 => prop_oneof![
            Just(Fault::Killed),
            Just(Fault::Terminated),
            any::<usize>().prop_map(Fault::KilledAndEdited),
        ],
    ]
}

/// What a process uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Usage {
    resident_kb: u64,
    descriptors: usize,
    threads: u64,
}

impl Usage {
    fn of(process: u32) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        Self {
            resident_kb: field("VmRSS:"),
            descriptors: std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count(),
            threads: field("Threads:"),
        }
    }

    /// Whether this is what `before` was, give or take connections that end and a heap's holes.
    fn is_flat_since(self, before: Self) -> bool {
        self.resident_kb <= before.resident_kb * 5 / 4 + 4096
            && self.descriptors <= before.descriptors + 4
            && self.threads <= before.threads + 4
    }
}

/// What a run came to.
#[derive(Default)]
struct PodCounts {
    rounds: usize,
    events: usize,
    faults: BTreeMap<String, usize>,
    usages: Vec<Usage>,
}

impl fmt::Display for PodCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rounds, events, faults, usages } = self;
        write!(f, "{rounds} rounds, {events} events, faults {faults:?}, usage")?;
        match (usages.first(), usages.last()) {
            (Some(first), Some(last)) => write!(f, " first {first:?}, last {last:?}"),
            _ => f.write_str(" not compared"),
        }
    }
}

/// A namespace with an API server on its loopback and a proxy.
struct Served {
    namespace: Namespace,
    api: ApiServer,
    proxy: Portolan,
}

impl Served {
    fn start(mode: Mode, namespace: &Namespace, runtime: &Runtime, objects: Vec<Value>) -> Self {
        let api = namespace.run(|| runtime.block_on(ApiServer::start())).unwrap().unwrap();
        api.apply_all(objects);
        let proxy = start_proxy(mode, namespace, &api);
        let mut served = Self { namespace: namespace.clone(), api, proxy };
        served.proxy.wait_synced(PATIENCE).unwrap();
        served
    }

    /// All objects, as another server takes them: this one keeps them without their kind.
    fn objects(&self) -> Vec<Value> {
        let of_kind = |kind: &'static str| {
            self.api.objects(kind).into_iter().map(move |mut object| {
                object["kind"] = kind.into();
                object
            })
        };
        ["Node", "ServiceCIDR", "Service", "EndpointSlice"].into_iter().flat_map(of_kind).collect()
    }
}

fn start_proxy(mode: Mode, namespace: &Namespace, api: &ApiServer) -> Portolan {
    let kubeconfig = api.kubeconfig_file().display().to_string();
    let cidrs = format!("{POD_CIDR_V4},{POD_CIDR_V6}");
    let flags = [
        ("--kubeconfig", kubeconfig.as_str()),
        ("--mode", mode.name()),
        ("--hostname-override", world::THIS_NODE),
        ("--cluster-cidr", &cidrs),
        ("--iptables-sync-period", "1s"),
        ("--metrics-bind-address", "127.0.0.1:10249"),
        ("--healthz-bind-address", "127.0.0.1:10256"),
        ("-v", "2"),
    ];
    Portolan::start(namespace, flags.iter().flat_map(|(flag, value)| [*flag, *value])).unwrap()
}

struct Soak {
    mode: Mode,
    /// From a new port for each connection: see [`SYN_SENT`].
    caller: Caller,
    #[expect(dead_code, reason = "its cables are there as long as it is held")]
    net: Topology,
    runtime: Runtime,
    node: Served,
    reference: Namespace,
    runner: TestRunner,
    seed: u64,
    tally: PodCounts,
    /// What the running process used when it was compared first.
    baseline: Option<Usage>,
    rounds_of_process: usize,
    #[expect(dead_code, reason = "serve as long as they are held")]
    servers: Vec<EchoServer>,
}

impl Soak {
    fn start(mode: Mode) -> Self {
        let seed = match std::env::var("PORTOLAN_SEED") {
            Ok(seed) => seed.parse().unwrap(),
            Err(_) if minutes().is_none() => 1,
            Err(_) => std::time::UNIX_EPOCH.elapsed().unwrap().as_secs(),
        };
        println!("PORTOLAN_SEED={seed}");
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let net = Topology::routed(1).unwrap();
        net.node().sysctl(&[SYN_SENT]).unwrap();
        let servers = net.serve(&[POD_PORT]).unwrap();
        // Its threads are started in the node, and so are their sockets.
        let runtime = net.node().run(|| {
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
        });
        let runtime = runtime.unwrap();
        let node = Served::start(mode, net.node(), &runtime, steady(&net));
        let reference = Namespace::create("reference").unwrap();
        take_addresses(net.node(), &reference);
        Self {
            mode,
            caller: Caller::from(net.client()).with_fresh_ports(),
            net,
            runtime,
            node,
            reference,
            runner: TestRunner::new_with_rng(Config::default(), rng),
            seed,
            tally: PodCounts::default(),
            baseline: None,
            rounds_of_process: 0,
            servers,
        }
    }

    fn draw<T: fmt::Debug>(&mut self, strategy: impl Strategy<Value = T>) -> T {
        strategy.new_tree(&mut self.runner).unwrap().current()
    }

    fn shell(&self, edits: &[&str], index: usize) {
        let edit = edits[index % edits.len()];
        let program = Program::new("sh").args(["-c", edit]);
        // Whether it was let in or not: the node must serve.
        let _ = self.node.namespace.run_program(&program);
    }

    /// Objects change while something goes wrong; then the node must come to serve what a new one serves.
    fn round(&mut self) {
        let fault = self.draw(fault());
        let events = self.draw(world::events(1..30));
        let prober = self.probe();
        self.begin(fault);
        for event in &events {
            apply(&self.node.api, event);
        }
        self.end(fault);
        self.assert_serves_as_a_new_node(fault, &events);
        if let Some(prober) = prober {
            prober.wait_for_attempts(3, PATIENCE).unwrap();
            let report = prober.stop();
            assert!(
                fault.damages() || report.tally.failed() == 0,
                "seed {}, round {}, {fault:?}: {} {:?}",
                self.seed,
                self.tally.rounds,
                report.tally,
                report.first_failures
            );
        }
        self.tally.rounds += 1;
        self.tally.events += events.len();
        let name = format!("{fault:?}");
        let kind = name.split('(').next().unwrap_or_default().to_owned();
        *self.tally.faults.entry(kind).or_default() += 1;
        self.rounds_of_process += 1;
        if self.rounds_of_process.is_multiple_of(BETWEEN_USAGES) {
            self.compare_usage();
        }
    }

    /// Connections to a steady Service. A relay takes its connections along when it ends.
    fn probe(&self) -> Option<Prober> {
        let vip: SocketAddr = (IpAddr::from([10, 96, 1, 1]), 80).into();
        let prober = || Prober::start(&self.caller, Transport::Tcp, vip).unwrap();
        (self.mode != Mode::Userspace).then(prober)
    }

    fn begin(&mut self, fault: Fault) {
        let api = &self.node.api;
        match fault {
            Fault::Nothing | Fault::Killed | Fault::Terminated | Fault::KilledAndEdited(_) => {}
            Fault::ConnectionsCut => self.runtime.block_on(api.cut_connections()),
            Fault::WatchesExpired => api.expire_watches(),
            Fault::HistoryCompacted => {
                api.compact();
                self.runtime.block_on(api.cut_connections());
            }
            Fault::ServerDown => self.runtime.block_on(api.set_down(true)),
            Fault::Refused(status) => {
                api.refuse(Some(Refusal { status, resource: "" }));
                self.runtime.block_on(api.cut_connections());
            }
            Fault::ListBroken(after) => {
                api.break_next_list_after(after);
                api.expire_watches();
            }
            Fault::Streaming(support) => {
                api.set_streamed_lists(support);
                api.expire_watches();
            }
            Fault::MalformedEvent => api.inject("services", "{\"type\":\"ADDED\",\"object\":"),
            Fault::ForeignEdit(index) => self.shell(self.mode.foreign_edits(), index),
        }
    }

    fn end(&mut self, fault: Fault) {
        match fault {
            Fault::ServerDown => self.runtime.block_on(self.node.api.set_down(false)),
            Fault::Refused(_) => self.node.api.refuse(None),
            Fault::Killed | Fault::KilledAndEdited(_) | Fault::Terminated => self.restart(fault),
            _ => {}
        }
    }

    fn restart(&mut self, fault: Fault) {
        // The next one starts beside the one that ends, as in a rollout, unless the kernel is edited in between.
        if let Fault::KilledAndEdited(index) = fault {
            let next = || start_proxy(self.mode, &self.node.namespace, &self.node.api);
            Program::new("kill").args(["-9", &self.node.proxy.id().to_string()]).run().unwrap();
            let gone = || !std::path::Path::new(&format!("/proc/{}/exe", self.node.proxy.id())).exists();
            wait_until("the process is gone", PATIENCE, gone).unwrap();
            self.shell(self.mode.edits_of_a_stopped_proxy(), index);
            self.node.proxy = next();
        } else {
            let next = start_proxy(self.mode, &self.node.namespace, &self.node.api);
            let old = std::mem::replace(&mut self.node.proxy, next);
            if fault == Fault::Killed {
                old.kill().unwrap();
            } else {
                assert!(old.terminate(PATIENCE).unwrap().success());
            }
        }
        self.baseline = None;
        self.rounds_of_process = 0;
    }

    fn assert_serves_as_a_new_node(&mut self, fault: Fault, events: &[Event]) {
        let objects = self.node.objects();
        let fresh = Served::start(self.mode, &self.reference, &self.runtime, objects);
        let (mode, namespace, reference) = (self.mode, &self.node.namespace, &self.reference);
        let (mut held, mut wanted) = (String::new(), String::new());
        // Both are read each time: the new one is synced before it has read the ServiceCIDRs.
        let equal = self.node.proxy.wait_until("the node serves as a new one", PATIENCE, |_| {
            held = mode.held(namespace);
            wanted = mode.held(reference);
            held == wanted
        });
        fresh.proxy.terminate(PATIENCE).unwrap();
        self.empty_reference();
        if let Err(error) = equal {
            let (seed, round) = (self.seed, self.tally.rounds);
            panic!(
                "seed {seed}, round {round}, {fault:?}: {error}\n{}\nevents: {events:#?}",
                differing_lines(&held, &wanted)
            );
        }
    }

    /// So that the next one there starts with an empty kernel.
    fn empty_reference(&self) {
        let mut cleanup = Portolan::start(&self.reference, ["--cleanup"]).unwrap();
        // It ends by itself.
        let _ = cleanup.wait_until("it ends", PATIENCE, |_| false);
        let left = self.mode.held(&self.reference);
        for name in ["steady-1", "10.96.1.1"] {
            assert!(!left.contains(name), "seed {}: cleanup leaves {left}", self.seed);
        }
    }

    /// With the steady Services alone, the process uses what it used when it had them alone before.
    fn compare_usage(&mut self) {
        let lists = world::World::default().lists();
        for event in &lists {
            apply(&self.node.api, event);
        }
        self.assert_serves_as_a_new_node(Fault::Nothing, &[]);
        let id = self.node.proxy.id();
        let Some(baseline) = self.baseline else {
            let usage = Usage::of(id);
            self.tally.usages.push(usage);
            self.baseline = Some(usage);
            return;
        };
        // Connections that were cut take a moment to go.
        let mut usage = baseline;
        let flat = wait_until("usage is flat", PATIENCE, || {
            usage = Usage::of(id);
            usage.is_flat_since(baseline)
        });
        self.tally.usages.push(usage);
        if let Err(error) = flat {
            panic!("seed {}: {error}: {baseline:?} became {usage:?}; {}", self.seed, self.tally);
        }
    }
}

/// Steady Services and what every cluster has.
fn steady(net: &Topology) -> Vec<Value> {
    let node = portolan_testkit::objects::node("n1", &[]);
    let mut objects = vec![objects::node(&node, &node_addresses())];
    for number in 1..=STEADY {
        let cluster_ips = [format!("10.96.1.{number}"), format!("fd00:10:96::1{number:02x}")];
        let pod = net.pod(1);
        let endpoints = if number == 1 {
            [pod.ipv4.to_string(), pod.ipv6.to_string()]
        } else {
            [format!("10.244.1.{number}"), format!("fd00:10:244:1::{number:x}")]
        };
        objects.extend(objects::steady(number, &cluster_ips, endpoints, (80, POD_PORT)));
    }
    objects
}

fn node_addresses() -> [String; 2] {
    use portolan_testkit::netns::{NODE_V4, NODE_V6};
    [NODE_V4.to_string(), NODE_V6.to_string()]
}

/// Gives a namespace all addresses that the node has, so that a proxy there finds the same host.
fn take_addresses(node: &Namespace, reference: &Namespace) {
    reference.sysctl(&[("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")]).unwrap();
    reference.ip("link set lo up").unwrap();
    for line in node.ip("-o addr show").unwrap().lines() {
        // 2: client    inet 192.0.2.1/24 scope global client\       valid_lft forever
        let words: Vec<_> = line.split_whitespace().collect();
        let [_, name, "inet" | "inet6", address, ..] = words[..] else { panic!("{line}") };
        if name != "lo" && !address.starts_with("fe80") {
            reference.ip(&format!("addr add {address} dev lo nodad")).unwrap();
        }
    }
}

/// Makes the server's objects follow a random event. Those of the steady Services are not its business.
fn apply(api: &ApiServer, event: &Event) {
    match event {
        Event::Service(change) => follow(api, "Service", change, objects::service),
        Event::EndpointSlice(change) => follow(api, "EndpointSlice", change, objects::slice),
        Event::ServiceCidr(change) => follow(api, "ServiceCIDR", change, objects::service_cidr),
        Event::Node(Change::Applied(node)) => {
            api.apply(objects::node(node, &node_addresses()));
        }
        // A Node that goes is kept as it was last, which a new process cannot know; API servers are the test's own.
        Event::Node(_) | Event::ApiServer(_) => {}
    }
}

fn follow<T: Object>(api: &ApiServer, kind: &str, change: &Change<T>, write: fn(&T) -> Value) {
    let split = |key: &str| match key.split_once('/') {
        Some((namespace, name)) => (namespace.to_owned(), name.to_owned()),
        None => (String::new(), key.to_owned()),
    };
    match change {
        Change::Applied(object) => {
            api.apply(write(object));
        }
        Change::Deleted(key) => {
            let (namespace, name) = split(&key.to_string());
            api.delete(kind, &namespace, &name);
        }
        Change::Replaced(all) => {
            for object in api.objects(kind) {
                let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
                let (namespace, name) = (text("namespace"), text("name"));
                let is_kept = all
                    .iter()
                    .any(|kept| split(&kept.key().to_string()) == (namespace.clone(), name.clone()));
                if namespace != "steady" && !is_kept {
                    api.delete(kind, &namespace, &name);
                }
            }
            api.apply_all(all.iter().map(write));
        }
    }
}

fn differing_lines(held: &str, wanted: &str) -> String {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    let (held, wanted) = (lines(held), lines(wanted));
    let too_many = held.difference(&wanted).map(|line| format!("+ {line}"));
    let missing = wanted.difference(&held).map(|line| format!("- {line}"));
    too_many.chain(missing).take(60).collect::<Vec<_>>().join("\n")
}

fn minutes() -> Option<f64> {
    std::env::var("PORTOLAN_SOAK_MINUTES").ok().map(|minutes| minutes.parse().unwrap())
}

fn soak(mode: Mode) {
    let end = minutes().map(|minutes| Instant::now() + Duration::from_secs_f64(minutes * 60.0));
    let mut soak = Soak::start(mode);
    let is_over = |soak: &Soak| match end {
        Some(end) => Instant::now() >= end,
        None => soak.tally.rounds >= FEW_ROUNDS,
    };
    while !is_over(&soak) {
        soak.round();
    }
    println!("{}: {}", mode.name(), soak.tally);
}

#[test]
fn nftables_serves_as_a_new_node_after_random_changes_and_faults() {
    isolated(|| soak(Mode::Nftables));
}

#[test]
fn iptables_serves_as_a_new_node_after_random_changes_and_faults() {
    isolated(|| soak(Mode::Iptables));
}

#[test]
fn userspace_serves_as_a_new_node_after_random_changes_and_faults() {
    isolated(|| soak(Mode::Userspace));
}
