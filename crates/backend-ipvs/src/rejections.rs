//! Changes that the kernel rejected: which service ports they concern, and when they are tried again.
//!
//! A user who may create Services can request something that no kernel supports, such as an endpoint at a multicast
//! address. That must not affect other Services: a new rejection is logged with the name of the service port, all others
//! are served, and the apply succeeds. Objects then count as programmed that do not exist. Changing them is rejected
//! again, removing them is not, and the next retry is a full sync, which finds everything that is missing.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use portolan_core::BackendError;
use portolan_core::backend::{Scope, error_chain};
use portolan_core::plan::NodePlan;
use portolan_ipvs::{IpvsError, Member, ServerChange, ServerKey, Set, SetChange};

use crate::changes::Change;
use crate::kernel::KernelError;
use crate::node_context::NodeContext;
use crate::wanted::Wanted;

/// The object of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Object {
    Server(ServerKey),
    /// An element of a set; of [`Set::IpvsIps`] the address of the device, too.
    Member(Set, Member),
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
            Change::Set(SetChange::Add(set, _, member) | SetChange::Remove(set, _, member)) => {
                Self::Member(*set, *member)
            }
            Change::AddAddress(ip) | Change::RemoveAddress(ip) => Self::address(*ip),
        }
    }

    fn address(ip: IpAddr) -> Self {
        Self::Member(Set::IpvsIps, Member::Ip(ip))
    }

    /// All objects that a service port needs.
    fn all_of(wanted: &Wanted) -> impl Iterator<Item = Self> {
        let servers = wanted.servers.iter().map(|(key, _)| Self::Server(*key));
        servers.chain(wanted.members.iter().map(|(set, member)| Self::Member(*set, *member)))
    }
}

/// The shortest and the longest time until rejected changes are tried again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The changes that the kernel rejected while it carried out all others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rejections {
    objects: HashSet<Object>,
    /// The first of them, with its service port, and how many more service ports are affected.
    text: String,
    pause: Duration,
    /// When they are tried again, by a full sync.
    due: Option<Instant>,
}

impl Rejections {
    /// Records rejected changes; those of a full sync replace all earlier ones. Returns how many of them concern objects
    /// that no service port needs any more.
    ///
    /// # Errors
    /// The process lacks the privilege to change anything.
    pub(crate) fn note(
        &mut self,
        refused: Vec<(Change, IpvsError)>,
        (plan, context): (&NodePlan, &NodeContext),
        scope: Scope,
        now: Instant,
    ) -> Result<usize, KernelError> {
        let is_forbidden = refused.iter().any(|(_, why)| why.errno() == Some(libc::EPERM));
        let objects: Vec<_> = refused.iter().map(|(change, _)| Object::of(change)).collect();
        let Some((_, source)) = refused.into_iter().next() else {
            if scope == Scope::Full {
                *self = Self::default();
            }
            return Ok(0);
        };
        let (also, unwanted) = concerned(&objects, plan, context);
        let error = KernelError::Unserved { also, source };
        if is_forbidden {
            return Err(error);
        }
        let is_new = !objects.iter().all(|object| self.objects.contains(object));
        if is_new {
            self.text = error_chain(&BackendError::from(error));
            tracing::error!(err = self.text, "Kernel rejected changes; retrying");
        }
        self.wait(scope, is_new, now);
        if scope == Scope::Full {
            self.objects.clear();
        }
        self.objects.extend(objects);
        Ok(unwanted)
    }

    /// Changes that are rejected repeatedly are tried at growing intervals; new ones soon.
    fn wait(&mut self, scope: Scope, is_new: bool, now: Instant) {
        let due = if is_new {
            self.pause = FIRST_PAUSE;
            now + FIRST_PAUSE
        } else if scope == Scope::Full {
            self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            now + self.pause
        } else {
            // A change of an object that is known to be rejected does not postpone the next try.
            self.due.unwrap_or(now + FIRST_PAUSE)
        };
        self.due = Some(due);
    }

    /// Whether it is time to retry.
    pub(crate) fn are_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// The time until then, if anything was rejected.
    pub(crate) fn next_try(&self, now: Instant) -> Option<Duration> {
        self.due.map(|due| due.saturating_duration_since(now))
    }

    /// Whether a change of this server, or of an endpoint of it, was rejected.
    pub(crate) fn concern_server(&self, key: &ServerKey) -> bool {
        self.objects.contains(&Object::Server(*key))
    }

    /// Whether a change of this address of the device was rejected.
    pub(crate) fn concern_address(&self, ip: &IpAddr) -> bool {
        self.objects.contains(&Object::address(*ip))
    }

    /// The log text, if anything was rejected.
    pub(crate) fn text(&self) -> Option<&str> {
        self.due.map(|_| self.text.as_str())
    }
}

/// The service port that the first of these rejected objects is for and how many others are affected, as the end of a
/// sentence; and how many of the objects no service port needs.
fn concerned(rejected: &[Object], plan: &NodePlan, context: &NodeContext) -> (String, usize) {
    let objects: HashSet<_> = rejected.iter().collect();
    let (mut first, mut affected, mut wanted) = (None, 0, HashSet::new());
    for (name, port) in &plan.service_ports {
        let needs = Wanted::of(name, port, context);
        let missed: Vec<_> = Object::all_of(&needs).filter(|object| objects.contains(object)).collect();
        affected += usize::from(!missed.is_empty());
        if first.is_none() && missed.contains(&rejected[0]) {
            first = Some(format!(" for {name}"));
        }
        wanted.extend(missed);
    }
    let others = match affected {
        2.. => format!(", and what {} other service ports need", affected - 1),
        0 if rejected.len() > 1 => format!(", and {} other changes", rejected.len() - 1),
        _ => String::new(),
    };
    let unwanted = rejected.iter().filter(|object| !wanted.contains(object)).count();
    (first.unwrap_or_default() + &others, unwanted)
}
