//! Changes of sets.

use portolan_core::IpFamily;
use portolan_netlink::MessageWriter;

use super::{Member, Set, wire};
use crate::sent::Request;

/// One change of what is in a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetChange {
    /// Puts an element in.
    Add(Set, IpFamily, Member),
    /// Takes one out.
    Remove(Set, IpFamily, Member),
}

impl SetChange {
    fn parts(&self) -> (Set, IpFamily, &Member) {
        match self {
            Self::Add(set, family, member) | Self::Remove(set, family, member) => (*set, *family, member),
        }
    }
}

impl Request for SetChange {
    fn kind(&self, _: u16) -> u16 {
        match self {
            Self::Add(..) => wire::ADD,
            Self::Remove(..) => wire::DELETE,
        }
    }

    fn write(&self, message: &mut MessageWriter<'_>) {
        let (set, family, member) = self.parts();
        wire::write_name(message, family, &set.name(family));
        wire::write_member(message, member);
    }

    /// An element that is there or gone already is no error: without `NLM_F_EXCL` ipset says nothing of it.
    fn is_done_by(&self, _: i32) -> bool {
        false
    }

    fn describe(&self) -> String {
        let (set, family, member) = self.parts();
        let verb = match self {
            Self::Add(..) => "add to",
            Self::Remove(..) => "remove from",
        };
        format!("{verb} address set {} the element {member}", set.name(family))
    }
}
