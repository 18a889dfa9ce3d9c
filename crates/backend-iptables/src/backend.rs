//! The backend itself: complete comparisons, single changes, and what to do when a program says no.

use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use async_trait::async_trait;
use portolan_core::backend::{Metric, Scope, error_chain};
use portolan_core::{
    ApplyReport, BackendError, ChangeSet, IpFamily, NodePlan, ProxyBackend, ProxyMode, ServicePort,
    ServicePortName,
};
use portolan_host::Host;

use crate::census::{Census, Expected};
use crate::compare::{Comparison, Differences, MOST_DELETIONS};
use crate::digest::Digester;
use crate::edit::{Edit, Rules};
use crate::localnet;
use crate::metrics::{PARTIAL_RESTORE_FAILURES, RESTORE_FAILURES};
use crate::nfacct::Counting;
use crate::options::{Counters, Options};
use crate::render::{Context, LARGE};
use crate::session::{Failure, Refusals, Session};
use crate::tables::{Interference, Tables};
use crate::unit::{Groups, Unit, removal_rank};
use crate::writer::Writer;

/// When so many lines have come to the top of the lists, the most important ones are put there again.
const MANY_LINES: usize = 100;

/// How many service ports are put there at most.
const MOST_RAISED: usize = 16;

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
    /// Told which counters the rules name.
    counting: Arc<Counting>,
    /// What the tables hold; unknown at first and after any failure.
    loaded: Option<Loaded>,
}

/// What the tables hold, in numbers; the rest follows from the plan that was last applied.
#[derive(Debug, Clone)]
struct Loaded {
    endpoints: usize,
    rules: Rules,
    /// What is there besides service ports. It follows from the node's settings.
    expected: Arc<Expected>,
}

impl<T: Tables> IptablesBackend<T> {
    /// A backend that knows nothing of the tables yet.
    pub fn new(family: IpFamily, tables: T, options: Options) -> Self {
        let (digester, counting) = (Digester::default(), Arc::default());
        Self { tables, family, options, digester, host: None, counting, loaded: None }
    }

    /// Also sets the sysctl of this host that lets node ports answer on loopback addresses.
    #[must_use]
    pub fn with_host(self, host: Host) -> Self {
        Self { host: Some(host), ..self }
    }

    /// Tells `counting` which counters the rules in force name.
    #[must_use]
    pub(crate) fn with_counting(self, counting: Arc<Counting>) -> Self {
        Self { counting, ..self }
    }

    /// Whoever keeps the tables.
    pub fn tables(&mut self) -> &mut T {
        &mut self.tables
    }

    /// Compares the whole plan with what the tables hold, and writes the difference.
    fn compare(&mut self, plan: &NodePlan) -> Result<ApplyReport, Failure> {
        let endpoints = plan.service_ports.values().map(|port| endpoints(port)).sum();
        let is_large = endpoints > LARGE;
        let cx = Context { family: self.family, node: &plan.node, options: &self.options, is_large };
        let mut comparison = Comparison::new(&self.digester, &cx, plan);
        let saved = self.tables.save(&mut |line| comparison.read(line));
        saved.map_err(|error| Failure::of_reading("the tables of iptables", error))?;
        let mut found = comparison.finish();
        let chains_at_once = self.tables.chains_at_once();
        let writer = Writer { digester: &self.digester, cx: &cx, plan };
        let mut session = Session::new(&mut self.tables, writer, Refusals::LeaveOut);
        session.base(&found.base)?;
        self.counting.set(self.family, self.options.counters);
        if self.options.serves_loopback(self.family, &plan.node.node_port_addresses) {
            route_localnet(self.host.as_ref());
        }
        let rules = write_ports(&mut session, writer, &mut found, chains_at_once)?;
        remove_strays(&mut session, found, chains_at_once)?;
        let report = session.finish(rules)?;
        let expected = Arc::new(Expected::of(&self.digester, &cx));
        self.loaded = Some(Loaded { endpoints, rules, expected });
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
        self.loaded = Some(Loaded { endpoints: total, rules, expected: loaded.expected });
        Ok(Some(report))
    }

    fn apply_now(&mut self, plan: &NodePlan, changes: &ChangeSet) -> Result<ApplyReport, Failure> {
        // Taken out, so that after a failure nothing is believed of the tables.
        let loaded = self.loaded.take();
        // Most rules depend on the node's settings.
        let is_small = !changes.is_complete() && changes.old_node().is_none();
        let Some(loaded) = loaded.clone().filter(|_| is_small) else {
            let result = self.load(plan);
            if result.as_ref().is_err_and(Failure::is_of_reading) {
                // Nothing has been written: what was true before still is.
                self.loaded = loaded;
            }
            return result;
        };
        match self.update(loaded, plan, changes) {
            Ok(Some(report)) => return Ok(report),
            Ok(None) => {}
            // The tables are not what they were, or a service port cannot be served. Which, and of what, a
            // complete comparison tells.
            Err(failure) if failure.is_of_input() => {
                let error = BackendError::from(failure);
                tracing::info!(
                    family = %self.family,
                    error = error_chain(&error),
                    "a change was turned down; comparing everything"
                );
            }
            Err(failure) => return Err(failure),
        }
        self.load(plan)
    }

