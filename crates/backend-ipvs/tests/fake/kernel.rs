//! A kernel that holds what it is told and refuses what a real one refuses.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portolan_backend_ipvs::{Change, HostAddresses, Kernel, KernelError};
use portolan_ipvs::{
    Destination, Member, Sent, Server, ServerChange, ServerKey, ServerSettings, Set, SetChange,
};

/// What it holds. Survives the backend, as a kernel does.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) servers: BTreeMap<ServerKey, (ServerSettings, BTreeMap<SocketAddr, Destination>)>,
    pub(crate) members: HashMap<Set, HashSet<Member>>,
    pub(crate) device: Option<BTreeSet<IpAddr>>,
    pub(crate) elsewhere: HashSet<IpAddr>,
    /// Chains with their rules, by table and name.
    pub(crate) chains: BTreeMap<(String, String), Vec<String>>,
    /// Changes since the last time somebody asked.
    pub(crate) log: Vec<Change>,
    /// Refuses after so many more changes.
    pub(crate) fail_after: Option<usize>,
}

/// A handle on it.
#[derive(Debug, Clone, Default)]
pub(crate) struct FakeKernel(Arc<Mutex<State>>);

impl FakeKernel {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused() -> KernelError {
    let source = portolan_netlink::NetlinkError::Refused {
        message: None,
        source: io::Error::from_raw_os_error(libc::EINVAL),
    };
    portolan_ipvs::IpvsError::Send { action: "do as told".to_owned(), source }.into()
}

impl State {
    fn carry_out(&mut self, change: &Change) -> Result<(), KernelError> {
        if let Some(left) = &mut self.fail_after {
            if *left == 0 {
                self.fail_after = None;
                return Err(refused());
            }
            *left -= 1;
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
            return Err(refused());
        }
        self.log.push(change.clone());
        Ok(())
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
}

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
        let state = self.state();
        let on_device = state.device.iter().flatten().copied().collect();
        Ok(HostAddresses { on_device, elsewhere: state.elsewhere.clone() })
    }

    fn servers(&mut self) -> Result<Vec<Server>, KernelError> {
        let state = self.state();
        let servers = state.servers.iter();
        Ok(servers.map(|(key, (settings, _))| Server { key: *key, settings: settings.clone() }).collect())
    }

    fn destinations(&mut self, server: &ServerKey) -> Result<Vec<Destination>, KernelError> {
        let state = self.state();
        Ok(state.servers.get(server).map(|(_, to)| to.values().copied().collect()).unwrap_or_default())
    }

    fn has_server(&mut self, server: &ServerKey) -> Result<bool, KernelError> {
        Ok(self.state().servers.contains_key(server))
    }

    fn members(&mut self, set: Set) -> Result<HashSet<Member>, KernelError> {
        Ok(self.state().members.get(&set).cloned().unwrap_or_default())
    }

    fn carry_out(&mut self, changes: &[Change]) -> Result<Sent, KernelError> {
        let mut state = self.state();
        changes.iter().try_for_each(|change| state.carry_out(change))?;
        Ok(Sent { messages: changes.len(), bytes: changes.len(), calls: 1 })
    }

    fn saved_rules(&mut self, each_line: &mut dyn FnMut(&str)) -> Result<(), KernelError> {
        let state = self.state();
        let tables: BTreeSet<_> = state.chains.keys().map(|(table, _)| table).collect();
        for table in tables {
            each_line(&format!("*{table}"));
            let chains = || state.chains.iter().filter(|((of, _), _)| of == table);
            chains().for_each(|((_, chain), _)| each_line(&format!(":{chain} - [0:0]")));
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
                _ => assert_eq!(line, "COMMIT"),
            }
        }
        Ok(())
    }
}
