//! What the kernel did not carry out: whom that leaves without something, and when it is tried again.
//!
//! Whoever may make Services can ask for what no kernel does, such as an endpoint at a multicast address. That is theirs
//! to bear: it is logged with their names when it is new, everybody else is served, and the apply has succeeded. What
//! is remembered as loaded then has things that are not there. To change those is refused as well, and to remove them
//! is not; and the comparison that is due finds whatever else is missing.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use portolan_core::BackendError;
use portolan_core::backend::{Scope, error_chain};
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

/// The shortest and the longest time until what was refused is tried again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What the kernel refused while it carried out everything else.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refusals {
    objects: HashSet<Object>,
    /// The first of them, with whom it is about and how many more go without something.
    text: String,
    pause: Duration,
    /// When everything is compared, and they are tried again.
    due: Option<Instant>,
}

/// What a list of refusals comes to.
struct Judgement {
    objects: HashSet<Object>,
    error: KernelError,
    /// How many of them are about what no service port wants.
    unwanted: usize,
}

impl Refusals {
    /// Takes note of what was refused: of everything, if everything was compared. Gives how many of the refusals
    /// are about what nobody wants any more.
    ///
    /// # Errors
    /// The process may not change anything, which costs more than those whom the refusals are about.
    pub(crate) fn note(
        &mut self,
        refused: Vec<(Change, IpvsError)>,
        (plan, here): (&NodePlan, &Surroundings),
        scope: Scope,
        now: Instant,
    ) -> Result<usize, KernelError> {
        let is_forbidden = refused.iter().any(|(_, why)| why.errno() == Some(libc::EPERM));
        let Some(judgement) = judge(refused, plan, here) else {
            if scope == Scope::Full {
                *self = Self::default();
            }
            return Ok(0);
        };
        if is_forbidden {
            return Err(judgement.error);
        }
        let Judgement { objects, error, unwanted } = judgement;
        let is_news = !objects.is_subset(&self.objects);
        if is_news {
            self.text = error_chain(&BackendError::from(error));
            tracing::error!(error = self.text, "the kernel refused something, and is asked again");
        }
        self.wait(scope, is_news, now);
        if scope == Scope::Full {
            self.objects = objects;
        } else {
            self.objects.extend(objects);
        }
        Ok(unwanted)
    }

    /// What is refused again and again is tried at growing intervals; what is new, soon.
    fn wait(&mut self, scope: Scope, is_news: bool, now: Instant) {
        let due = if is_news {
            self.pause = FIRST_PAUSE;
            now + FIRST_PAUSE
        } else if scope == Scope::Full {
            self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            now + self.pause
        } else {
            // A change met what is known to be refused, and does not put its next try off.
            self.due.unwrap_or(now + FIRST_PAUSE)
        };
        self.due = Some(due);
    }

    /// Whether it is time to try again.
    pub(crate) fn are_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// How long that is away, if anything was refused.
    pub(crate) fn next_try(&self, now: Instant) -> Option<Duration> {
        self.due.map(|due| due.saturating_duration_since(now))
    }

    /// Whether this server, or an endpoint of it, is not as it should be.
    pub(crate) fn concern_server(&self, key: &ServerKey) -> bool {
        self.objects.contains(&Object::Server(*key))
    }

    /// Whether this address of the device is not as it should be.
    pub(crate) fn concern_address(&self, ip: &IpAddr) -> bool {
        self.objects.contains(&Object::Address(*ip))
    }

    /// What was said of them, if anything was refused.
    pub(crate) fn text(&self) -> Option<&str> {
        self.due.map(|_| self.text.as_str())
    }
}

/// The first refusal, whom it is about, and how many more service ports go without something.
fn judge(refused: Vec<(Change, IpvsError)>, plan: &NodePlan, here: &Surroundings) -> Option<Judgement> {
    let all: Vec<_> = refused.iter().map(|(change, _)| Object::of(change)).collect();
    let objects: HashSet<_> = all.iter().copied().collect();
    let (change, source) = refused.into_iter().next()?;
    let first = Object::of(&change);
    let (mut about, mut concerned, mut wanted) = (None, BTreeSet::new(), HashSet::new());
    for (name, port) in &plan.service_ports {
        let needs = Wanted::of(name, port, here);
        let missed: Vec<_> = Object::all_of(&needs).filter(|object| objects.contains(object)).collect();
        if !missed.is_empty() {
            concerned.insert(name);
        }
        if about.is_none() && missed.contains(&first) {
            about = Some(name);
        }
        wanted.extend(missed);
    }
    let whose = about.map(|name| format!(" for {name}")).unwrap_or_default();
    let others = match concerned.len() {
        2.. => format!(", and what {} other service ports need", concerned.len() - 1),
        0 if all.len() > 1 => format!(", and {} other changes", all.len() - 1),
        _ => String::new(),
    };
    let unwanted = all.iter().filter(|object| !wanted.contains(object)).count();
    Some(Judgement { objects, error: KernelError::Unserved { also: whose + &others, source }, unwanted })
}
