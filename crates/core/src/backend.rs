//! The contract between the proxy and whatever makes a node forward packets.
//!
//! Portolan asks a [`BackendFactory`] whether its mode can run on this host, and
//! has it make one [`ProxyBackend`] per IP family. One family is a world of its
//! own, in the kernel (tables, rules and sets have a family) as in kube-proxy's
//! metrics and health: a node whose IPv6 is broken keeps serving IPv4. A backend
//! that needs both, say to write one configuration file, shares what it likes
//! between the two through its factory.
//!
//! The contract is small on purpose. Everything about Kubernetes objects, policies,
//! conflicts, merging and retrying is decided before a backend is called. The price:
//! a backend cannot ask for objects that the plan leaves out.

mod error;
mod metric;

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;

use crate::address::IpFamily;
use crate::changes::ChangeSet;
use crate::node::{NodeConfig, NodePortSelection};
use crate::plan::NodePlan;

pub use error::{BackendError, ErrorKind, Retry, error_chain};
pub use metric::{Metric, MetricValue};

/// Time from one full sync to the next, as in kube-proxy.
pub const FULL_SYNC_PERIOD: Duration = Duration::from_secs(60 * 60);

/// The name of a way to forward packets: a value of `--mode`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProxyMode(Cow<'static, str>);

impl ProxyMode {
    /// nftables through netlink, services as map elements.
    pub const NFTABLES: Self = Self(Cow::Borrowed("nftables"));
    /// iptables rules, as kube-proxy writes them.
    pub const IPTABLES: Self = Self(Cow::Borrowed("iptables"));
    /// Kernel virtual servers.
    pub const IPVS: Self = Self(Cow::Borrowed("ipvs"));
    /// Relaying in the proxy itself.
    pub const USERSPACE: Self = Self(Cow::Borrowed("userspace"));

    /// A mode of one's own.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self(name.into())
    }

    /// The name as `--mode` takes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProxyMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Makes this node forward as a finished plan says, for one IP family.
///
/// A backend learns *what* should hold and chooses *how*.
///
/// * **Whole state.** A plan is complete: what it leaves out must go.
/// * **Idempotent.** The same plan twice changes nothing the second time.
/// * **Own objects only.** Tables, chains and addresses of others stay untouched.
/// * **Restart-safe.** The first `apply` may meet what an earlier run left. It takes
///   that over and changes only the difference; at no moment is there less than
///   both plans have in common.
/// * **Cost follows the change.** `changes` names every service port that differs from
///   the last plan for which `apply` returned `Ok`; walk the whole plan only when
///   [`ChangeSet::is_complete`] says so.
///
/// # Who calls, when and where
///
/// [`BackendFactory::create`] makes a backend for each family that the node serves. From then on all calls come on
/// one thread, that of `create`, inside its tokio runtime, and one at a time: no lock is needed. A call may block for
/// as long as the kernel takes. Watches and health answers go on meanwhile; the other family waits, as it has the same
/// thread. A future is always driven to its end, never dropped halfway.
///
/// 1. The first `apply` comes once all objects are known, and compares everything.
/// 2. Another comes whenever the plan differs from the last that is in force; as soon as [`ApplyReport::follow_up`]
///    asks for it, then with an empty change set perhaps; after a failure; and once an hour to compare everything.
/// 3. `is_intact` comes between them: every sync period, and soon after `poll_foreign_change` completes.
/// 4. When the process is to end, the `apply` that has begun is finished and the backend dropped. What is in force
///    stays, so that connections go on until the next process takes over; a killed process has no other way, so
///    `Drop` is no place to clean up.
///
/// `cleanup` is asked of a backend that was made for that and applies nothing. A panic ends the proxy.
#[async_trait]
pub trait ProxyBackend: Send {
    /// The `--mode` value that selects this backend.
    fn mode(&self) -> ProxyMode;

