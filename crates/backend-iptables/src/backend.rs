//! The backend itself: complete comparisons, single changes, and what to do when a program says no.

use async_trait::async_trait;
use portolan_core::backend::Scope;
use portolan_core::{
    ApplyReport, BackendError, ChangeSet, IpFamily, NodePlan, ProxyBackend, ProxyMode, ServicePort,
};
use portolan_host::{Host, Outcome};

use crate::compare::{Comparison, MOST_DELETIONS};
use crate::digest::Digester;
use crate::edit::{Edit, Rules};
use crate::names::{Chain, Fixed, Table};
use crate::options::Options;
use crate::render::{Context, LARGE};
use crate::session::{Failure, Refusals, Session};
use crate::tables::Tables;
use crate::unit::{Groups, Unit, removal_rank};
use crate::writer::Writer;

/// Lets packets for loopback addresses be routed, without which node ports do not answer there.
const ROUTE_LOCALNET: &str = "net/ipv4/conf/all/route_localnet";

/// Keeps one family's rules equal to the plan.
///
/// Nothing is remembered of them: what a service port was follows from the change set, and what the tables
/// hold, when that is not known, from a complete comparison.
#[derive(Debug)]
pub struct IptablesBackend<T> {
    tables: T,
    family: IpFamily,
    options: Options,
    digester: Digester,
    /// Whose sysctls are set.
    host: Option<Host>,
    /// What the tables hold; unknown at first and after any failure.
    loaded: Option<Loaded>,
}

/// What the tables hold, in numbers; the rest follows from the plan that was last applied.
#[derive(Debug, Clone, Copy, Default)]
struct Loaded {
    endpoints: usize,
    rules: Rules,
}

impl<T: Tables> IptablesBackend<T> {
    /// A backend that knows nothing of the tables yet.
    pub fn new(family: IpFamily, tables: T, options: Options) -> Self {
        Self { tables, family, options, digester: Digester::default(), host: None, loaded: None }
    }

    /// Also sets the sysctl of this host that lets node ports answer on loopback addresses.
    #[must_use]
    pub fn with_host(self, host: Host) -> Self {
        Self { host: Some(host), ..self }
    }

    /// Whoever keeps the tables.
    pub fn tables(&mut self) -> &mut T {
        &mut self.tables
    }

    /// Compares the whole plan with what the tables hold, and writes the difference.
    fn load(&mut self, plan: &NodePlan) -> Result<ApplyReport, Failure> {
        let endpoints = plan.service_ports.values().map(|port| endpoints(port)).sum();
        let cx = Context {
            family: self.family,
            node: &plan.node,
            options: &self.options,
            is_large: endpoints > LARGE,
        };
        let mut comparison = Comparison::new(&self.digester, &cx, plan);
        let saved = self.tables.save(&mut |line| comparison.read(line));
        saved.map_err(|error| Failure::new("read the tables of iptables", error))?;
        let mut found = comparison.finish();
        let mut rules = found.rules;
        let mut groups = Groups::new(self.tables.chains_at_once());
        let writer = Writer { digester: &self.digester, cx: &cx, plan };
        let mut session = Session::new(&mut self.tables, writer, Refusals::LeaveOut);
        session.base(&found.base)?;
        if self.options.serves_loopback(self.family, &plan.node.node_port_addresses) {
            route_localnet(self.host.as_ref());
        }
        for name in plan.names_by_importance() {
            let port = (name, plan.service_ports[name].as_ref());
            let edit = Edit::to_make_up_for(&self.digester, &cx, port, &mut found.own, &mut found.missing);
            rules = rules.plus(edit.rules_after_and_before().0);
            if !edit.is_empty()
                && let Some(full) = groups.add(Unit::Port(edit))
            {
                session.units(full)?;
            }
        }
        session.units(groups.take())?;
        for (table, list) in found.rewritten {
            session.units(vec![Unit::List(table, list)])?;
        }
        let mut stale: Vec<_> = found.own.into_keys().collect();
        stale.sort_unstable_by_key(|chain| (removal_rank(*chain), *chain));
        for unit in found.stale.into_iter().map(Unit::Line).chain(stale.into_iter().map(Unit::Chain)) {
            if let Some(full) = groups.add(unit) {
                session.units(full)?;
            }
        }
        session.units(groups.take())?;
        let report = session.finish(rules)?;
        self.loaded = Some(Loaded { endpoints, rules });
        Ok(ApplyReport { scope: Scope::Full, ..report })
    }

