//! The kernel's tables, over one netlink socket.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portolan_netlink::{Message, NetlinkError, NetlinkSocket, Protocol, flag};

use crate::encode::encode;
use crate::parse::{self, Elements, ParsedSet};
use crate::wire::{self, element_list, family_header, message_kind};
use crate::{
    Commit, DumpedChain, DumpedRule, DumpedSet, Features, NftError, Owner, Table, TableDump, TableFlags,
    TableId, Tables, Transaction,
};

mod refusal;

/// The kernel's tables.
///
/// Tables made with [`TableFlags::OWNED`] belong to the socket: keep this value
/// as long as they shall stay protected.
#[derive(Debug)]
pub struct NetlinkTables {
    socket: NetlinkSocket,
    features: Option<Features>,
}

impl NetlinkTables {
    /// How often a transaction is sent that the kernel asks to repeat, and a table is read that
    /// changes meanwhile.
    pub const ATTEMPTS: usize = 10;
    /// How long to wait before each repetition of a transaction.
    const PAUSE: Duration = Duration::from_millis(5);

    /// Opens the socket.
    ///
    /// # Errors
    /// The kernel has no netfilter netlink, or the process may not open sockets. A missing
    /// privilege to change tables shows only with the first change.
    pub fn open() -> Result<Self, NftError> {
        let socket = NetlinkSocket::open(Protocol::Netfilter)
            .map_err(|source| NftError::Netlink { action: "open", source })?;
        Ok(Self { socket, features: None })
    }

    /// The most bytes one transaction can have, having tried to make room for `wanted`.
    ///
    /// Without `CAP_NET_ADMIN` in the initial user namespace this is twice
    /// `net.core.wmem_max`, some 400 KB by default.
    ///
    /// # Errors
    /// The socket's options cannot be read.
    pub fn make_room(&mut self, wanted: usize) -> Result<usize, NftError> {
        self.socket.make_room(wanted).map_err(|source| NftError::Netlink { action: "make room", source })
    }

    /// The port number by which the kernel knows the owner of this value's tables.
    pub fn port(&self) -> u32 {
        self.socket.port()
    }

    fn try_commit(&mut self, transaction: &Transaction) -> Result<Commit, NftError> {
        let started = Instant::now();
        let encoded = encode(transaction, self.socket.new_batch())?;
        let sent = Instant::now();
        let refusals = self
            .socket
            .send_batch(&encoded.batch, encoded.asked)
            .map_err(|source| NftError::Netlink { action: "commit", source })?;
        if !refusals.is_empty() {
            return Err(refusal::explain(transaction, &encoded, refusals));
        }
        Ok(Commit {
            messages: encoded.messages(),
            bytes: encoded.batch.size(),
            encode: sent.duration_since(started),
            kernel: sent.elapsed(),
        })
    }

    /// The number of the ruleset's state; it changes with every commit of anybody.
    fn generation(&mut self) -> Result<u32, NftError> {
        /// `NFTA_GEN_ID`
        const ID: u16 = 1;
        let kind = message_kind(wire::message::GET_GENERATION);
        let answer = self.socket.request(
            kind,
            flag::ACK,
            |message| {
                message.bytes(&[0; wire::FAMILY_HEADER]);
            },
            |generation: &mut Option<u32>, message| {
                *generation = message.attributes(wire::FAMILY_HEADER).find_kind(ID).and_then(|a| a.as_be32());
            },
        );
        answer.map_err(reading)?.ok_or(NftError::Malformed { what: "generation" })
    }

    /// The whole table, if nothing changed while reading.
    fn try_dump(&mut self, table: &TableId) -> Result<Option<TableDump>, NftError> {
        let Some(found) = self.table(table)? else { return Ok(None) };
        let mut chains = self.chains(table)?;
        for (name, rule) in self.rules(table)? {
            match chains.iter_mut().find(|chain| chain.chain.name == name) {
                Some(chain) => chain.rules.push(rule),
                None => return Err(NftError::Malformed { what: "rule" }),
            }
        }
        let mut sets = Vec::new();
        for set in self.sets(table)? {
            sets.push(self.with_elements(table, set)?);
        }
        let owner = match found.owner {
            None => Owner::Anybody,
            Some(port) if port == self.socket.port() => Owner::Us,
            Some(port) => Owner::Other { port },
        };
        Ok(Some(TableDump { id: table.clone(), table: found.table, owner, chains, sets }))
    }

    fn table(&mut self, table: &TableId) -> Result<Option<parse::ParsedTable>, NftError> {
        /// `NFTA_TABLE_NAME`
        const NAME: u16 = 1;
        let kind = message_kind(wire::message::GET_TABLE);
        let answer = self.socket.request(
            kind,
            flag::ACK,
            |message| {
                message.bytes(&family_header(table.family)).text(NAME, &table.name);
            },
            |found: &mut Option<parse::ParsedTable>, message| *found = parse::table(message),
        );
        match answer {
            Ok(Some(found)) => Ok(Some(found)),
            Ok(None) => Err(NftError::Malformed { what: "table" }),
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(reading(error)),
        }
    }