    /// Makes the node match `plan` and says what that took.
    ///
    /// `changes` is exact: replayed over the last plan for which this returned `Ok` it gives `plan`. What it names and
    /// the plan has not is gone. A backend may look at more than it names, never at less.
    ///
    /// # Errors
    /// The plan is not in force, though parts of it may be: one object that is refused should not keep the others
    /// from being served. The changes are kept and passed again together with later ones, when and how follows from
    /// [`BackendError::retry`]:
    ///
    /// | [`Retry`] | the next `apply` | comes | what the backend knew |
    /// |---|---|---|---|
    /// | `CompareAll` | compares everything | after a pause that grows from one failure to the next, up to the sync period | is given up |
    /// | `Unchanged` | has the same changes and new ones | likewise | still holds: the kernel is as it was |
    /// | `SameChanges` | has the same changes and new ones | within a second or so, again and again | still holds |
    /// | `Never` | has the same changes and new ones | a sync period later, in case the host has changed | still holds |
    ///
    /// Where it still holds, the next call may name single changes even if this one was to compare everything.
    async fn apply(&mut self, plan: &NodePlan, changes: &ChangeSet) -> Result<ApplyReport, BackendError>;

    /// Whether what the last successful apply left seems to be there still: a cheap look for something that
    /// goes when others flush or delete our objects, such as the table itself or the jumps to its chains.
    ///
    /// Asked once every sync period (kube-proxy's `syncPeriod`, 30 s) while the last apply was a success,
    /// never during one, and soon after [`poll_foreign_change`](Self::poll_foreign_change) has completed. After
    /// `false` everything is compared at once; where it is damaged again and again, at growing intervals up to the
    /// sync period. What the look does not see is found by the complete comparison every hour.
    ///
    /// # Errors
    /// Nobody can tell. That is logged and changes nothing.
    async fn is_intact(&mut self) -> Result<bool, BackendError> {
        Ok(true)
    }

    /// Completes when the kernel has told that another process changed what may be this backend's, once for each
    /// such notice; `is_intact` is asked soon then. Polled between the other calls, so it must not block, and must
    /// not complete because of the backend's own changes. Never completes, unless a mode hears of such changes.
    fn poll_foreign_change(&mut self, _context: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    /// Removes all this backend may ever have created in its family; serves `--cleanup`. Earlier processes made it,
    /// perhaps of an earlier version, so it is found by its names and not from memory. Nothing to remove is success.
    ///
    /// What the families share goes with the one that is cleaned last, in whichever order they are.
    ///
    /// # Errors
    /// Carries on past a failure and returns the first.
    async fn cleanup(&mut self) -> Result<(), BackendError>;
}

/// What one successful [`ProxyBackend::apply`] did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApplyReport {
    /// How much was compared.
    pub scope: Scope,
    /// Objects written or removed: rules, elements, virtual servers, listeners.
    /// Zero when the node already matched.
    pub operations: usize,
    /// Separate commits that these took.
    pub transactions: usize,
    /// Requests handed to the kernel: netlink messages, or lines of a program's input.
    pub messages: usize,
    /// What those came to in bytes.
    pub bytes: usize,
    /// The longest of them, as long as the kernel may have held its lock.
    pub longest_transaction: Duration,
    /// Something is left that could not be removed yet and serves nobody; call
    /// again after this time, even if nothing has changed by then.
    pub follow_up: Option<Duration>,
    /// Failed attempts to remove objects that no Service uses any more. They stay for now, unused.
    pub failed_removals: usize,
    /// Metrics of the mode, such as how many rules it has. Each gets the label `ip_family`.
    pub metrics: Vec<Metric>,
}

/// How much of the node's state an apply compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// All of it, read back from the kernel.
    Full,
    /// What the change set named.
    #[default]
    Partial,
}

/// What a host lacks for a mode, in words for the person who runs it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{mode} mode cannot run here: {missing}")]
pub struct ProbeFailure {
    /// The mode.
    pub mode: ProxyMode,
    /// What is missing: a kernel feature, a privilege, a program.
    pub missing: String,
}

