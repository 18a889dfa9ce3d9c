//! The capacity of a set, which is fixed when it is created.
//!
//! kube-proxy creates its sets for 65,536 elements, with `ipset create … -exist`, which succeeds for an existing set
//! only if that has the same capacity. So ours have it too, and kube-proxy can take them over, until one has to hold
//! more. Then a larger set is filled beside it, and the two are swapped: rules never see a set that lacks an element.
//! Going back works in the same way.

use portolan_core::IpFamily;
use portolan_netlink::{Message, MessageWriter, flag};

use super::{Destroyed, Member, Set, SetKind, Sets, wire};
use crate::IpvsError;
use crate::sent::{Request, send_all};

/// For how many elements a set is created, unless it is one of ports, which always holds all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capacity {
    /// As kube-proxy's: 65,536.
    Usual,
    /// 1,048,576.
    Large,
}

impl Capacity {
    /// The smallest that so many elements fit in; the largest if they fit in none.
    pub fn of(elements: usize) -> Self {
        if elements <= Self::Usual.most() as usize { Self::Usual } else { Self::Large }
    }

    /// The most elements. They cost nothing until they are used.
    pub const fn most(self) -> u32 {
        match self {
            // kube-proxy's `maxelem`.
            Self::Usual => 1 << 16,
            Self::Large => 1 << 20,
        }
    }
}

/// The name of a set that replaces another one.
pub(super) fn interim(family: IpFamily) -> &'static str {
    match family {
        IpFamily::V4 => "KUBE-PORTOLAN-INTERIM",
        IpFamily::V6 => "KUBE-6-PORTOLAN-INTERIM",
    }
}

/// An element for that set.
struct Interim(IpFamily, Member);

impl Request for Interim {
    fn kind(&self, _: u16) -> u16 {
        wire::ADD
    }

    fn write(&self, message: &mut MessageWriter<'_>) {
        wire::write_name(message, self.0, interim(self.0));
        wire::write_member(message, &self.1);
    }

    fn is_done_by(&self, _: i32) -> bool {
        false
    }

    fn describe(&self) -> String {
        format!("add to address set {} the element {}", interim(self.0), self.1)
    }
}

impl Sets {
    /// Gives a set exactly this capacity, with all its elements and also while rules use it. Returns whether it had
    /// another one, which one request finds out.
    ///
    /// # Errors
    /// There is no such set, the kernel rejects a change, or it holds more elements than that. The set then is as it was.
    pub fn fit(&mut self, set: Set, family: IpFamily, capacity: Capacity) -> Result<bool, IpvsError> {
        let name = set.name(family);
        if set.kind() == SetKind::Port || self.limit(&name, family)? == Some(capacity.most()) {
            return Ok(false);
        }
        // An earlier attempt may have ended half-way.
        self.destroy_interim(family)?;
        self.make(interim(family), set.kind(), family, capacity)?;
        let members = self.members(set, family)?.unwrap_or_default();
        let members: Vec<_> = members.into_iter().map(|member| Interim(family, member)).collect();
        send_all(&mut self.socket, 0, &members)?.all()?;
        self.swap(family, [interim(family), &name])?;
        self.destroy_interim(family)?;
        Ok(true)
    }

    /// Removes what an interrupted change of a set's capacity has left.
    ///
    /// # Errors
    /// The kernel rejects the request.
    pub fn destroy_interim(&mut self, family: IpFamily) -> Result<Destroyed, IpvsError> {
        self.destroy_named(interim(family), family)
    }

    /// The most elements that a set may have; nothing if it has no such limit.
    fn limit(&mut self, name: &str, family: IpFamily) -> Result<Option<u32>, IpvsError> {
        let header = |request: &mut MessageWriter<'_>| wire::write_header_only(request, family, name);
        let take = |limit: &mut Option<u32>, message: &Message<'_>| *limit = limit.or(wire::limit(message));
        let read = self.socket.dump(wire::LIST, header, take);
        read.map_err(IpvsError::read(format!("the capacity of address set {name}")))
    }

    fn swap(&mut self, family: IpFamily, names: [&str; 2]) -> Result<(), IpvsError> {
        let fill = |request: &mut MessageWriter<'_>| wire::write_swap(request, family, names);
        let swapped = self.socket.request(wire::SWAP, flag::ACK, fill, |(): &mut (), _| {});
        swapped.map_err(|source| IpvsError::Send {
            action: format!("let address set {} take the place of {}", names[0], names[1]),
            source,
        })
    }
}
