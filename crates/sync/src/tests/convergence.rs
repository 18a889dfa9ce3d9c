//! Random events and random failures: in the end the kernel has the plan.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use portolan_core::backend::Retry;
use portolan_core::event::Event;
use portolan_core::name::ServicePortName;
use portolan_core::plan::{NodeSettings, ServicePort};
use portolan_core::{
    ApplyReport, BackendError, ChangeSet, IpFamily, NodePlan, PerFamily, ProxyBackend, ProxyMode, State,
};
use portolan_testkit::random;
use portolan_testkit::world::{self, World};
use proptest::prelude::*;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::recorder::Recorder;
use super::rig::{error, settings};
use crate::{SyncLoop, SyncSettings};

/// What a kernel holds.
#[derive(Debug, Default, PartialEq)]
struct Kernel {
    node: Option<NodeSettings>,
    service_ports: HashMap<ServicePortName, Arc<ServicePort>>,
}

impl Kernel {
    fn of(plan: &NodePlan) -> Self {
        Self { node: Some(plan.node.clone()), service_ports: plan.service_ports.clone() }
    }
}

/// A backend that applies the change set, and fails as the script says. A failure
/// after which everything must be compared leaves nonsense in the kernel.
struct ScriptedBackend {
    kernel: Arc<Mutex<Kernel>>,
    failures: Vec<Option<Retry>>,
}

#[async_trait]
impl ProxyBackend for ScriptedBackend {
    fn mode(&self) -> ProxyMode {
        ProxyMode::new("backend")
    }

    async fn apply(&mut self, plan: &NodePlan, changes: &ChangeSet) -> Result<ApplyReport, BackendError> {
        let mut kernel = self.kernel.lock().unwrap();
        let failure = self.failures.pop().flatten();
        if failure == Some(Retry::CompareAll) {
            *kernel = Kernel::default();
        }
        if let Some(retry) = failure {
            return Err(error(retry));
        }
        if changes.is_complete() {
            *kernel = Kernel::of(plan);
            return Ok(ApplyReport::default());
        }
        if let Some(old) = changes.old_node() {
            assert_eq!(kernel.node.as_ref(), Some(old));
            kernel.node = Some(plan.node.clone());
        }
        for (name, old) in changes.service_ports() {
            let held = match plan.service_ports.get(name) {
                Some(port) => kernel.service_ports.insert(name.clone(), Arc::clone(port)),
                None => kernel.service_ports.remove(name),
            };
            assert_eq!(held.as_ref(), old, "{name} as last applied");
        }
        Ok(ApplyReport::default())
    }

    async fn cleanup(&mut self) -> Result<(), BackendError> {
        Ok(())
    }
}

fn failures() -> impl Strategy<Value = Vec<Option<Retry>>> {
    let failure = prop_oneof![
        4 => Just(None),
        2 => Just(Some(Retry::SameChanges)),
        2 => Just(Some(Retry::CompareAll)),
        1 => Just(Some(Retry::Never)),
    ];
    proptest::collection::vec(failure, 0..30)
}

/// Events, each with the milliseconds until the next.
fn stream() -> impl Strategy<Value = Vec<(Event, u64)>> {
    let pause = prop_oneof![Just(0), 0_u64..50, 0_u64..5_000];
    proptest::collection::vec((world::event(), pause), 1..40)
}

async fn play(
    stream: Vec<(Event, u64)>,
    failures: [Vec<Option<Retry>>; 2],
    min_period: Duration,
) -> (World, PerFamily<Arc<Mutex<Kernel>>>) {
    let kernels = PerFamily::from_fn(|_| Arc::<Mutex<Kernel>>::default());
    let backends = kernels.iter().zip(failures).map(|((family, kernel), failures)| {
        let backend = ScriptedBackend { kernel: Arc::clone(kernel), failures };
        (family, Box::new(backend) as Box<dyn ProxyBackend>)
    });
    let settings = SyncSettings { min_period, ..settings() };
    let state = State::new(world::config());
    let sync_loop = SyncLoop::new(state, backends.collect(), &settings, Box::new(Recorder::default()));
    let (events, receiver) = mpsc::channel(16);
    let task = tokio::spawn(sync_loop.run(receiver, CancellationToken::new()));
    let mut world = World::default();
    for event in world.lists() {
        events.send(event).await.unwrap();
    }
    for (event, pause) in stream {
        world.handle(&event);
        events.send(event).await.unwrap();
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    // No script has more failures than fit into this time at the slowest pace.
    tokio::time::sleep(Duration::from_secs(31 * 30)).await;
    assert!(!task.is_finished(), "the loop panicked");
    task.abort();
    (world, kernels)
}

proptest! {
    #![proptest_config(random::cases(200))]

    #[test]
    fn after_any_failures_the_kernel_has_the_plan_of_the_remaining_objects(
        stream in stream(),
        v4 in failures(),
        v6 in failures(),
        min_period in prop_oneof![Just(0_u64), Just(1_000)],
    ) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (world, kernels) = runtime.block_on(play(stream, [v4, v6], Duration::from_millis(min_period)));
        let state = world.state(world::config());
        for family in IpFamily::ALL {
            prop_assert_eq!(&*kernels[family].lock().unwrap(), &Kernel::of(state.plan(family)), "{}", family);
        }
    }
}
