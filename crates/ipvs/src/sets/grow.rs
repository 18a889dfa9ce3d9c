//! Room for more elements in a set that is in use.
//!
//! kube-proxy makes its sets for 65,536 elements, which a set keeps for as long as it lives; a larger cluster would
//! find them full. So a larger set is filled beside such a one, and then they change places: rules ask the larger
//! one from then on, and at no moment one that lacks anything.

use portolan_core::IpFamily;
use portolan_netlink::{Message, MessageWriter, flag};

use super::{Destroyed, Member, Set, SetKind, Sets, wire};
use crate::IpvsError;
use crate::sent::{Request, send_all};

/// What the larger set is called until it takes the other's place.
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
    /// Gives a set that there is as much room as those that are made here have. Gives whether it had less.
    pub(super) fn make_room(&mut self, set: Set, family: IpFamily) -> Result<bool, IpvsError> {
        let name = set.name(family);
        // An earlier attempt may have ended half-way.
        if set.kind() == SetKind::Port
            || self.limit(&name, family)?.is_none_or(|most| most >= wire::MOST_ELEMENTS)
        {
            return Ok(false);
        }
        self.destroy_interim(family)?;
        self.make(interim(family), set.kind(), family)?;
        let members = self.members(set, family)?.unwrap_or_default();
        let members: Vec<_> = members.into_iter().map(|member| Interim(family, member)).collect();
        send_all(&mut self.socket, 0, &members)?.all()?;
        self.swap(family, [interim(family), &name])?;
        self.destroy_interim(family)?;
        Ok(true)
    }

    /// Removes what an attempt to make room has left that did not come to its end.
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
