//! A kernel that stores what it gets and rejects what a real one rejects.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portolan_backend_ipvs::{Change, HostAddresses, Kernel, KernelError};
use portolan_iptables::programs::ProgramError;
use portolan_ipvs::{
    Capacity, Carried, Destination, IpvsError, Member, Sent, Server, ServerChange, ServerKey, ServerSettings,
    Set, SetChange, SetKind,
};

/// Which changes are refused, and with what error.
pub(crate) type Refuse = (fn(&Change) -> bool, i32);

/// What it holds. Survives the backend, as a kernel does.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) servers: BTreeMap<ServerKey, (ServerSettings, BTreeMap<SocketAddr, Destination>)>,
    pub(crate) members: HashMap<Set, HashSet<Member>>,
    /// The sets with another capacity than the usual one.
    pub(crate) capacities: HashMap<Set, Capacity>,
    /// The sets that were given another, since the last call.
    pub(crate) fitted: Vec<(Set, Capacity)>,
    /// Gives no set another.
    pub(crate) fail_fit: bool,
    pub(crate) device: Option<BTreeSet<IpAddr>>,
    pub(crate) elsewhere: HashSet<IpAddr>,
    /// Those that were last requested.
    seen: HashSet<IpAddr>,
    /// Chains with their rules, by table and name.
    pub(crate) chains: BTreeMap<(String, String), Vec<String>>,
    /// Changes since the last call.
    pub(crate) log: Vec<Change>,
    /// Answers no more after so many changes, once.
    pub(crate) fail_after: Option<usize>,
    /// Refuses these changes with this error, and carries all others out.
    pub(crate) refuse: Option<Refuse>,
    /// What it says of programs that load rules.
    pub(crate) fail_rules: bool,
    /// How often rules were loaded.
    pub(crate) loads: usize,
    /// How often it was asked for addresses, servers, endpoints, elements or rules.
    pub(crate) reads: usize,
}

/// A handle on it.
#[derive(Debug, Clone, Default)]
pub(crate) struct FakeKernel(Arc<Mutex<State>>);

impl FakeKernel {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `IPSET_ERR_HASH_FULL`, linux/netfilter/ipset/ip_set_hash.h.
pub(crate) const FULL: i32 = 4352;

fn unanswered() -> KernelError {
    let source =
        portolan_netlink::NetlinkError::Receive { source: io::Error::from_raw_os_error(libc::ENOBUFS) };
    IpvsError::Send { action: "do as told".to_owned(), source }.into()
}

fn refusal(change: &Change, errno: i32) -> IpvsError {
    let source = io::Error::from_raw_os_error(errno).into();
    IpvsError::Rejected { action: format!("{change:?}"), source }
}

impl State {
    /// Whether it was carried out, or what kept it from being.
    fn carry_out(&mut self, change: &Change) -> Result<Result<(), i32>, KernelError> {
        if let Some(left) = &mut self.fail_after {
            if *left == 0 {
                self.fail_after = None;
                return Err(unanswered());
            }
            *left -= 1;
        }
        if let Some((_, errno)) = self.refuse.filter(|(is_refused, _)| is_refused(change)) {
            return Ok(Err(errno));
        }
        if let Change::Set(SetChange::Add(set, _, member)) = change
            && self.is_full(*set, member)
        {
            return Ok(Err(FULL));
        }
        let is_done = match change {
            Change::Server(change) => self.change_server(change),
            Change::Set(SetChange::Add(set, _, member)) => self.members.get_mut(set).is_some_and(|members| {
                members.insert(*member);
                true
            }),
            Change::Set(SetChange::Remove(set, _, member)) => {
                self.members.get_mut(set).is_some_and(|members| {
                    members.remove(member);
                    true
                })
            }
            Change::AddAddress(ip) => self.device.as_mut().is_some_and(|device| {
                device.insert(*ip);
                true
            }),
            Change::RemoveAddress(ip) => self.device.as_mut().is_some_and(|device| {
                device.remove(ip);
                true
            }),
        };
        if !is_done {
            return Ok(Err(libc::EINVAL));
        }
        self.log.push(change.clone());
        Ok(Ok(()))
    }

    /// Whether a set is full.
    fn is_full(&self, set: Set, member: &Member) -> bool {
        let most = self.capacities.get(&set).unwrap_or(&Capacity::Usual).most() as usize;
        let is_too_many = |members: &HashSet<Member>| members.len() >= most && !members.contains(member);
        set.kind() != SetKind::Port && self.members.get(&set).is_some_and(is_too_many)
    }

    fn change_server(&mut self, change: &ServerChange) -> bool {
        let new = |socket: SocketAddr, weight| Destination { socket, weight, active: 0, inactive: 0 };
        match change {
            ServerChange::Add(key, settings) => {
                self.servers.insert(*key, (settings.clone(), BTreeMap::new())).is_none()
            }
            ServerChange::Edit(key, settings) => self.servers.get_mut(key).is_some_and(|server| {
                server.0 = settings.clone();
                true
            }),
            ServerChange::Remove(key) => {
                self.servers.remove(key);
                true
            }
            ServerChange::AddDestination(key, to, weight) => self
                .servers
                .get_mut(key)
                .is_some_and(|server| server.1.insert(*to, new(*to, *weight)).is_none()),
            ServerChange::Weigh(key, to, weight) => {
                let destination = self.servers.get_mut(key).and_then(|server| server.1.get_mut(to));
                destination.is_some_and(|destination| {
                    destination.weight = *weight;
                    true
                })
            }
            ServerChange::RemoveDestination(key, to) => self.servers.get_mut(key).is_none_or(|server| {
                server.1.remove(to);
                true
            }),
        }
    }

