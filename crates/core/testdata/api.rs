// crate
pub mod address;
pub mod backend;
pub mod changes;
pub mod event;
pub mod flows;
pub mod name;
pub mod node;
pub mod plan;
pub mod registry;
pub mod retry;
pub mod state;
pub mod vip_owners;
pub use address::{IpFamily, PerFamily, Protocol};
pub use backend::{
    ApplyReport, BackendError, BackendFactory, ProbeFailure, ProxyBackend, ProxyMode,
};
pub use changes::ChangeSet;
pub use event::Event;
pub use flows::{FlowCheck, FlowCleaner};
pub use name::{Name, ObjectName, ServicePortName};
pub use node::NodeConfig;
pub use plan::{Endpoint, HealthCheck, NodePlan, ServicePort};
pub use registry::Registry;
pub use retry::{Backoff, LogLimiter};
pub use state::State;
pub const GIT_VERSION: &str = concat!("v1.36.2+portolan.", env!("CARGO_PKG_VERSION"));

// crate::address
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IpFamily {
    V4,
    V6,
}
impl IpFamily {
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];
    pub fn of(address: IpAddr) -> Self {}
    pub fn of_net(net: &IpNet) -> Self {}
}
impl fmt::Display for IpFamily {}
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PerFamily<T> {
    pub v4: T,
    pub v6: T,
}
impl<T> PerFamily<T> {
    pub fn from_fn(mut make: impl FnMut(IpFamily) -> T) -> Self {}
    pub fn iter(&self) -> impl Iterator<Item = (IpFamily, &T)> {}
}
impl<T> Index<IpFamily> for PerFamily<T> {}
impl<T> IndexMut<IpFamily> for PerFamily<T> {}
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}
impl Protocol {
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];
    pub fn number(self) -> u8 {}
}
impl fmt::Display for Protocol {}
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct AddressError {}
pub fn parse_ip(text: &str) -> Result<IpAddr, AddressError> {}
pub fn parse_cidr(text: &str) -> Result<IpNet, AddressError> {}