/// What became of the stale rules of one mode in one IP family.
#[derive(Debug, Default)]
pub struct CleanupReport {
    /// Objects removed: tables, chains, rules, sets, virtual servers, devices. Includes those that were removed before a
    /// failure.
    pub removed: usize,
    /// Stale objects that stay because others use them, each with the reason, in words for a log.
    pub kept: Vec<String>,
    /// Objects that stay as long as connections use them. [`BackendFactory::remove_stale`] is then called again.
    pub in_use: usize,
    /// Steps that failed; all others were carried out.
    pub failures: Vec<CleanupFailure>,
}

/// A step of [`BackendFactory::remove_stale`] that failed.
#[derive(Debug)]
pub struct CleanupFailure {
    /// Whether stale objects were found. If not, they could not be looked for.
    pub found: bool,
    /// What failed.
    pub error: Box<dyn Error + Send + Sync>,
}

impl CleanupReport {
    /// Adds what became of further objects.
    pub fn merge(&mut self, other: Self) {
        self.removed += other.removed;
        self.kept.extend(other.kept);
        self.in_use += other.in_use;
        self.failures.extend(other.failures);
    }

    /// Carries out a step and records its failure. The step reports what it removed, and sets its second argument when
    /// it has found stale objects.
    pub fn step<E: Into<Box<dyn Error + Send + Sync>>>(
        &mut self,
        step: impl FnOnce(&mut Self, &mut bool) -> Result<(), E>,
    ) {
        let mut found = false;
        let failure = step(self, &mut found).err().map(|error| CleanupFailure { found, error: error.into() });
        self.failures.extend(failure);
    }
}

/// The report of a cleanup that does not count.
impl From<Result<(), BackendError>> for CleanupReport {
    fn from(result: Result<(), BackendError>) -> Self {
        let failure = result.err().map(|error| CleanupFailure { found: true, error: Box::new(error) });
        Self { failures: failure.into_iter().collect(), ..Self::default() }
    }
}

/// Knows one mode: whether it can run on this host, how to start it, and what its rules look like when they are stale.
///
/// A factory is made for each mode of the binary when the configuration is known, whether the mode runs or not. Its
/// methods are called from several threads at once; what it keeps for its backends (counters, say) goes behind a lock
/// or atomics.
#[async_trait]
pub trait BackendFactory: Send + Sync {
    /// The `--mode` value.
    fn mode(&self) -> ProxyMode;

    /// Finds out whether this host offers what the mode needs, without changing anything. Called before the mode starts.
    /// It may block.
    ///
    /// # Errors
    /// Names what is missing.
    async fn probe(&self) -> Result<(), ProbeFailure>;

    /// Finds out whether this host offers what the mode needs for one family, without changing anything. Called after
    /// `probe`, for each family that the host has. A family that the mode cannot serve is left out as if the host did not
    /// have it, and no backend is made for it. It may block. Default: every family can be served.
    ///
    /// # Errors
    /// Names what is missing. The other family is served alone, unless this one is the node's primary family.
    async fn probe_family(&self, _family: IpFamily) -> Result<(), ProbeFailure> {
        Ok(())
    }

    /// The mode to try next where this one cannot run. Default: the best one that can run, in the order nftables,
    /// iptables, userspace.
    fn fallback(&self) -> Option<ProxyMode> {
        None
    }

    /// Which of the node's addresses answer on node ports if `nodePortAddresses` is unset and this mode was asked for.
    /// Default: the node's primary addresses, as in nftables mode. With all addresses, loopback is among them where a
    /// mode can serve it.
    fn default_node_ports(&self) -> NodePortSelection {
        NodePortSelection::Primary
    }

    /// Whether the kernel's connection tracking remembers the endpoint of a UDP flow in this mode. The proxy then removes
    /// UDP flows that contradict a new plan. Default: no; a mode that forwards in other ways must not lose its flows.
    fn kernel_keeps_udp_flows(&self) -> bool {
        false
    }

    /// Time from one full sync to the next, which finds what other processes changed and `is_intact` does not see;
    /// `sync_period` is kube-proxy's `syncPeriod`. Default: one hour, as in kube-proxy.
    fn full_sync_period(&self, _sync_period: Duration) -> Duration {
        FULL_SYNC_PERIOD
    }