    fn rule(&mut self, table: &str, line: &str, at_top: bool) {
        let (chain, rule) = line.split_once(' ').unwrap();
        let rules = self.chains.entry((table.to_owned(), chain.to_owned())).or_default();
        if at_top { rules.insert(0, rule.to_owned()) } else { rules.push(rule.to_owned()) }
    }

    fn delete_rule(&mut self, table: &str, line: &str) {
        let (chain, rule) = line.split_once(' ').unwrap();
        let rules = self.chains.get_mut(&(table.to_owned(), chain.to_owned())).unwrap();
        let place = rules.iter().position(|present| present == rule).unwrap();
        rules.remove(place);
    }
}

/// The chains that every table has.
const BUILT_IN: [&str; 5] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];

impl Kernel for FakeKernel {
    fn prepare(&mut self) -> Result<usize, KernelError> {
        let mut state = self.state();
        let mut made = usize::from(state.device.is_none());
        state.device.get_or_insert_default();
        for set in Set::ALL {
            if let std::collections::hash_map::Entry::Vacant(entry) = state.members.entry(*set) {
                entry.insert(HashSet::new());
                made += 1;
            }
        }
        Ok(made)
    }

    fn addresses(&mut self) -> Result<HostAddresses, KernelError> {
        let mut state = self.state();
        state.reads += 1;
        let now = state.elsewhere.clone();
        state.seen = now;
        let on_device = state.device.iter().flatten().copied().collect();
        Ok(HostAddresses { on_device, elsewhere: state.elsewhere.clone() })
    }

    fn addresses_changed(&mut self) -> Result<bool, KernelError> {
        let state = self.state();
        Ok(state.seen != state.elsewhere)
    }

    fn servers(&mut self) -> Result<Vec<Server>, KernelError> {
        let mut state = self.state();
        state.reads += 1;
        let servers = state.servers.iter();
        Ok(servers.map(|(key, (settings, _))| Server { key: *key, settings: settings.clone() }).collect())
    }

    fn destinations(&mut self, server: &ServerKey) -> Result<Vec<Destination>, KernelError> {
        let mut state = self.state();
        state.reads += 1;
        Ok(state.servers.get(server).map(|(_, to)| to.values().copied().collect()).unwrap_or_default())
    }

    fn has_server(&mut self, server: &ServerKey) -> Result<bool, KernelError> {
        let mut state = self.state();
        state.reads += 1;
        Ok(state.servers.contains_key(server))
    }

    fn members(&mut self, set: Set) -> Result<HashSet<Member>, KernelError> {
        let mut state = self.state();
        state.reads += 1;
        Ok(state.members.get(&set).cloned().unwrap_or_default())
    }

    fn fit(&mut self, set: Set, capacity: Capacity) -> Result<bool, KernelError> {
        let mut state = self.state();
        let had = state.capacities.get(&set).copied().unwrap_or(Capacity::Usual);
        if set.kind() == SetKind::Port || had == capacity {
            return Ok(false);
        }
        if state.fail_fit {
            return Err(unanswered());
        }
        assert!(
            state.members[&set].len() <= capacity.most() as usize,
            "{set:?} has more than {capacity:?} allows"
        );
        state.capacities.insert(set, capacity);
        state.fitted.push((set, capacity));
        Ok(true)
    }

    fn carry_out(&mut self, changes: &[Change]) -> Result<Carried, KernelError> {
        let mut state = self.state();
        let mut refused = Vec::new();
        for (place, change) in changes.iter().enumerate() {
            if let Err(errno) = state.carry_out(change)? {
                refused.push((place, refusal(change, errno)));
            }
        }
        Ok(Carried { sent: Sent { messages: changes.len(), bytes: changes.len(), calls: 1 }, refused })
    }

    fn saved_rules(&mut self, each_line: &mut dyn FnMut(&str)) -> Result<(), KernelError> {
        let mut state = self.state();
        state.reads += 1;
        let tables: BTreeSet<_> = state.chains.keys().map(|(table, _)| table).collect();
        for table in tables {
            each_line(&format!("*{table}"));
            for chain in BUILT_IN {
                each_line(&format!(":{chain} ACCEPT [0:0]"));
            }
            let chains = || state.chains.iter().filter(|((of, _), _)| of == table);
            let own = || chains().filter(|((_, chain), _)| !BUILT_IN.contains(&chain.as_str()));
            own().for_each(|((_, chain), _)| each_line(&format!(":{chain} - [0:0]")));
            for ((_, chain), rules) in chains() {
                for rule in rules {
                    each_line(&format!("-A {chain} {rule}"));
                }
            }
            each_line("COMMIT");
        }
        Ok(())
    }

    fn load_rules(&mut self, input: &str) -> Result<(), KernelError> {
        let mut state = self.state();
        if state.fail_rules {
            return Err(ProgramError::Missing { name: "iptables-restore".into() }.into());
        }
        state.loads += 1;
        let mut table = "";
        for line in input.lines() {
            match line.split_at(1) {
                ("*", name) => table = name,
                (":", chain) => {
                    let name = chain.split(' ').next().unwrap().to_owned();
                    state.chains.insert((table.to_owned(), name), Vec::new());
                }
                ("-", rule) if rule.starts_with("A ") => state.rule(table, &rule[2..], false),
                ("-", rule) if rule.starts_with("I ") => state.rule(table, &rule[2..], true),
                ("-", rule) if rule.starts_with("D ") => state.delete_rule(table, &rule[2..]),
                _ => assert_eq!(line, "COMMIT"),
            }
        }
        Ok(())
    }
}
