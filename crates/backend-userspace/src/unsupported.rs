//! Service ports that this mode cannot serve, each told once although both families meet it.
//!
//! Each family knows which of them its plan has ([`Frontends`](crate::frontends::Frontends)) and says here when one
//! comes or goes.
//!
//! Holds: a service port is counted for as long as the plan of a family has it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use portolan_core::ServicePortName;
use tracing::warn;

use crate::counters::Counters;

/// Which service ports these are, and in how many families.
#[derive(Debug)]
pub(crate) struct Unsupported {
    counters: Arc<Counters>,
    families: Mutex<HashMap<ServicePortName, usize>>,
}

impl Unsupported {
    /// None so far.
    pub(crate) fn new(counters: Arc<Counters>) -> Self {
        Self { counters, families: Mutex::default() }
    }

    /// The plan of one more family has this service port of SCTP, which is told if it is the first.
    pub(crate) fn add(&self, name: &ServicePortName) {
        let mut ports = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let families = ports.entry(name.clone()).or_default();
        *families += 1;
        if *families == 1 {
            warn!("service port {name} is not served: userspace mode has no SCTP");
        }
        self.counters.set_unsupported(ports.len());
    }

    /// The plan of a family that had it has it no more.
    pub(crate) fn remove(&self, name: &ServicePortName) {
        let mut ports = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(families) = ports.get_mut(name) {
            *families -= 1;
            if *families == 0 {
                ports.remove(name);
            }
        }
        self.counters.set_unsupported(ports.len());
    }
}
