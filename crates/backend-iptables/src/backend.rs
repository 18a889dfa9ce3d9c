//! The backend: full syncs, single changes, and retries after a rejection.

use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use async_trait::async_trait;
use portolan_core::backend::{Metric, Scope, error_chain};
use portolan_core::{
    ApplyReport, BackendError, ChangeSet, IpFamily, NodePlan, ProxyBackend, ProxyMode, ServicePort,
    ServicePortName,
};
use portolan_host::{Host, HostError, Outcome};
use portolan_iptables::RESTORE_FAILURES;

use crate::apply::{Apply, Failure, OnRejection};
use crate::compare::{BaseRules, Comparison, Differences, MAX_DELETIONS};
use crate::edit::{Edit, RuleCounts, base_lines};
use crate::hasher::RuleHasher;
use crate::names::{Chain, Kind, Table};
use crate::nfacct::CountersInUse;
use crate::options::{Counters, Options};
use crate::render::{Context, LARGE};
use crate::tables::{Interference, Tables};

/// kube-proxy's metric of failed runs of `iptables-restore` with changed rules only.
const PARTIAL_RESTORE_FAILURES: &str = "kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total";

/// When a full sync has inserted more rules than this at the top of lists, the most important ones are moved there
/// again.
const MANY_INSERTIONS: usize = 100;

/// How many service ports are moved at most.
const MAX_MOVED: usize = 16;

/// The sysctl that lets node ports answer on loopback addresses.
const ROUTE_LOCALNET: &str = "net/ipv4/conf/all/route_localnet";

/// Keeps one family's rules equal to the plan.
///
/// It does not keep rules in memory. A change is the difference between the service port in the change set and the
/// plan; a full sync reads the tables.
#[derive(Debug)]
pub struct IptablesBackend<T> {
    tables: T,
    family: IpFamily,
    options: Options,
    hasher: RuleHasher,
    /// The host whose sysctls are set.
    host: Option<Host>,
    counters_in_use: Arc<CountersInUse>,
    /// Unknown at first and after any failure.
    synced: Option<Synced>,
}

/// What the tables hold besides the service ports of the plan that was last applied.
#[derive(Debug, Clone)]
struct Synced {
    endpoints: usize,
    rules: RuleCounts,
    base: Arc<BaseRules>,
}

impl<T: Tables> IptablesBackend<T> {
    /// A backend that has not read the tables yet.
    pub fn new(family: IpFamily, tables: T, options: Options) -> Self {
        let (hasher, counters_in_use) = Default::default();
        Self { tables, family, options, hasher, host: None, counters_in_use, synced: None }
    }

    /// Also sets the sysctl of this host that lets node ports answer on loopback addresses.
    #[must_use]
    pub fn with_host(self, host: Host) -> Self {
        Self { host: Some(host), ..self }
    }

    /// Records in `counters_in_use` which counters the rules name.
    #[must_use]
    pub(crate) fn with_counters_in_use(self, counters_in_use: Arc<CountersInUse>) -> Self {
        Self { counters_in_use, ..self }
    }

    /// The tables.
    pub fn tables(&mut self) -> &mut T {
        &mut self.tables
    }

    /// Compares the whole plan with the tables and writes the difference.
    fn write_differences(&mut self, plan: &NodePlan) -> Result<ApplyReport, Failure> {
        let endpoints = plan.service_ports.values().map(|port| endpoints(port)).sum();
        let is_large = endpoints > LARGE;
        let cx = Context { family: self.family, node: &plan.node, options: &self.options, is_large };
        let base = Arc::new(BaseRules::new(&self.hasher, &cx));
        let mut comparison = Comparison::new(&self.hasher, &base, &cx, plan);
        self.tables.save(&mut |line| comparison.read(line)).map_err(Failure::of_reading)?;
        let mut found = comparison.finish();
        let mut apply = Apply::new(&mut self.tables, OnRejection::LeaveOut);
        for table in Table::ALL {
            let lines = base_lines(&cx, &found.base, table);
            if !lines.as_str().is_empty() {
                apply.base(table, &lines)?;
            }
        }
        self.counters_in_use.set(self.family, self.options.counters);
        if self.options.serves_loopback(self.family, &plan.node.node_port_addresses)
            && let Some(Err(error)) = self.host.as_ref().map(route_localnet)
        {
            tracing::warn!(err = error_chain(&error), "Node ports may not answer on loopback addresses");
        }
        let written = write_missing(&mut apply, &self.hasher, &cx, plan, &mut found)?;
        remove_stale(&mut apply, &cx, plan, found)?;
        let rules = written.plus(base.counts());
        let report = apply.finish(rules)?;
        self.synced = Some(Synced { endpoints, rules, base });
        Ok(ApplyReport { scope: Scope::Full, ..report })
    }

