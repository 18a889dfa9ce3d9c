//! What an apply that the kernel did not carry out altogether is to say: whom it leaves without.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

use portolan_core::plan::NodePlan;
use portolan_ipvs::{IpvsError, Member, ServerChange, ServerKey, Set, SetChange};

use crate::changes::Change;
use crate::kernel::KernelError;
use crate::surroundings::Surroundings;
use crate::wanted::Wanted;

/// What a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Object {
    Server(ServerKey),
    Member(Set, Member),
    Address(IpAddr),
}

impl Object {
    fn of(change: &Change) -> Self {
        match change {
            Change::Server(
                ServerChange::Add(key, _)
                | ServerChange::Edit(key, _)
                | ServerChange::Remove(key)
                | ServerChange::AddDestination(key, ..)
                | ServerChange::Weigh(key, ..)
                | ServerChange::RemoveDestination(key, _),
            ) => Self::Server(*key),
            Change::Set(SetChange::Add(set, _, member) | SetChange::Remove(set, _, member)) => match member {
                Member::Ip(ip) => Self::Address(*ip),
                member => Self::Member(*set, *member),
            },
            Change::AddAddress(ip) | Change::RemoveAddress(ip) => Self::Address(*ip),
        }
    }

    /// All that a service port takes.
    fn all_of(wanted: &Wanted) -> impl Iterator<Item = Self> {
        let servers = wanted.servers.iter().map(|(key, _)| Self::Server(*key));
        let members = wanted.members.iter().map(|(set, member)| Self::Member(*set, *member));
        servers.chain(members).chain(wanted.addresses.iter().map(|ip| Self::Address(*ip)))
    }
}

/// The failure that refusals amount to, if there are any: the first of them, whom it is about, and how many more
/// service ports go without something.
pub(crate) fn judge(
    refused: Vec<(Change, IpvsError)>,
    plan: &NodePlan,
    here: &Surroundings,
) -> Option<KernelError> {
    let count = refused.len();
    let objects: HashSet<_> = refused.iter().map(|(change, _)| Object::of(change)).collect();
    let (change, source) = refused.into_iter().next()?;
    let first = Object::of(&change);
    let (mut about, mut concerned) = (None, BTreeSet::new());
    for (name, port) in &plan.service_ports {
        let wanted = Wanted::of(name, port, here);
        if Object::all_of(&wanted).any(|object| objects.contains(&object)) {
            concerned.insert(name);
            if about.is_none() && Object::all_of(&wanted).any(|object| object == first) {
                about = Some(name);
            }
        }
    }
    let whose = about.map(|name| format!(" for {name}")).unwrap_or_default();
    let others = match concerned.len() {
        2.. => format!(", and what {} other service ports need", concerned.len() - 1),
        0 if count > 1 => format!(", and {} other changes", count - 1),
        _ => String::new(),
    };
    Some(KernelError::Unserved { also: whose + &others, source })
}
