//! A look at one chain, without reading its table.

use portolan_netlink::{Message, MessageWriter, Steadiness, flag};

use super::NetlinkTables;
use crate::parse;
use crate::wire::{self, family_header, message_kind};
use crate::{DumpedChain, DumpedRule, Expr, JumpRule, NftError, TableId};

/// `NFTA_CHAIN_TABLE`, `NFTA_CHAIN_NAME` and `NFTA_CHAIN_USE`, linux/netfilter/nf_tables.h.
const TABLE: u16 = 1;
const NAME: u16 = 3;
const USE: u16 = 6;

impl NetlinkTables {
    /// Whether there is a chain, whoever made it.
    ///
    /// # Errors
    /// That cannot be found out.
    pub fn has_chain(&mut self, table: &TableId, chain: &str) -> Result<bool, NftError> {
        self.look_at_chain(table, chain).map(|uses| uses.is_some())
    }

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

    /// Reads the rules of one chain, whoever made them; none when the chain, or its table, does not exist.
    ///
    /// # Errors
    /// The chain cannot be read, or changed each time it was.
    pub fn chain_rules(&mut self, table: &TableId, chain: &str) -> Result<Vec<DumpedRule>, NftError> {
        /// `NFTA_RULE_CHAIN`
        const CHAIN: u16 = 2;
        let of_chain = |message: &mut MessageWriter<'_>| _ = message.text(CHAIN, chain);
        self.list(table, wire::message::GET_RULE, of_chain, |rules: &mut Vec<DumpedRule>, message| {
            rules.extend(parse::rule(message).filter(|(of, _)| **of == *chain).map(|(_, rule)| rule));
        })
    }

    /// Reads the chains of a table, whoever made them, without their rules; none when the table does not exist.
    ///
    /// # Errors
    /// They cannot be read, or changed each time they were.
    pub fn chains(&mut self, table: &TableId) -> Result<Vec<DumpedChain>, NftError> {
        self.list(
            table,
            wire::message::GET_CHAIN,
            |_| (),
            |chains: &mut Vec<DumpedChain>, message| {
                let found = parse::chain(message).filter(|(of, _)| **of == *table.name);
                chains.extend(
                    found.map(|(_, chain)| chain).filter(|_| parse::family(message) == Some(table.family)),
                );
            },
        )
    }

    /// Reads the rules of a table that lead to another chain, whoever made them; none when the table does not exist.
    ///
    /// # Errors
    /// They cannot be read, or changed each time they were.
    pub fn jumps(&mut self, table: &TableId) -> Result<Vec<JumpRule>, NftError> {
        self.list(
            table,
            wire::message::GET_RULE,
            |_| (),
            |jumps: &mut Vec<JumpRule>, message| {
                let Some((chain, rule)) = parse::rule(message) else { return };
                let target = rule.expressions.iter().find_map(Expr::target).cloned();
                jumps.extend(target.map(|target| JumpRule { chain, handle: rule.handle, target }));
            },
        )
    }

    /// Dumps objects of a table until nothing changed meanwhile, or two dumps in a row agree: changes of other tables
    /// interrupt a dump, too.
    fn list<T: Default + PartialEq>(
        &mut self,
        table: &TableId,
        message: u8,
        restrict: impl Fn(&mut MessageWriter<'_>),
        mut each: impl FnMut(&mut T, &Message<'_>),
    ) -> Result<T, NftError> {
        let fill = |message: &mut MessageWriter<'_>| {
            restrict(message.bytes(&family_header(table.family)).text(TABLE, &table.name));
        };
        let mut previous = None;
        for _ in 0..Self::ATTEMPTS {
            let read = self.socket.dump_once(message_kind(message), fill, &mut each);
            let (objects, steadiness) =
                read.map_err(|source| NftError::Netlink { action: "read a table", source })?;
            if steadiness == Steadiness::Undisturbed || previous.as_ref() == Some(&objects) {
                return Ok(objects);
            }
            previous = Some(objects);
        }
        Err(NftError::Unsteady { table: table.to_string() })
    }

    /// The kernel's numbers for the rules of one chain, or of a whole table: what is written anew gets others. None
    /// when there is no such chain or table.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn rule_handles(&mut self, table: &TableId, chain: Option<&str>) -> Result<Vec<u64>, NftError> {
        /// `NFTA_RULE_CHAIN` and `NFTA_RULE_HANDLE`
        const CHAIN: u16 = 2;
        const HANDLE: u16 = 3;
        let fill = |message: &mut MessageWriter<'_>| {
            message.bytes(&family_header(table.family)).text(TABLE, &table.name);
            if let Some(chain) = chain {
                message.text(CHAIN, chain);
            }
        };
        let each = |handles: &mut Vec<u64>, message: &Message<'_>| {
            let attributes = message.attributes(wire::FAMILY_HEADER);
            handles.extend(attributes.find_kind(HANDLE).and_then(|handle| handle.as_be64()));
        };
        let read = self.socket.dump_once(message_kind(wire::message::GET_RULE), fill, each);
        read.map(|(handles, _)| handles).map_err(|source| NftError::Netlink { action: "read rules", source })
    }
}