    /// Writes a change; nothing if a full sync does that better.
    fn write_change(
        &mut self,
        synced: Synced,
        plan: &NodePlan,
        changes: &ChangeSet,
    ) -> Result<Option<ApplyReport>, Failure> {
        let Synced { endpoints: mut total, mut rules, base } = synced;
        for (name, old) in changes.service_ports() {
            total += plan.service_ports.get(name).map_or(0, |port| endpoints(port));
            total = total.saturating_sub(old.map_or(0, |port| endpoints(port)));
        }
        let is_large = total > LARGE;
        let cx = Context { family: self.family, node: &plan.node, options: &self.options, is_large };
        let edits = changes.service_ports().map(|(name, old)| {
            let new = plan.service_ports.get(name);
            (name, Edit::between(&cx, name, old.map(AsRef::as_ref), new.map(AsRef::as_ref)))
        });
        let mut edits: Vec<_> = edits.filter(|(_, edit)| edit.size() > 0).collect();
        if edits.iter().map(|(_, edit)| edit.deletions).sum::<usize>() > MAX_DELETIONS {
            return Ok(None);
        }
        edits.sort_unstable_by_key(|(name, _)| *name);
        let mut apply = Apply::new(&mut self.tables, OnRejection::Stop);
        for (_, edit) in edits {
            rules = rules.plus(edit.after).minus(edit.before);
            apply.add(edit)?;
        }
        let report = apply.finish(rules)?;
        self.synced = Some(Synced { endpoints: total, rules, base });
        Ok(Some(report))
    }

    fn apply_now(&mut self, plan: &NodePlan, changes: &ChangeSet) -> Result<ApplyReport, Failure> {
        // Unknown after a failure.
        let synced = self.synced.take();
        // Most rules depend on the node's settings.
        let is_partial = !changes.is_complete() && changes.old_node().is_none();
        let Some(synced) = synced.clone().filter(|_| is_partial) else {
            let result = self.sync_fully(plan);
            if result.as_ref().is_err_and(Failure::is_of_reading) {
                // Nothing was written.
                self.synced = synced;
            }
            return result;
        };
        match self.write_change(synced, plan, changes) {
            Ok(Some(report)) => return Ok(report),
            Ok(None) => {}
            // Another process changed the tables, or a service port cannot be served. A full sync finds out.
            Err(failure) if failure.is_of_input() => {
                let error = BackendError::from(failure);
                tracing::info!(
                    ipFamily = %self.family,
                    err = error_chain(&error),
                    "Change was rejected; starting a full sync"
                );
            }
            Err(failure) => return Err(failure),
        }
        self.sync_fully(plan)
    }

    /// A full sync, with counters if the programs know them.
    fn sync_fully(&mut self, plan: &NodePlan) -> Result<ApplyReport, Failure> {
        match self.write_differences(plan) {
            Err(failure) if failure.is_of_base_rules() && self.options.counters != Counters::default() => {
                // The kernel has counters, but it or the programs may lack the match that names them.
                let error = BackendError::from(failure);
                tracing::info!(
                    ipFamily = %self.family,
                    err = error_chain(&error),
                    "Rules with nfacct counters were rejected; retrying without counters"
                );
                self.options.counters = Counters::default();
                self.write_differences(plan)
            }
            result => result,
        }
    }
}

/// Writes what of the plan's service ports is missing, and returns how many rules they have.
///
/// The service ports that other pods need first are written first. At the end their rules are moved to the top of
/// long lists, which packets traverse from there.
fn write_missing<'p, T: Tables>(
    apply: &mut Apply<'_, 'p, T>,
    hasher: &RuleHasher,
    cx: &Context<'_>,
    plan: &'p NodePlan,
    found: &mut Differences,
) -> Result<RuleCounts, Failure> {
    let (mut rules, mut insertions) = (RuleCounts::default(), 0);
    let names = plan.names_by_importance();
    for name in &names {
        let edit = Edit::missing(hasher, cx, (name, &plan.service_ports[*name]), found);
        rules = rules.plus(edit.after);
        insertions += edit.insertions;
        if edit.size() > 0 {
            apply.add(edit)?;
        }
    }
    apply.flush()?;
    if insertions > MANY_INSERTIONS && found.rewritten.is_empty() {
        for name in names.into_iter().take_while(|name| is_needed_by_all(name)).take(MAX_MOVED) {
            if !apply.rejected().contains(name) {
                apply.add(Edit::to_top(cx, name, &plan.service_ports[name]))?;
            }
        }
        apply.flush()?;
    }
    Ok(rules)
}