    /// Writes what the change set names; nothing when a complete comparison does that better.
    fn update(
        &mut self,
        loaded: Loaded,
        plan: &NodePlan,
        changes: &ChangeSet,
    ) -> Result<Option<ApplyReport>, Failure> {
        let mut total = loaded.endpoints;
        for (name, old) in changes.service_ports() {
            total += plan.service_ports.get(name).map_or(0, |port| endpoints(port));
            total = total.saturating_sub(old.map_or(0, |port| endpoints(port)));
        }
        let mut rules = loaded.rules;
        let cx = Context {
            family: self.family,
            node: &plan.node,
            options: &self.options,
            is_large: total > LARGE,
        };
        let edits = changes.service_ports().map(|(name, old)| {
            let new = plan.service_ports.get(name).map(AsRef::as_ref);
            Edit::between(&self.digester, &cx, name, old.map(AsRef::as_ref), new)
        });
        let mut edits: Vec<_> = edits.filter(|edit| !edit.is_empty()).collect();
        if edits.iter().map(Edit::deletion_count).sum::<usize>() > MOST_DELETIONS {
            return Ok(None);
        }
        for edit in &edits {
            let (after, before) = edit.rules_after_and_before();
            rules = rules.plus(after).minus(before);
        }
        edits.sort_unstable_by_key(|edit| edit.name);
        let mut groups = Groups::new(self.tables.chains_at_once());
        let writer = Writer { digester: &self.digester, cx: &cx, plan };
        let mut session = Session::new(&mut self.tables, writer, Refusals::Stop);
        for edit in edits {
            if let Some(full) = groups.add(Unit::Port(edit)) {
                session.units(full)?;
            }
        }
        session.units(groups.take())?;
        let report = session.finish(rules)?;
        self.loaded = Some(Loaded { endpoints: total, rules });
        Ok(Some(report))
    }

    fn apply_now(&mut self, plan: &NodePlan, changes: &ChangeSet) -> Result<ApplyReport, Failure> {
        // Taken out, so that after a failure nothing is believed of the tables.
        let loaded = self.loaded.take();
        // Most rules depend on the node's settings.
        let is_small = !changes.is_complete() && changes.old_node().is_none();
        if let Some(loaded) = loaded.filter(|_| is_small) {
            match self.update(loaded, plan, changes) {
                Ok(Some(report)) => return Ok(report),
                Ok(None) => {}
                // The tables are not what they were, or a service port cannot be served. Which, and of what,
                // a complete comparison tells.
                Err(failure) if failure.is_of_input() => {
                    let error = BackendError::from(failure);
                    tracing::info!(
                        family = %self.family,
                        error = portolan_core::backend::error_chain(&error),
                        "a change was turned down; comparing everything"
                    );
                }
                Err(failure) => return Err(failure),
            }
        }
        self.load(plan)
    }
}

#[async_trait]
impl<T: Tables> ProxyBackend for IptablesBackend<T> {
    fn mode(&self) -> ProxyMode {
        ProxyMode::IPTABLES
    }

    /// Makes the tables hold what the plan takes.
    ///
    /// # Errors
    /// A rule that is turned down keeps its service port from being served, and nothing else: all others are
    /// written, and the error names it.
    async fn apply(&mut self, plan: &NodePlan, changes: &ChangeSet) -> Result<ApplyReport, BackendError> {
        Ok(self.apply_now(plan, changes)?)
    }

    /// Whether the canaries are there, in all three tables.
    async fn is_intact(&mut self) -> Result<bool, BackendError> {
        for table in Table::ALL {
            let has = self.tables.has_chain(table, Chain::Fixed(Fixed::Canary));
            let has =
                has.map_err(|error| Failure::new(format!("look for our chain in table {table}"), error))?;
            if !has {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn cleanup(&mut self) -> Result<(), BackendError> {
        self.loaded = None;
        self.tables.clean()
    }
}

/// How many endpoints a service port has, as kube-proxy counts them to find out whether a cluster is large.
fn endpoints(port: &ServicePort) -> usize {
    port.cluster_endpoints.len().max(port.local_endpoints.len())
}

fn route_localnet(host: Option<&Host>) {
    let Some(host) = host else { return };
    match host.set_sysctl(ROUTE_LOCALNET, 1).outcome {
        Outcome::Kept => {}
        Outcome::Set { .. } => tracing::info!("set {ROUTE_LOCALNET} so that node ports answer on loopback"),
        Outcome::Failed(error) => tracing::warn!(
            error = portolan_core::backend::error_chain(&error),
            "node ports may not answer on loopback addresses"
        ),
    }
}