    /// Sets what the mode needs of the host and what takes more than `CAP_NET_ADMIN`: sysctls. Writes no rules, sets or
    /// devices. Serves `--init-only`, which runs before a proxy that can no longer write them.
    ///
    /// Called once, after a successful `probe`, by a process that ends then: on its main thread, inside its runtime. It
    /// may block. No backend is made, so the backend must make the same settings in a proxy that runs without
    /// `--init-only`; neither writes what is as wanted already. `node` is what is known without the API server.
    ///
    /// # Errors
    /// A setting is not as wanted and cannot be made; the error names it. Carries on past a failure and returns the
    /// first. The process ends with that.
    async fn prepare_host(&self, _node: &NodeConfig) -> Result<(), BackendError> {
        Ok(())
    }

    /// Makes the backend for one family, without writing anything yet. Called once per run for each family that the
    /// node serves, one after the other on the thread that the backends will be called on, inside its runtime.
    ///
    /// # Errors
    /// The resources that it needs from the start cannot be had. The process ends with that.
    fn create(&self, family: IpFamily) -> Result<Box<dyn ProxyBackend>, BackendError>;

    /// Removes the stale rules of this mode in one family: what earlier processes wrote, be it Portolan in this mode or
    /// kube-proxy in the mode of the same name. They are found by their names. It may block.
    ///
    /// * `running` is `None` for `--cleanup`: everything goes, and connections may end.
    /// * Otherwise it is the mode whose rules are programmed now, and what that mode uses stays. Called once after the
    ///   initial sync, also for the running mode itself, whose rules of other versions or places may be stale. What
    ///   connections use stays until they have ended ([`CleanupReport::in_use`]); called again after a pause then.
    ///
    /// Called without a probe: on a host that the mode cannot run on, there is nothing to remove, which is success. What
    /// the families share goes with the one that comes last, in whichever order they are.
    ///
    /// Default: if this is not the running mode, and a probe succeeds unless it is for `--cleanup`, makes a backend and
    /// calls [`ProxyBackend::cleanup`].
    async fn remove_stale(&self, running: Option<&ProxyMode>, family: IpFamily) -> CleanupReport {
        let is_wanted = match running {
            None => true,
            Some(running) => *running != self.mode() && self.probe().await.is_ok(),
        };
        if !is_wanted {
            return CleanupReport::default();
        }
        match self.create(family) {
            Ok(mut backend) => backend.cleanup().await.into(),
            Err(error) => Err(error).into(),
        }
    }

    /// Whether another proxy, such as kube-proxy, has rules of this mode on the node while `running` is programmed. The
    /// number changes whenever that proxy writes them. Called every sync period; it may block, and changes nothing.
    /// Default: never.
    ///
    /// # Errors
    /// It cannot be found out.
    async fn foreign_rules(
        &self,
        _running: &ProxyMode,
        _family: IpFamily,
    ) -> Result<Option<u64>, BackendError> {
        Ok(None)
    }

    /// Whether the mode's rules have kube-proxy's names. Repeated repairs then mean that a kube-proxy writes them, too.
    /// Default: no.
    fn has_kube_proxys_names(&self) -> bool {
        false
    }

    /// Whether the kernel forwards packets of one family by rules of this mode although the process that wrote them has
    /// ended. Changes nothing.
    ///
    /// Called for every mode, without a probe, when a process starts without knowing all Services: if an earlier process
    /// left rules, nothing is written until all are known. It may block. Default: yes, which removes no rules.
    ///
    /// # Errors
    /// It cannot be found out. That means yes for the mode that is to run, and no for others.
    async fn is_forwarding(&self, _family: IpFamily) -> Result<bool, BackendError> {
        Ok(true)
    }

    /// What its backends are doing now, as metrics. Called whenever the metrics page is read, on another thread than the
    /// backends' and while one of them applies: it must not wait for that. What the list leaves out is not shown.
    fn metrics(&self) -> Vec<Metric> {
        Vec::new()
    }
}