/// The Service of the API server and those of the cluster itself, such as DNS.
fn is_needed_by_all(name: &ServicePortName) -> bool {
    let (namespace, service) = (&*name.service.namespace, &*name.service.name);
    (namespace, service) == ("default", "kubernetes") || namespace == "kube-system"
}

/// Removes what no service port has. Lists with too much of it are written as a whole.
fn remove_stale<T: Tables>(
    apply: &mut Apply<'_, '_, T>,
    cx: &Context<'_>,
    plan: &NodePlan,
    found: Differences,
) -> Result<(), Failure> {
    for list in found.rewritten {
        apply.add(Edit::list(cx, plan, apply.rejected(), list))?;
    }
    for rule in &found.stale {
        apply.add(Edit::stale_rule(rule))?;
    }
    let mut stale: Vec<_> = found.chains.into_keys().collect();
    // Chains that jump to others are removed before them.
    let rank = |chain: &Chain| match chain {
        Chain::Own(Kind::Firewall, _) => 0,
        Chain::Own(Kind::External, _) => 1,
        Chain::Own(Kind::Cluster | Kind::Local, _) => 2,
        Chain::Own(Kind::Endpoint, _) | Chain::BuiltIn(_) | Chain::Fixed(_) => 3,
    };
    stale.sort_unstable_by_key(|chain| (rank(chain), *chain));
    stale.into_iter().try_for_each(|chain| apply.add(Edit::stale_chain(chain)))
}

#[async_trait]
impl<T: Tables> ProxyBackend for IptablesBackend<T> {
    fn mode(&self) -> ProxyMode {
        ProxyMode::IPTABLES
    }

    /// Makes the tables equal to the plan.
    ///
    /// # Errors
    /// A rejected rule leaves its service port unserved; all other rules are written, and the error names the
    /// service port.
    async fn apply(&mut self, plan: &NodePlan, changes: &ChangeSet) -> Result<ApplyReport, BackendError> {
        let result = self.apply_now(plan, changes);
        let failures = u64::from(result.is_err());
        let metrics = [
            Metric::increment(RESTORE_FAILURES, failures),
            Metric::increment(PARTIAL_RESTORE_FAILURES, if changes.is_complete() { 0 } else { failures }),
        ];
        match result {
            Ok(mut report) => {
                report.metrics.extend(metrics);
                Ok(report)
            }
            Err(failure) => Err(BackendError::from(failure).with_metrics(metrics)),
        }
    }

    /// Whether other processes left our chains and the jumps to them unchanged.
    async fn is_intact(&mut self) -> Result<bool, BackendError> {
        let Some(synced) = &self.synced else { return Ok(true) };
        match self.tables.interference(&synced.base.jumps) {
            Interference::None => return Ok(true),
            Interference::Certain => return Ok(false),
            Interference::Possible => {}
        }
        let mut comparison = Comparison::of_base(&self.hasher, &synced.base);
        self.tables.save(&mut |line| comparison.read(line)).map_err(Failure::of_reading)?;
        Ok(comparison.is_intact(synced.rules))
    }

    fn poll_foreign_change(&mut self, context: &mut TaskContext<'_>) -> Poll<()> {
        self.tables.poll_interference(context)
    }

    async fn cleanup(&mut self) -> Result<(), BackendError> {
        self.synced = None;
        self.tables.clean()
    }
}

/// How many endpoints a service port has, as kube-proxy counts them to determine whether a cluster is large.
fn endpoints(port: &ServicePort) -> usize {
    port.cluster_endpoints.len().max(port.local_endpoints.len())
}

/// Sets the sysctl that lets node ports answer on loopback addresses, unless it is set.
///
/// # Errors
/// It is not set and cannot be.
pub(crate) fn route_localnet(host: &Host) -> Result<(), HostError> {
    let tuned = host.set_sysctl(ROUTE_LOCALNET, 1);
    match tuned.outcome {
        Outcome::Kept => Ok(()),
        Outcome::Set { .. } => {
            tracing::info!(
                sysctl = tuned.sysctl,
                "Set a sysctl so that node ports answer on loopback addresses"
            );
            Ok(())
        }
        Outcome::Failed(error) => Err(error),
    }
}
