//! A look at one chain, without reading its table.

use portolan_netlink::{Message, MessageWriter, flag};

use super::NetlinkTables;
use crate::wire::{self, family_header, message_kind};
use crate::{NftError, TableId};

/// `NFTA_CHAIN_TABLE`, `NFTA_CHAIN_NAME` and `NFTA_CHAIN_USE`, linux/netfilter/nf_tables.h.
const TABLE: u16 = 1;
const NAME: u16 = 3;
const USE: u16 = 6;

impl NetlinkTables {
    /// How often a chain is in use. What leads to a chain counts like a rule of it, and nothing leads to a
    /// base chain.
    pub(super) fn look_at_chain(&mut self, table: &TableId, chain: &str) -> Result<Option<usize>, NftError> {
        let fill = |message: &mut MessageWriter<'_>| {
            message.bytes(&family_header(table.family)).text(TABLE, &table.name).text(NAME, chain);
        };
        let each = |uses: &mut Option<u32>, message: &Message<'_>| {
            *uses = message.attributes(wire::FAMILY_HEADER).find_kind(USE).and_then(|a| a.as_be32());
        };
        let kind = message_kind(wire::message::GET_CHAIN);
        match self.socket.request(kind, flag::ACK, fill, each) {
            Ok(Some(uses)) => Ok(usize::try_from(uses).ok()),
            Ok(None) => Err(NftError::Malformed { what: "chain" }),
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok(None),
            Err(source) => Err(NftError::Netlink { action: "look at a chain", source }),
        }
    }
}