    /// Compares everything, with counters if that can be.
    fn load(&mut self, plan: &NodePlan) -> Result<ApplyReport, Failure> {
        match self.compare(plan) {
            Err(failure) if failure.is_of_shared_rules() && self.options.counters != Counters::default() => {
                // The kernel has counters, but it or the programs may lack the match that names them.
                tracing::info!(family = %self.family, error = ?failure, "trying without counters of nfacct");
                self.options.counters = Counters::default();
                self.compare(plan)
            }
            result => result,
        }
    }
}

/// Writes what of the plan's service ports is not there, and returns how many rules there are then.
///
/// Those that other pods need first are served first. They also come to the top of their lists, which
/// packets go through from there.
fn write_ports<T: Tables>(
    session: &mut Session<'_, T>,
    writer: Writer<'_>,
    found: &mut Differences,
    chains_at_once: usize,
) -> Result<Rules, Failure> {
    let Writer { digester, cx, plan } = writer;
    let (mut rules, mut inserted) = (found.rules, 0);
    let mut groups = Groups::new(chains_at_once);
    let names = plan.names_by_importance();
    for name in &names {
        let port = (*name, plan.service_ports[*name].as_ref());
        let edit = Edit::to_make_up_for(digester, cx, port, &mut found.own, &mut found.missing);
        rules = rules.plus(edit.rules_after_and_before().0);
        inserted += edit.insertion_count();
        if !edit.is_empty()
            && let Some(full) = groups.add(Unit::Port(edit))
        {
            session.units(full)?;
        }
    }
    session.units(groups.take())?;
    if inserted > MANY_LINES && found.rewritten.is_empty() {
        let first = names.into_iter().take_while(|name| is_needed_by_all(name)).take(MOST_RAISED);
        let first = first.filter(|name| !session.has_refused(name));
        let raised = first.map(|name| Edit::to_raise(digester, cx, name, &plan.service_ports[name]));
        session.units(raised.map(Unit::Port).collect())?;
    }
    Ok(rules)
}

/// The API server's Service and those of the cluster itself, DNS being one.
fn is_needed_by_all(name: &ServicePortName) -> bool {
    let service = (&*name.service.namespace, &*name.service.name);
    service == ("default", "kubernetes") || service.0 == "kube-system"
}

/// Removes what no service port has; lists with too much of it are written anew.
fn remove_strays<T: Tables>(
    session: &mut Session<'_, T>,
    found: Differences,
    chains_at_once: usize,
) -> Result<(), Failure> {
    for (table, list) in found.rewritten {
        session.units(vec![Unit::List(table, list)])?;
    }
    let mut stale: Vec<_> = found.own.into_keys().collect();
    stale.sort_unstable_by_key(|chain| (removal_rank(*chain), *chain));
    let lines = found.stale.into_iter().map(Unit::Line);
    let mut groups = Groups::new(chains_at_once);
    for unit in lines.chain(stale.into_iter().map(Unit::Chain)) {
        if let Some(full) = groups.add(unit) {
            session.units(full)?;
        }
    }
    session.units(groups.take())
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
        let result = self.apply_now(plan, changes);
        let failures = u64::from(result.is_err());
        let of_changes = if changes.is_complete() { 0 } else { failures };
        let metrics = [
            Metric::increment(RESTORE_FAILURES, failures),
            Metric::increment(PARTIAL_RESTORE_FAILURES, of_changes),
        ];
        match result {
            Ok(mut report) => {
                report.metrics.extend(metrics);
                Ok(report)
            }
            Err(failure) => Err(BackendError::from(failure).with_metrics(metrics)),
        }
    }

    /// Whether others have left our chains and the jumps to them alone.
    async fn is_intact(&mut self) -> Result<bool, BackendError> {
        let Some(loaded) = &self.loaded else { return Ok(true) };
        match self.tables.interference(&loaded.expected.jumps) {
            Interference::None => return Ok(true),
            Interference::Certain => return Ok(false),
            Interference::Possible => {}
        }
        let mut census = Census::new(&self.digester, &loaded.expected);
        let saved = self.tables.save(&mut |line| census.read(line));
        saved.map_err(|error| Failure::of_reading("the tables of iptables", error))?;
        Ok(census.finds(loaded.rules))
    }

    fn poll_foreign_change(&mut self, context: &mut TaskContext<'_>) -> Poll<()> {
        self.tables.poll_interference(context)
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
    if let Some(Err(error)) = host.map(localnet::route) {
        tracing::warn!(error = error_chain(&error), "node ports may not answer on loopback addresses");
    }
}
