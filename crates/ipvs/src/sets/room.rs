//! How many elements a set has room for, which is settled when it is made.
//!
//! kube-proxy makes its sets for 65,536 elements, with `ipset create … -exist`, and the kernel takes a set that
//! is there for the same only if it has just that room. So ours have it too, and the way back to kube-proxy is
//! open, until one has to hold more. Then a larger set is filled beside it, and the two change places: rules ask
//! the larger one from then on, and at no moment one that lacks anything. The way back is the same.

use portolan_core::IpFamily;
use portolan_netlink::{Message, MessageWriter, flag};

use super::{Destroyed, Member, Set, SetKind, Sets, wire};
use crate::IpvsError;
use crate::sent::{Request, send_all};

/// For how many elements a set is made, unless it is one of ports, which always has room for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Room {
    /// For as many as kube-proxy's hold: 65,536.
    Usual,
    /// For more than that: 1,048,576.
    Large,
}

impl Room {
    /// The smallest that so many elements fit in; the largest if they fit in none.
    pub fn of(elements: usize) -> Self {
        if elements <= Self::Usual.most() as usize { Self::Usual } else { Self::Large }
    }

    /// The most elements that find room. It costs nothing until it is used.
    pub const fn most(self) -> u32 {
        match self {
            // kube-proxy's `maxelem`.
            Self::Usual => 1 << 16,
            Self::Large => 1 << 20,
        }
    }
}

/// What a set is called that is to take another's place.
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
    /// Sees to it that a set has just this room, with all that is in it and also while rules use it. Gives
    /// whether it had another. To find that it has it takes one question, whatever is in it.
    ///
    /// # Errors
    /// There is no such set, the kernel refuses, or more is in it than that. The set then is as it was.
    pub fn fit(&mut self, set: Set, family: IpFamily, room: Room) -> Result<bool, IpvsError> {
        let name = set.name(family);
        if set.kind() == SetKind::Port || self.limit(&name, family)? == Some(room.most()) {
            return Ok(false);
        }
        // An earlier attempt may have ended half-way.
        self.destroy_interim(family)?;
        self.make(interim(family), set.kind(), family, room)?;
        let members = self.members(set, family)?.unwrap_or_default();
        let members: Vec<_> = members.into_iter().map(|member| Interim(family, member)).collect();
        send_all(&mut self.socket, 0, &members)?.all()?;
        self.swap(family, [interim(family), &name])?;
        self.destroy_interim(family)?;
        Ok(true)
    }

    /// Removes what an attempt to change a set's room has left that did not come to its end.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn destroy_interim(&mut self, family: IpFamily) -> Result<Destroyed, IpvsError> {
        self.destroy_named(interim(family), family)
    }

    /// The most elements that a set may have; nothing if it has no such limit.
    fn limit(&mut self, name: &str, family: IpFamily) -> Result<Option<u32>, IpvsError> {
        let header = |request: &mut MessageWriter<'_>| wire::write_header_only(request, family, name);
        let take = |limit: &mut Option<u32>, message: &Message<'_>| *limit = limit.or(wire::limit(message));
        let read = self.socket.dump(wire::LIST, header, take);
        read.map_err(IpvsError::read(format!("how much room address set {name} has")))
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
