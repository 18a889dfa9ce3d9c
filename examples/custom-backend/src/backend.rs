//! Makes HAProxy follow a plan, at the cost of what changed.
//!
//! Every apply has the same steps: addresses that come become local; files are exchanged; the worker is told,
//! or reloads where frontends changed; addresses that went are no longer local. What is to be done comes from
//! the change set, or from reading everything back (`compare`), and is then done (`follow`).

mod compare;
mod follow;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;
use portolan_core::backend::Scope;
use portolan_core::{
    ApplyReport, BackendError, ChangeSet, IpFamily, NodePlan, ProxyBackend, ProxyMode, ServicePortName,
};

use crate::factory::MODE;
use crate::folder::Folder;
use crate::haproxy::{Farms, Haproxy};
use crate::node;
use crate::render::Block;

/// Keeps one HAProxy equal to the plan of one family.
#[derive(Debug)]
pub struct HaproxyBackend {
    family: IpFamily,
    haproxy: Haproxy,
    folder: Folder,
    /// What is written, by identifier.
    blocks: BTreeMap<String, Block>,
    /// The digests of all blocks, added up.
    digest: u64,
    /// What the worker has.
    farms: Farms,
    /// Servers that wait for their last connection to end.
    draining: BTreeSet<(String, SocketAddr)>,
    /// The addresses of Services that are local, and how many service ports each has.
    addresses: HashMap<IpAddr, usize>,
    /// The node's own.
    own: Vec<IpAddr>,
    /// Where Services have those for their own.
    claimed: BTreeSet<SocketAddr>,
    /// Whose service ports are not served, which has been said.
    told: HashSet<ServicePortName>,
}

impl HaproxyBackend {
    pub(crate) fn new(family: IpFamily, haproxy: Haproxy) -> Self {
        Self {
            family,
            folder: Folder::new(haproxy.folder()),
            haproxy,
            blocks: BTreeMap::new(),
            digest: 0,
            farms: Farms::new(),
            draining: BTreeSet::new(),
            addresses: HashMap::new(),
            own: Vec::new(),
            claimed: BTreeSet::new(),
            told: HashSet::new(),
        }
    }
}

#[async_trait]
impl ProxyBackend for HaproxyBackend {
    fn mode(&self) -> ProxyMode {
        ProxyMode::new(MODE)
    }

    async fn apply(&mut self, plan: &NodePlan, changes: &ChangeSet) -> Result<ApplyReport, BackendError> {
        let own = node::addresses(self.family).map_err(io("read the node's addresses"))?;
        let is_known = !changes.is_complete() && changes.old_node().is_none() && own == self.own;
        self.own = own;
        let is_full = !is_known || self.moves_claims(plan, changes);
        let scope = if is_full { Scope::Full } else { Scope::Partial };
        let mut report = ApplyReport { scope, ..ApplyReport::default() };
        let difference = if is_full { self.compare_all(plan)? } else { self.compare_some(plan, changes) };
        self.follow(difference, &mut report)?;
        self.sweep(&mut report)?;
        Ok(report)
    }

    async fn is_intact(&mut self) -> Result<bool, BackendError> {
        let routes = node::routes(self.family).map_err(io("read the routes of Services"))?;
        let own = node::addresses(self.family).map_err(io("read the node's addresses"))?;
        let mut wanted = self.addresses.keys().filter(|address| !own.contains(address));
        Ok(self.haproxy.digest() == Some(self.digest)
            && own == self.own
            && wanted.all(|address| routes.contains(address)))
    }

    async fn cleanup(&mut self) -> Result<(), BackendError> {
        let ended = self.haproxy.end().map_err(|error| refused("end", error));
        let routes = node::routes(self.family).map_err(io("read the routes of Services"));
        let freed = routes.and_then(|routes| {
            node::remove(self.family, routes.iter()).map_err(|error| refused("take addresses back", error))
        });
        let removed = Folder::remove(self.haproxy.folder()).map_err(|error| refused("remove files", error));
        ended.and(freed).and(removed)
    }
}

fn refused(action: &str, source: impl std::error::Error + Send + Sync + 'static) -> BackendError {
    BackendError::refused(action, source)
}

fn io<E: std::error::Error + Send + Sync + 'static>(action: &'static str) -> impl FnOnce(E) -> BackendError {
    move |source| BackendError::io(action, source)
}
