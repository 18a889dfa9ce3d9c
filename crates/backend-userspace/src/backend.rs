//! The backend of one family.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use portolan_core::backend::{Scope, error_chain};
use portolan_core::{
    ApplyReport, BackendError, ChangeSet, IpFamily, NodePlan, ProxyBackend, ProxyMode, ServicePort,
    ServicePortName,
};
use portolan_netlink::NetlinkError;
use tokio::sync::{Mutex, Notify};
use tracing::warn;

use crate::addresses::Changes;
use crate::capture::Captures;
use crate::frontends::Frontends;
use crate::relay::Relay;

/// How soon what failed is tried again, at first and in the long run. What is in the way is often a process of ours
/// that is about to end.
const FIRST_RETRY: Duration = Duration::from_millis(250);
const RETRY: Duration = Duration::from_secs(5);

/// Serves one family from user space.
#[derive(Debug)]
pub struct UserspaceBackend {
    family: IpFamily,
    frontends: Arc<Mutex<Frontends>>,
    /// Whether a plan is in force.
    is_loaded: bool,
}

impl UserspaceBackend {
    /// A backend that serves nothing yet.
    pub(crate) fn new(
        family: IpFamily,
        relay: &Arc<Relay>,
        makes_captures: bool,
    ) -> Result<Self, NetlinkError> {
        let captures = makes_captures.then(|| Captures::begin(family)).transpose()?;
        let frontends = Frontends::new(family, Arc::clone(relay), captures)?;
        let unfinished = frontends.unfinished();
        let frontends = Arc::new(Mutex::new(frontends));
        if let Some(handle) = relay.handle() {
            handle.spawn(watch(family, unfinished, Arc::downgrade(&frontends)));
        }
        Ok(Self { family, frontends, is_loaded: false })
    }
}

#[async_trait]
impl ProxyBackend for UserspaceBackend {
    fn mode(&self) -> ProxyMode {
        ProxyMode::USERSPACE
    }

    /// Places that cannot be served, because another program has the port or the address cannot be had, do not
    /// make this fail: they are logged, counted, and tried again every few seconds.
    async fn apply(&mut self, plan: &NodePlan, changes: &ChangeSet) -> Result<ApplyReport, BackendError> {
        let is_full = changes.is_complete() || !self.is_loaded;
        self.is_loaded = false;
        let mut frontends = self.frontends.lock().await;
        if is_full {
            frontends.read().map_err(|error| self.failed("read addresses and routes", error))?;
        }
        let changes = if is_full { everything(plan, &frontends) } else { named(plan, changes) };
        let done = frontends.follow(&plan.node, &changes, is_full).await;
        let done = done.map_err(|error| self.failed("bring service addresses here", error))?;
        drop(frontends);
        self.is_loaded = true;
        Ok(ApplyReport {
            scope: if is_full { Scope::Full } else { Scope::Partial },
            operations: done.operations,
            messages: done.messages,
            bytes: done.bytes,
            ..ApplyReport::default()
        })
    }

    async fn is_intact(&mut self) -> Result<bool, BackendError> {
        let looked = self.frontends.lock().await.are_intact();
        looked.map_err(|error| self.failed("read routes and rules", error))
    }

    async fn cleanup(&mut self) -> Result<(), BackendError> {
        self.is_loaded = false;
        let cleaned = self.frontends.lock().await.clean().await;
        cleaned.map_err(|error| self.failed("remove routes and rules", error))
    }
}

impl UserspaceBackend {
    fn failed(&self, action: &str, error: NetlinkError) -> BackendError {
        BackendError::io(format!("{action} ({})", self.family), error)
    }
}

type Changed = Vec<(ServicePortName, Option<Arc<ServicePort>>)>;

/// Every service port of the plan, those that others need first at the front, and what is no longer in it.
fn everything(plan: &NodePlan, frontends: &Frontends) -> Changed {
    let port = |name: &ServicePortName| plan.service_ports.get(name).cloned();
    let wanted = plan.names_by_importance().into_iter();
    let gone = frontends.names().filter(|name| !plan.service_ports.contains_key(*name));
    wanted.chain(gone).map(|name| (name.clone(), port(name))).collect()
}

fn named(plan: &NodePlan, changes: &ChangeSet) -> Changed {
    changes.service_ports().map(|(name, _)| (name.clone(), plan.service_ports.get(name).cloned())).collect()
}

/// Follows the node's addresses and looks after what is unfinished, for as long as the backend lives.
async fn watch(family: IpFamily, unfinished: Arc<Notify>, frontends: Weak<Mutex<Frontends>>) {
    let changes = Changes::of(family);
    if let Err(error) = &changes {
        warn!("changes of this node's {family} addresses are noticed late: {error}");
    }
    let mut pause = RETRY;
    loop {
        let change = async {
            match &changes {
                Ok(changes) => changes.wait().await.is_ok(),
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            () = unfinished.notified() => {
                pause = FIRST_RETRY;
                continue;
            }
            is_usable = change => if !is_usable {
                // A socket that is of no use any more must not keep us from sleeping.
                tokio::time::sleep(RETRY).await;
            },
            () = tokio::time::sleep(pause) => {}
        }
        let Some(frontends) = frontends.upgrade() else { return };
        let mut frontends = frontends.lock().await;
        for outcome in [frontends.follow_addresses().await, frontends.retry().await, frontends.release()] {
            if let Err(error) = outcome {
                warn!("{family}: {}", error_chain(&error));
            }
        }
        pause = if frontends.is_unfinished() { (pause * 2).min(RETRY) } else { RETRY };
    }
}
