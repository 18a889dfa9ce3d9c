//! The kernel's table of tracked flows: counting, listing, deleting.
//!
//! Only messages; the caller decides which flows to delete.

use portolan_core::IpFamily;
use portolan_netlink::{
    Consistency, Message, MessageWriter, Nack, NetlinkError, NetlinkSocket, Protocol, flag,
};

use crate::filter::Filter;
use crate::wire::{self, message};

/// How often an interrupted list is requested before its content is used.
///
/// As in kube-proxy. Connection tracking does not mark lists as interrupted up to Linux 6.18, though
/// resizing the table does interrupt them.
pub const LIST_ATTEMPTS: usize = 5;

/// How many entries one call deletes. Every error waits to be read until the call ends and takes
/// some 800 bytes of the socket's receive buffer, which may be as small as 208 KiB
/// (`net.core.rmem_default`) without privilege in the initial user namespace.
const DELETIONS_PER_CALL: usize = 128;

/// The table of the network namespace that it was opened in.
#[derive(Debug)]
pub(crate) struct Table {
    socket: NetlinkSocket,
}

impl Table {
    pub(crate) fn open() -> Result<Self, NetlinkError> {
        NetlinkSocket::open(Protocol::Netfilter).map(|socket| Self { socket })
    }

    /// How many entries there are, of all families and protocols.
    pub(crate) fn count(&mut self) -> Result<u32, NetlinkError> {
        let all = |request: &mut MessageWriter<'_>| _ = request.bytes(&wire::header(None));
        let read = |count: &mut Option<u32>, answer: &Message<'_>| {
            let attribute = answer.attributes(wire::HEADER_LEN).find_kind(wire::ENTRY_COUNT);
            *count = attribute.and_then(|count| count.as_be32());
        };
        let count = self.socket.request(message::GET_STATS, flag::ACK, all, read)?;
        // A kernel that omits the number may have any number of entries.
        Ok(count.unwrap_or(u32::MAX))
    }

    /// Passes every message of a list to `each`, starting over with a fresh `T` when it was interrupted.
    pub(crate) fn list<T: Default>(
        &mut self,
        family: IpFamily,
        filter: Filter,
        mut each: impl FnMut(&mut T, &Message<'_>),
    ) -> Result<T, NetlinkError> {
        let ask = |request: &mut MessageWriter<'_>| {
            request.bytes(&wire::header(Some(family)));
            filter.write(request);
        };
        let mut attempts = 1;
        loop {
            let (listed, consistency) = self.socket.dump_once(message::GET, ask, &mut each)?;
            if consistency == Consistency::Consistent || attempts == LIST_ATTEMPTS {
                return Ok(listed);
            }
            attempts += 1;
        }
    }

    /// Deletes entries by their handles, each independently, and returns the kernel's errors.
    pub(crate) fn delete<H: AsRef<[u8]>>(
        &mut self,
        family: IpFamily,
        handles: &[H],
    ) -> Result<Vec<Nack>, NetlinkError> {
        let mut nacks = Vec::new();
        for some in handles.chunks(DELETIONS_PER_CALL) {
            let mut batch = self.socket.new_batch();
            for handle in some {
                let fill = |request: &mut MessageWriter<'_>| {
                    request.bytes(&wire::header(Some(family)));
                    request.bytes(handle.as_ref());
                };
                batch.add(message::DELETE, flag::REQUEST, fill)?;
            }
            if let Some(last) = batch.last() {
                batch.set_flags(last, flag::ACK);
            }
            nacks.append(&mut self.socket.send_each(&batch)?);
        }
        Ok(nacks)
    }
}

#[cfg(test)]
mod tests;