    fn chains(&mut self, table: &TableId) -> Result<Vec<DumpedChain>, NftError> {
        let each = |chains: &mut Vec<DumpedChain>, message: &Message<'_>| {
            let of_table = |(name, chain)| (name == &*table.name).then_some(chain);
            chains.extend(parse::chain(message).and_then(of_table));
        };
        self.list_of(wire::message::GET_CHAIN, table, each)
    }

    fn rules(&mut self, table: &TableId) -> Result<Vec<(Arc<str>, DumpedRule)>, NftError> {
        let each = |rules: &mut Vec<_>, message: &Message<'_>| rules.extend(parse::rule(message));
        self.list_of(wire::message::GET_RULE, table, each)
    }

    fn sets(&mut self, table: &TableId) -> Result<Vec<ParsedSet>, NftError> {
        let each = |sets: &mut Vec<_>, message: &Message<'_>| sets.extend(parse::set(message, table));
        self.list_of(wire::message::GET_SET, table, each)
    }

    /// All chains, rules or sets. The kernel filters by table where it can, chains it cannot.
    fn list_of<T: Default>(
        &mut self,
        message: u8,
        table: &TableId,
        each: impl FnMut(&mut T, &Message<'_>),
    ) -> Result<T, NftError> {
        /// `NFTA_CHAIN_TABLE`, `NFTA_RULE_TABLE`, `NFTA_SET_TABLE`
        const TABLE: u16 = 1;
        let fill = |message: &mut portolan_netlink::MessageWriter<'_>| {
            message.bytes(&family_header(table.family)).text(TABLE, &table.name);
        };
        self.socket.dump(message_kind(message), fill, each).map_err(reading)
    }

    fn with_elements(&mut self, table: &TableId, set: ParsedSet) -> Result<DumpedSet, NftError> {
        let fill = |message: &mut portolan_netlink::MessageWriter<'_>| {
            message.bytes(&family_header(table.family));
            message.text(element_list::TABLE, &table.name).text(element_list::SET, &set.name);
        };
        let each = |elements: &mut Elements, message: &Message<'_>| elements.take(message, set.ranges);
        let kind = message_kind(wire::message::GET_ELEMENTS);
        let elements = self.socket.dump(kind, fill, each).map_err(reading)?;
        if elements.unreadable > 0 {
            return Err(NftError::Malformed { what: "set element" });
        }
        Ok(DumpedSet {
            name: set.name,
            set: set.set.map(Arc::new),
            handle: set.handle,
            elements: elements.finish(),
        })
    }
}

impl Tables for NetlinkTables {
    fn commit(&mut self, transaction: &Transaction) -> Result<Commit, NftError> {
        if transaction.is_empty() {
            return Ok(Commit::default());
        }
        let mut attempt = 1;
        loop {
            match self.try_commit(transaction) {
                Err(error) if attempt < Self::ATTEMPTS && asks_to_repeat(&error) => attempt += 1,
                result => return result,
            }
            std::thread::sleep(Self::PAUSE);
        }
    }

    fn dump(&mut self, table: &TableId) -> Result<Option<TableDump>, NftError> {
        for _ in 0..Self::ATTEMPTS {
            let before = self.generation()?;
            let dump = match self.try_dump(table) {
                // Something listed a moment ago is gone: a change, which the generation shows.
                Err(error) if error.is_not_found() => None,
                dump => Some(dump?),
            };
            if self.generation()? == before {
                return dump.ok_or(NftError::Malformed { what: "set" });
            }
        }
        Err(NftError::Unsteady { table: table.to_string() })
    }

    fn dump_set(&mut self, table: &TableId, set: &str) -> Result<Option<DumpedSet>, NftError> {
        let found = match self.sets(table) {
            Err(error) if error.is_not_found() => return Ok(None),
            sets => sets?.into_iter().find(|found| &*found.name == set),
        };
        let Some(found) = found else { return Ok(None) };
        match self.with_elements(table, found) {
            Err(error) if error.is_not_found() => Ok(None),
            set => set.map(Some),
        }
    }

    fn list(&mut self) -> Result<Vec<(TableId, Table)>, NftError> {
        let fill = |message: &mut portolan_netlink::MessageWriter<'_>| {
            message.bytes(&[0; wire::FAMILY_HEADER]);
        };
        let each = |tables: &mut Vec<(TableId, Table)>, message: &Message<'_>| {
            tables.extend(parse::table(message).map(|found| (found.id, found.table)));
        };
        self.socket.dump(message_kind(wire::message::GET_TABLE), fill, each).map_err(reading)
    }

    fn features(&mut self) -> Result<Features, NftError> {
        if let Some(features) = self.features {
            return Ok(features);
        }
        // A table that comes and goes within one transaction is never seen by anybody.
        let name = format!("portolan-probe-{}", self.socket.port());
        let mut probe = Transaction::new(TableId::new(crate::Family::Ip, name));
        probe.add_table(Table { flags: TableFlags::OWNED, comment: None }).delete_table();
        let owner_persist = match self.commit(&probe) {
            Ok(_) => true,
            // The first before Linux 5.13, the second since.
            Err(error) if error.errno() == Some(libc::EINVAL) || error.is_unsupported() => false,
            Err(error) => return Err(error),
        };
        Ok(*self.features.insert(Features { owner_persist }))
    }
}

fn asks_to_repeat(error: &NftError) -> bool {
    matches!(error.errno(), Some(libc::EAGAIN | libc::EINTR | libc::ERESTART))
        && matches!(error, NftError::Batch { .. } | NftError::Refused { .. })
}

fn reading(source: NetlinkError) -> NftError {
    NftError::Netlink { action: "read tables", source }
}
