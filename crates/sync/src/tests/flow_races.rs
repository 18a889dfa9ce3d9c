//! Random events, failures and slow searches: in the end no flow contradicts the plan, and none was lost that
//! never did.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use portolan_core::backend::Retry;
use portolan_core::event::Event;
use portolan_core::flows::{Flow, FlowError, StaleFlow};
use portolan_core::plan::{Endpoint, ServicePort};
use portolan_core::{
    ApplyReport, BackendError, ChangeSet, FlowCheck, FlowCleaner, IpFamily, NodePlan, PerFamily, Protocol,
    ProxyBackend, ProxyMode, State,
};
use portolan_testkit::random;
use portolan_testkit::world::{self, World};
use proptest::prelude::*;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::recorder::Recorder;
use super::rig::{error, settings};
use crate::SyncLoop;

/// What connection tracking holds of one family.
#[derive(Debug, Default)]
struct Table {
    /// By number, each with whether any plan since it began would have had it elsewhere.
    flows: HashMap<u64, (Flow, bool)>,
    begun: u64,
    /// Keeps the next search from showing what it found until its sender is dropped.
    gate: Option<Receiver<()>>,
}

impl Table {
    /// Clients begin every flow that `plan` allows and that there is not.
    fn follow(&mut self, plan: &NodePlan) {
        for (flow, was_stale) in self.flows.values_mut() {
            *was_stale |= contradicts(plan, flow);
        }
        for flow in allowed(plan) {
            if !self.flows.values().any(|(known, _)| *known == flow) {
                self.flows.insert(self.begun, (flow, false));
                self.begun += 1;
            }
        }
    }
}

/// The service ports of UDP with their VIPs.
fn vips(plan: &NodePlan) -> impl Iterator<Item = (SocketAddr, &ServicePort)> {
    let udp = plan.service_ports.iter().filter(|(name, _)| name.protocol == Protocol::Udp);
    udp.flat_map(|(_, port)| {
        let vips = port.cluster_ip.into_iter().chain(port.external_addresses());
        vips.map(|ip| (SocketAddr::new(ip, port.port), &**port))
    })
}

fn allowed(plan: &NodePlan) -> impl Iterator<Item = Flow> {
    let source = "198.51.100.1:40000".parse().unwrap();
    vips(plan).flat_map(move |(destination, port)| {
        let is_cluster_ip = port.cluster_ip == Some(destination.ip());
        let endpoints = if is_cluster_ip { port.internal_endpoints() } else { &port.cluster_endpoints };
        endpoints.iter().map(Endpoint::socket_address).map(move |reply_source| Flow {
            source,
            destination,
            reply_source,
            reply_destination: source,
        })
    })
}

/// Whether a flow leads to where no owner of its address lets flows stay.
fn contradicts(plan: &NodePlan, flow: &Flow) -> bool {
    !vips(plan).filter(|(vip, _)| *vip == flow.destination).any(|(_, port)| {
        let chosen = port.cluster_endpoints.iter().chain(port.local_endpoints.iter());
        chosen
            .map(Endpoint::socket_address)
            .chain(port.draining_endpoints.iter().copied())
            .any(|endpoint| endpoint == flow.reply_source)
    })
}

struct Kernel {
    table: Arc<Mutex<Table>>,
    failures: Vec<Option<Retry>>,
}

#[async_trait]
impl ProxyBackend for Kernel {
    fn mode(&self) -> ProxyMode {
        ProxyMode::new("kernel")
    }

    async fn apply(&mut self, plan: &NodePlan, _: &ChangeSet) -> Result<ApplyReport, BackendError> {
        if let Some(retry) = self.failures.pop().flatten() {
            return Err(error(retry));
        }
        self.table.lock().unwrap().follow(plan);
        Ok(ApplyReport::default())
    }

    async fn cleanup(&mut self) -> Result<(), BackendError> {
        Ok(())
    }
}

struct Cleaner {
    table: Arc<Mutex<Table>>,
    failures: Vec<bool>,
}

impl Cleaner {
    fn fail(&mut self) -> Result<(), FlowError> {
        let source = || Box::new(std::io::Error::other("no buffer space"));
        let failure = self.failures.pop().unwrap_or_default();
        if failure { Err(FlowError { action: "fail".into(), source: source() }) } else { Ok(()) }
    }
}

impl FlowCleaner for Cleaner {
    fn find_stale(&mut self, _: IpFamily, check: &FlowCheck) -> Result<Vec<StaleFlow>, FlowError> {
        self.fail()?;
        let (found, gate) = {
            let mut table = self.table.lock().unwrap();
            let stale = |(number, (flow, _)): (&u64, &(Flow, bool))| {
                let handle = number.to_ne_bytes().into();
                check.is_stale(flow).then_some(StaleFlow { flow: *flow, is_by_node_port: false, handle })
            };
            (table.flows.iter().filter_map(stale).collect(), table.gate.take())
        };
        gate.map(|gate| gate.recv());
        Ok(found)
    }

