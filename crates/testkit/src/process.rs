//! What of a proxy's process backends meet: a state, and one backend of each family that follows it.
//!
//! Calls are those of `sync`, when a test says so: what is not programmed is passed again, what is programmed is not.

use portolan_core::backend::error_chain;
use portolan_core::event::Event;
use portolan_core::node::NodeConfig;
use portolan_core::{ApplyReport, BackendError, ChangeSet, IpFamily, NodePlan, ProxyBackend, State};

use crate::objects::empty_lists;
use crate::runtime::block_on;

/// A state and its backends.
#[derive(Debug)]
pub struct Process<B> {
    /// What the node is to serve.
    pub state: State,
    backends: Vec<(IpFamily, B)>,
}

impl<B> Process<B> {
    /// A process that knows the objects of `events` and no others, and has applied nothing.
    pub fn start(
        config: NodeConfig,
        events: impl IntoIterator<Item = Event>,
        make: impl FnMut(IpFamily) -> B,
    ) -> Self {
        let mut process = Self { state: State::new(config), backends: Vec::new() };
        process.handle(empty_lists()).handle(events);
        process.restart(make);
        process
    }

    /// The process ends and another begins, which knows the same objects and has applied nothing. The backends of
    /// the first are gone before `make` is called.
    pub fn restart(&mut self, mut make: impl FnMut(IpFamily) -> B) {
        self.backends.clear();
        self.backends = IpFamily::ALL.map(|family| (family, make(family))).into();
        self.forget_applied();
    }

    /// Takes events in.
    pub fn handle(&mut self, events: impl IntoIterator<Item = Event>) -> &mut Self {
        events.into_iter().for_each(|event| self.state.handle(event));
        self
    }

    /// The kernel's state is unknown, as after a failure: the next applies are full syncs.
    pub fn forget_applied(&mut self) {
        for family in IpFamily::ALL {
            self.state.forget_applied(family);
        }
    }

    /// The backend of a family.
    ///
    /// # Panics
    /// While [`restart`](Self::restart) makes it.
    pub fn backend(&mut self, family: IpFamily) -> &mut B {
        backend(&mut self.backends, family)
    }

    /// Has `apply` call a family's backend.
    ///
    /// # Errors
    /// What `apply` returns. The changes are kept then.
    pub fn try_apply_by(
        &mut self,
        family: IpFamily,
        apply: impl FnOnce(&mut B, &NodePlan, &ChangeSet) -> Result<ApplyReport, BackendError>,
    ) -> Result<ApplyReport, BackendError> {
        self.state.prepare();
        let backend = backend(&mut self.backends, family);
        let report = apply(backend, self.state.plan(family), self.state.changes(family))?;
        self.state.committed(family);
        Ok(report)
    }
}

impl<B: ProxyBackend> Process<B> {
    /// Makes one family follow.
    ///
    /// # Errors
    /// The backend's. The changes are kept.
    pub fn try_apply(&mut self, family: IpFamily) -> Result<ApplyReport, BackendError> {
        self.try_apply_by(family, |backend, plan, changes| block_on(backend.apply(plan, changes)))
    }

    /// Makes IPv4 follow, which is enough where families do not differ.
    ///
    /// # Panics
    /// The backend fails.
    #[track_caller]
    pub fn apply(&mut self) -> ApplyReport {
        self.try_apply(IpFamily::V4).unwrap_or_else(|error| panic!("{}", error_chain(&error)))
    }

    /// Makes both families follow; returns how many operations that took.
    ///
    /// # Panics
    /// A backend fails.
    #[track_caller]
    pub fn apply_all(&mut self) -> usize {
        let mut operations = 0;
        for family in IpFamily::ALL {
            match self.try_apply(family) {
                Ok(report) => operations += report.operations,
                Err(error) => panic!("{family}: {}", error_chain(&error)),
            }
        }
        operations
    }
}

fn backend<B>(backends: &mut [(IpFamily, B)], family: IpFamily) -> &mut B {
    let found = backends.iter_mut().find(|(of, _)| *of == family);
    found.map_or_else(|| panic!("no backend of {family}"), |(_, backend)| backend)
}