// crate::backend
pub use error::{BackendError, ErrorKind, Retry, error_chain};
pub use metric::{Metric, MetricValue};
pub const FULL_SYNC_PERIOD: Duration = Duration::from_secs(60 * 60);
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProxyMode(_);
impl ProxyMode {
    pub const NFTABLES: Self = Self(Cow::Borrowed("nftables"));
    pub const IPTABLES: Self = Self(Cow::Borrowed("iptables"));
    pub const IPVS: Self = Self(Cow::Borrowed("ipvs"));
    pub const USERSPACE: Self = Self(Cow::Borrowed("userspace"));
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {}
    pub fn as_str(&self) -> &str {}
}
impl fmt::Display for ProxyMode {}
#[async_trait]
pub trait ProxyBackend: Send {
    fn mode(&self) -> ProxyMode;
    async fn apply(
        &mut self,
        plan: &NodePlan,
        changes: &ChangeSet,
    ) -> Result<ApplyReport, BackendError>;
    async fn is_intact(&mut self) -> Result<bool, BackendError> {}
    fn poll_foreign_change(&mut self, _context: &mut Context<'_>) -> Poll<()> {}
    async fn cleanup(&mut self) -> Result<(), BackendError>;
}
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApplyReport {
    pub scope: Scope,
    pub operations: usize,
    pub transactions: usize,
    pub messages: usize,
    pub bytes: usize,
    pub longest_transaction: Duration,
    pub follow_up: Option<Duration>,
    pub failed_removals: usize,
    pub metrics: Vec<Metric>,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    Full,
    Partial,
}
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ProbeFailure {
    pub mode: ProxyMode,
    pub missing: String,
}
#[derive(Debug, Default)]
pub struct CleanupReport {
    pub removed: usize,
    pub kept: Vec<String>,
    pub in_use: usize,
    pub failures: Vec<CleanupFailure>,
}
#[derive(Debug)]
pub struct CleanupFailure {
    pub found: bool,
    pub error: Box<dyn Error + Send + Sync>,
}
impl CleanupReport {
    pub fn merge(&mut self, other: Self) {}
    pub fn step<E: Into<Box<dyn Error + Send + Sync>>>(
        &mut self,
        step: impl FnOnce(&mut Self, &mut bool) -> Result<(), E>,
    ) {}
}
impl From<Result<(), BackendError>> for CleanupReport {}
#[async_trait]
pub trait BackendFactory: Send + Sync {
    fn mode(&self) -> ProxyMode;
    async fn probe(&self) -> Result<(), ProbeFailure>;
    async fn probe_family(&self, _family: IpFamily) -> Result<(), ProbeFailure> {}
    fn fallback(&self) -> Option<ProxyMode> {}
    fn default_node_ports(&self) -> NodePortSelection {}
    fn kernel_keeps_udp_flows(&self) -> bool {}
    fn full_sync_period(&self, _sync_period: Duration) -> Duration {}
    async fn prepare_host(&self, _node: &NodeConfig) -> Result<(), BackendError> {}
    fn create(&self, family: IpFamily) -> Result<Box<dyn ProxyBackend>, BackendError>;
    async fn remove_stale(
        &self,
        running: Option<&ProxyMode>,
        family: IpFamily,
    ) -> CleanupReport {}
    async fn foreign_rules(
        &self,
        _running: &ProxyMode,
        _family: IpFamily,
    ) -> Result<Option<u64>, BackendError> {}
    fn has_kube_proxys_names(&self) -> bool {}
    async fn is_forwarding(&self, _family: IpFamily) -> Result<bool, BackendError> {}
    fn metrics(&self) -> Vec<Metric> {}
}

// crate::backend::error
#[derive(Debug)]
pub struct BackendError {}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    Unsupported,
    Refused,
    Busy,
    Unread,
    Io,
}
impl BackendError {
    pub fn unsupported(mode: &ProxyMode, missing: impl fmt::Display) -> Self {}
    pub fn refused(
        action: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {}
    pub fn busy(
        object: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {}
    pub fn unread(
        object: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {}
    pub fn io(
        action: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {}
    #[must_use]
    pub fn with_retry(self, retry: Retry) -> Self {}
    #[must_use]
    pub fn with_metrics(mut self, metrics: impl IntoIterator<Item = Metric>) -> Self {}
    pub fn kind(&self) -> ErrorKind {}
    pub fn retry(&self) -> Retry {}
    pub fn metrics(&self) -> &[Metric] {}
}
impl fmt::Display for BackendError {}
impl Error for BackendError {}
pub fn error_chain(error: &dyn Error) -> String {}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    Never,
    SameChanges,
    Unchanged,
    CompareAll,
}

// crate::backend::metric
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    pub name: Cow<'static, str>,
    pub help: Cow<'static, str>,
    pub labels: Vec<(&'static str, Cow<'static, str>)>,
    pub value: MetricValue,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricValue {
    Gauge(u64),
    Increment(u64),
    Total(u64),
}
impl Metric {
    pub fn gauge(name: impl Into<Cow<'static, str>>, value: impl TryInto<u64>) -> Self {}
    pub fn increment(
        name: impl Into<Cow<'static, str>>,
        value: impl TryInto<u64>,
    ) -> Self {}
    pub fn total(name: impl Into<Cow<'static, str>>, value: impl TryInto<u64>) -> Self {}
    #[must_use]
    pub fn with_label(
        mut self,
        name: &'static str,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {}
    #[must_use]
    pub fn with_help(self, help: impl Into<Cow<'static, str>>) -> Self {}
}

// crate::changes
#[derive(Debug, Default)]
pub struct ChangeSet {}
impl ChangeSet {
    pub fn complete() -> Self {}
    pub fn is_complete(&self) -> bool {}
    pub fn is_empty(&self) -> bool {}
    pub fn len(&self) -> usize {}
    pub fn service_ports(
        &self,
    ) -> impl Iterator<Item = (&ServicePortName, Option<&Arc<ServicePort>>)> {}
    pub fn old_node(&self) -> Option<&NodeSettings> {}
}

// crate::event
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Service(Change<Service>),
    EndpointSlice(Change<EndpointSlice>),
    Node(Change<Node>),
    ServiceCidr(Change<ServiceCidr>),
    ApiServer(BTreeSet<SocketAddr>),
}
#[derive(Debug, Clone, PartialEq)]
pub enum Change<T: Object> {
    Applied(T),
    Deleted(T::Key),
    Replaced(Vec<T>),
}
pub trait Object {
    type Key: Clone
        + Eq
        + std::hash::Hash
        + Ord
        + std::fmt::Display
        + std::fmt::Debug
        + PartialEq;
    fn key(&self) -> &Self::Key;
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    pub name: ObjectName,
    pub created: Option<SystemTime>,
    pub service_type: ServiceType,
    pub cluster_ips: PerFamily<Option<IpAddr>>,
    pub ports: Vec<ServicePortSpec>,
    pub external_ips: Vec<IpAddr>,
    pub load_balancer_ips: Vec<IpAddr>,
    pub load_balancer_source_ranges: Vec<IpNet>,
    pub internal_traffic_policy: TrafficPolicy,
    pub external_traffic_policy: TrafficPolicy,
    pub health_check_node_port: Option<u16>,
    pub session_affinity: Option<Duration>,
}
impl Object for Service {}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceType {
    ClusterIp,
    NodePort,
    LoadBalancer,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TrafficPolicy {
    Cluster,
    Local,
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePortSpec {
    pub name: Name,
    pub protocol: Protocol,
    pub port: u16,
    pub node_port: Option<u16>,
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSlice {
    pub name: ObjectName,
    pub service: Name,
    pub family: IpFamily,
    pub ports: Vec<SlicePort>,
    pub endpoints: Vec<SliceEndpoint>,
    pub trigger_time: Option<SystemTime>,
}
impl EndpointSlice {
    pub fn service_name(&self) -> ObjectName {}
}
impl Object for EndpointSlice {}
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlicePort {
    pub name: Name,
    pub protocol: Protocol,
    pub port: u16,
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceEndpoint {
    pub address: IpAddr,
    pub conditions: Conditions,
    pub node: Option<Name>,
    pub hints: Option<Arc<Hints>>,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conditions {
    pub ready: bool,
    pub serving: bool,
    pub terminating: bool,
}
impl Conditions {
    pub const READY: Self = Self {
        ready: true,
        serving: true,
        terminating: false,
    };
}
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Hints {
    pub zones: Vec<Name>,
    pub nodes: Vec<Name>,
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub name: Name,
    pub addresses: Vec<IpAddr>,
    pub pod_cidrs: Vec<IpNet>,
    pub zone: Option<Name>,
    pub leaving: bool,
}
impl Object for Node {}
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceCidr {
    pub name: Name,
    pub cidrs: Vec<IpNet>,
}
impl Object for ServiceCidr {}

// crate::flows
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow {
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub reply_source: SocketAddr,
    pub reply_destination: SocketAddr,
}
#[derive(Debug, Clone, Default)]
pub struct FlowCheck {}
impl FlowCheck {
    pub fn after(plan: &NodePlan, changes: &ChangeSet) -> Self {}
    pub fn merge(&mut self, later: Self) {}
    pub fn renew(&mut self, state: &State, family: IpFamily) {}
    pub fn forget_endpoints(&mut self) {}
    pub fn is_empty(&self) -> bool {}
    pub fn destinations(&self) -> impl Iterator<Item = Destination> {}
    pub fn is_stale(&self, flow: &Flow) -> bool {}
    pub fn is_by_node_port(&self, flow: &Flow) -> bool {}
}
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Destination {
    pub ip: Option<IpAddr>,
    pub port: u16,
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleFlow {
    pub flow: Flow,
    pub is_by_node_port: bool,
    pub handle: Box<[u8]>,
}
impl StaleFlow {
    pub fn is_wanted(&self, state: &State, family: IpFamily) -> bool {}
}
pub trait FlowCleaner: Send {
    fn find_stale(
        &mut self,
        family: IpFamily,
        check: &FlowCheck,
    ) -> Result<Vec<StaleFlow>, FlowError>;
    fn remove(
        &mut self,
        family: IpFamily,
        flows: &[StaleFlow],
    ) -> Result<usize, FlowError>;
    fn remove_stale(
        &mut self,
        family: IpFamily,
        check: &FlowCheck,
    ) -> Result<usize, FlowError> {}
}
#[derive(Debug, thiserror::Error)]
pub struct FlowError {
    pub action: String,
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

// crate::name
pub type Name = ArcStr;
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName {
    pub namespace: Name,
    pub name: Name,
}
impl ObjectName {
    pub fn new(namespace: impl Into<Name>, name: impl Into<Name>) -> Self {}
}
impl fmt::Display for ObjectName {}
impl fmt::Debug for ObjectName {}
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServicePortName {
    pub service: ObjectName,
    pub port: Name,
    pub protocol: Protocol,
}
impl fmt::Display for ServicePortName {}
impl fmt::Debug for ServicePortName {}
#[derive(Debug, Default)]
pub struct Interner {}
impl Interner {
    pub fn intern(&mut self, text: &str) -> Name {}
    pub fn len(&self) -> usize {}
    pub fn is_empty(&self) -> bool {}
}

// crate::node
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    pub node_name: Name,
    pub detect_local: DetectLocal,
    pub masquerade_all: bool,
    pub masquerade_mark: u32,
    pub node_port_addresses: NodePortSelection,
    pub bind_address: Option<IpAddr>,
    pub allow_external_ips: bool,
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DetectLocal {
    ClusterCidr(Vec<IpNet>),
    NodeCidr,
    BridgeInterface(Name),
    InterfaceNamePrefix(Name),
}
pub const DEFAULT_MASQUERADE_MARK: u32 = 1 << 14;
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodePortSelection {
    Primary,
    Cidrs(Vec<IpNet>),
}
impl NodeConfig {
    pub fn new(node_name: impl Into<Name>) -> Self {}
    pub fn settings<'a>(
        &self,
        family: IpFamily,
        node: Option<&Node>,
        service_cidrs: impl IntoIterator<Item = &'a IpNet>,
    ) -> NodeSettings {}
    pub fn node_ips(&self, node: Option<&Node>) -> PerFamily<Option<IpAddr>> {}
}

// crate::plan
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlan {
    pub family: IpFamily,
    pub node: NodeSettings,
    pub service_ports: HashMap<ServicePortName, Arc<ServicePort>>,
}
impl NodePlan {
    pub fn new(family: IpFamily, node: NodeSettings) -> Self {}
    pub fn names_by_importance(&self) -> Vec<&ServicePortName> {}
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSettings {
    pub local_detector: Option<LocalDetector>,
    pub masquerade_all: bool,
    pub masquerade_mark: u32,
    pub node_port_addresses: NodePortAddresses,
    pub service_cidrs: Vec<IpNet>,
    pub api_server: Vec<SocketAddr>,
}
impl NodeSettings {
    pub fn is_api_server(&self, address: IpAddr, port: u16, protocol: Protocol) -> bool {}
}
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocalDetector {
    Cidr(IpNet),
    Interface(Name),
    InterfacePrefix(Name),
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodePortAddresses {
    All,
    Within(Vec<IpNet>),
}
#[derive(Clone, PartialEq, Eq)]
pub struct ServicePort {
    pub port: u16,
    pub cluster_ip: Option<IpAddr>,
    pub load_balancer_ips: Arc<[IpAddr]>,
    pub external_ips: Arc<[IpAddr]>,
    pub node_port: Option<u16>,
    pub health_check_node_port: Option<u16>,
    pub source_ranges: Box<[IpNet]>,
    pub internal_traffic_policy: TrafficPolicy,
    pub external_traffic_policy: TrafficPolicy,
    pub session_affinity: Option<Duration>,
    pub cluster_endpoints: Arc<[Endpoint]>,
    pub local_endpoints: Arc<[Endpoint]>,
    pub draining_endpoints: Box<[SocketAddr]>,
    pub unserved: Unserved,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unserved {
    Reject,
    Drop,
}
impl ServicePort {
    pub fn new(port: u16) -> Self {}
    pub fn external_addresses(&self) -> impl Iterator<Item = IpAddr> {}
    pub fn is_external(&self) -> bool {}
    pub fn has_address(&self) -> bool {}
    pub fn internal_endpoints(&self) -> &Arc<[Endpoint]> {}
    pub fn external_endpoints(&self) -> &Arc<[Endpoint]> {}
}
impl fmt::Debug for ServicePort {}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthCheck {
    pub port: u16,
    pub local_endpoints: usize,
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    pub address: IpAddr,
    pub port: u16,
    pub locality: Locality,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Locality {
    Local,
    Remote,
    Unknown,
}
impl Endpoint {
    pub fn socket_address(&self) -> SocketAddr {}
}
impl fmt::Debug for Endpoint {}

// crate::registry
#[derive(Clone, Default)]
pub struct Registry {}
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct DuplicateMode(pub ProxyMode);
impl Registry {
    pub fn register(
        &mut self,
        factory: Arc<dyn BackendFactory>,
    ) -> Result<(), DuplicateMode> {}
    pub fn get(&self, mode: &ProxyMode) -> Option<&Arc<dyn BackendFactory>> {}
    pub fn modes(&self) -> impl Iterator<Item = &ProxyMode> {}
    pub fn factories(&self) -> impl Iterator<Item = &Arc<dyn BackendFactory>> {}
}

// crate::retry
#[derive(Debug, Clone)]
pub struct Backoff {}
impl Backoff {
    pub fn new(first: Duration, longest: Duration, jitter: Range<f64>) -> Self {}
    pub fn set_longest(&mut self, longest: Duration) {}
    pub fn fail(&mut self, random: f64) -> Duration {}
    pub fn delay(&self, failures: u32, random: f64) -> Duration {}
    pub fn reset(&mut self) {}
}
#[derive(Debug)]
pub struct LogLimiter {}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    pub failures: u32,
    pub duration: Duration,
}
impl Default for LogLimiter {}
impl LogLimiter {
    pub fn new(pause: Duration, longest_pause: Duration) -> Self {}
    pub fn fail(&mut self, class: &str, now: Instant) -> bool {}
    pub fn succeed(&mut self, now: Instant) -> Option<Outage> {}
}

// crate::state
pub use family::{Committed, WithoutLocalEndpoints};
#[derive(Debug)]
pub struct State {}
impl State {
    pub fn new(config: NodeConfig) -> Self {}
    pub fn handle(&mut self, event: Event) {}
    pub fn is_ready(&self) -> bool {}
    pub fn prepare(&mut self) {}
    pub fn plan(&self, family: IpFamily) -> &NodePlan {}
    pub fn owner(
        &self,
        family: IpFamily,
        address: &ServiceAddress,
    ) -> Option<&Arc<ServicePort>> {}
    pub fn changes(&self, family: IpFamily) -> &ChangeSet {}
    pub fn committed(&mut self, family: IpFamily) -> Committed {}
    pub fn without_local_endpoints(&self, family: IpFamily) -> WithoutLocalEndpoints {}
    pub fn forget_applied(&mut self, family: IpFamily) {}
    pub fn take_conflicts(&mut self) -> Vec<Conflict> {}
    pub fn node(&self) -> Option<&Node> {}
}

// crate::state::family
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Committed {
    pub triggers: Vec<SystemTime>,
    pub health_checks: Vec<(ObjectName, Option<HealthCheck>)>,
}
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WithoutLocalEndpoints {
    pub internal: usize,
    pub external: usize,
}

// crate::state::settings
impl State {
    pub fn reconfigure(&mut self, config: NodeConfig) {}
}

// crate::vip_owners
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceAddress {
    Vip(IpAddr, Protocol, u16),
    NodePort(Protocol, u16),
}
impl fmt::Display for ServiceAddress {}
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    pub address: ServiceAddress,
    pub owner: ServicePortName,
    pub ignored: ServicePortName,
}