    fn remove(&mut self, _: IpFamily, flows: &[StaleFlow]) -> Result<usize, FlowError> {
        self.fail()?;
        let mut table = self.table.lock().unwrap();
        for stale in flows {
            let number = u64::from_ne_bytes(stale.handle[..].try_into().unwrap());
            let (flow, was_stale) = table.flows.remove(&number).expect("nothing else removes flows");
            assert!(was_stale, "{flow:?} was removed though every plan had it");
        }
        Ok(flows.len())
    }
}

#[derive(Debug, Clone)]
enum Step {
    Event(Box<Event>),
    /// So many milliseconds pass.
    Pause(u64),
    /// The next search of a family takes until its release.
    Hold(IpFamily),
    Release(IpFamily),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let family = || prop::sample::select(IpFamily::ALL.to_vec());
    let step = prop_oneof![
        6 => world::event().prop_map(|event| Step::Event(Box::new(event))),
        3 => prop_oneof![Just(0), 0_u64..50, 0_u64..5_000].prop_map(Step::Pause),
        2 => family().prop_map(Step::Hold),
        1 => family().prop_map(Step::Release),
    ];
    proptest::collection::vec(step, 1..60)
}

fn failures() -> impl Strategy<Value = (Vec<Option<Retry>>, Vec<bool>)> {
    let retry =
        prop_oneof![6 => Just(None), 1 => Just(Some(Retry::SameChanges)), 1 => Just(Some(Retry::CompareAll))];
    let search = prop::bool::weighted(0.15);
    (proptest::collection::vec(retry, 0..20), proptest::collection::vec(search, 0..20))
}

/// Lets the loop and what it started go on.
async fn pause(millis: u64, is_held: bool) {
    let time = Duration::from_millis(millis);
    if !is_held {
        return tokio::time::sleep(time).await;
    }
    // The clock does not go on by itself while a search is held.
    tokio::time::advance(time).await;
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

async fn play(
    steps: Vec<Step>,
    failures: [(Vec<Option<Retry>>, Vec<bool>); 2],
) -> (World, PerFamily<Arc<Mutex<Table>>>) {
    let tables = PerFamily::from_fn(|_| Arc::<Mutex<Table>>::default());
    let (mut backends, mut cleaners) = (Vec::new(), Vec::new());
    for ((family, table), (applies, searches)) in tables.iter().zip(failures) {
        let kernel = Kernel { table: Arc::clone(table), failures: applies };
        backends.push((family, Box::new(kernel) as Box<dyn ProxyBackend>));
        cleaners.push((family, Box::new(Cleaner { table: Arc::clone(table), failures: searches })));
    }
    let sync_loop =
        SyncLoop::new(State::new(world::config()), backends, &settings(), Box::new(Recorder::default()));
    let sync_loop = cleaners
        .into_iter()
        .fold(sync_loop, |sync_loop, (family, cleaner)| sync_loop.with_flow_cleaner(family, cleaner));
    let (events, receiver) = mpsc::channel(128);
    let task = tokio::spawn(sync_loop.run(receiver, CancellationToken::new()));
    let mut world = World::default();
    for event in world.lists() {
        events.send(event).await.unwrap();
    }
    let mut gates = PerFamily::<Option<Sender<()>>>::default();
    for step in steps {
        match step {
            Step::Event(event) => {
                world.handle(&event);
                events.send(*event).await.unwrap();
            }
            Step::Pause(millis) => pause(millis, gates.iter().any(|(_, gate)| gate.is_some())).await,
            Step::Hold(family) => {
                let (sender, gate) = channel();
                tables[family].lock().unwrap().gate = Some(gate);
                gates[family] = Some(sender);
            }
            Step::Release(family) => gates[family] = None,
        }
    }
    drop(gates);
    // No script has more failures than fit into this time at the slowest pace.
    tokio::time::sleep(Duration::from_secs(31 * 50)).await;
    assert!(!task.is_finished(), "the loop panicked");
    task.abort();
    (world, tables)
}

proptest! {
    #![proptest_config(random::cases(100))]

    #[test]
    fn slow_searches_leave_no_flow_that_contradicts_the_plan(
        steps in steps(),
        v4 in failures(),
        v6 in failures(),
    ) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (world, tables) = runtime.block_on(play(steps, [v4, v6]));
        let state = world.state(world::config());
        for family in IpFamily::ALL {
            let plan = state.plan(family);
            let table = tables[family].lock().unwrap();
            for (flow, _) in table.flows.values() {
                prop_assert!(!contradicts(plan, flow), "{:?} was left", flow);
            }
            for flow in allowed(plan) {
                prop_assert!(table.flows.values().any(|(known, _)| *known == flow), "{:?} is lost", flow);
            }
        }
    }
}
