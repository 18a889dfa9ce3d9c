//! Reads tables in one state, as far as the kernel allows it.
//!
//! A table takes several dumps to read, and the kernel writes each piece by
//! piece. It marks a dump as interrupted when any table of the network namespace
//! changed meanwhile, so on a node where another program commits every second no
//! reading of a large table would ever be consistent. Therefore two interrupted
//! readings in a row that agree count as one: this table did not change.
//!
//! A dump may list elements of a set twice, and others not at all, without any
//! mark: the kernel finds the place where the next piece of a dump begins by
//! counting, and a set that has grown is rehashed into a larger table after the
//! commit. So a reading with duplicates is discarded.
//!
//! Sets that packets fill change while they are read in any case, without a
//! mark. Their elements are not compared. A reading of such a set may miss
//! elements that were there throughout, when others expired meanwhile.

use std::sync::Arc;
use std::time::Duration;

use portolan_netlink::{Consistency, Message, MessageWriter, NetlinkError, NetlinkSocket, flag};

use super::NetlinkTables;
use crate::parse::{self, Elements, ParsedSet};
use crate::wire::{self, element_list, family_header, message_kind};
use crate::{
    DumpedChain, DumpedRule, DumpedSet, Element, ElementList, Expr, JumpRule, NftError, Owner, Table,
    TableDump, TableId,
};

impl NetlinkTables {
    #[expect(
        clippy::redundant_closure_for_method_calls,
        reason = "the method itself is for one lifetime of the reader"
    )]
    pub(super) fn read_table(&mut self, table: &TableId) -> Result<Option<TableDump>, NftError> {
        self.settled(table, |reader| reader.table(), agree)
    }

    pub(super) fn read_set(&mut self, table: &TableId, set: &str) -> Result<Option<DumpedSet>, NftError> {
        self.settled(table, |reader| reader.set(set), sets_agree)
    }

    /// Whether a chain exists, in whatever table.
    ///
    /// # Errors
    /// The chain cannot be read.
    pub fn has_chain(&mut self, table: &TableId, chain: &str) -> Result<bool, NftError> {
        self.read_chain_use(table, chain).map(|uses| uses.is_some())
    }

    /// The use count of a chain: its rules and what jumps to it, which for a base chain is nothing.
    pub(super) fn read_chain_use(&mut self, table: &TableId, chain: &str) -> Result<Option<usize>, NftError> {
        /// `NFTA_CHAIN_USE`
        const USE: u16 = 6;
        let uses = |message: &Message<'_>| {
            let uses = message.attributes(wire::FAMILY_HEADER).find_kind(USE)?.as_be32()?;
            usize::try_from(uses).ok()
        };
        Reader::new(&mut self.socket, table).one(wire::message::GET_CHAIN, "chain", (CHAIN_NAME, chain), uses)
    }

    /// Reads the rules of one chain, of whatever table; none when the chain, or its table, does not exist.
    ///
    /// # Errors
    /// The chain cannot be read, or changed during every attempt.
    pub fn chain_rules(&mut self, table: &TableId, chain: &str) -> Result<Vec<DumpedRule>, NftError> {
        let read = |reader: &mut Reader<'_>| {
            let rules = reader.rules(Some(chain))?.into_iter().filter(|(of, _)| **of == *chain);
            Ok(Some(rules.map(|(_, rule)| rule).collect()))
        };
        let agree = |a: &Vec<DumpedRule>, b: &Vec<DumpedRule>| handles(a).eq(handles(b));
        self.settled(table, read, agree).map(Option::unwrap_or_default)
    }

    /// Reads the chains of a table, of whatever owner, without their rules; none when the table does not exist.
    ///
    /// # Errors
    /// They cannot be read, or changed during every attempt.
    pub fn chains(&mut self, table: &TableId) -> Result<Vec<DumpedChain>, NftError> {
        self.settled(table, |reader| reader.chains().map(Some), Vec::eq).map(Option::unwrap_or_default)
    }

    /// Reads the rules of a table that lead to another chain; none when the table does not exist.
    ///
    /// # Errors
    /// They cannot be read, or changed during every attempt.
    pub fn jumps(&mut self, table: &TableId) -> Result<Vec<JumpRule>, NftError> {
        let read = |reader: &mut Reader<'_>| {
            let jump = |(chain, rule): (Arc<str>, DumpedRule)| {
                let target = rule.expressions.iter().find_map(Expr::target).cloned()?;
                Some(JumpRule { chain, handle: rule.handle, target })
            };
            Ok(Some(reader.rules(None)?.into_iter().filter_map(jump).collect()))
        };
        self.settled(table, read, Vec::eq).map(Option::unwrap_or_default)
    }

    /// The kernel's handles of the rules of one chain, or of a whole table: rules that are written again get others.
    /// None when there is no such chain or table.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn rule_handles(&mut self, table: &TableId, chain: Option<&str>) -> Result<Vec<u64>, NftError> {
        /// `NFTA_RULE_HANDLE`
        const HANDLE: u16 = 3;
        let each = |handles: &mut Vec<u64>, message: &Message<'_>| {
            let attributes = message.attributes(wire::FAMILY_HEADER);
            handles.extend(attributes.find_kind(HANDLE).and_then(|handle| handle.as_be64()));
        };
        let named = chain.map(|chain| (RULE_CHAIN, chain));
        Reader::new(&mut self.socket, table).list(wire::message::GET_RULE, named, each)
    }

    /// Reads until a reading is consistent, or two in a row agree.
    fn settled<T>(
        &mut self,
        table: &TableId,
        mut read: impl FnMut(&mut Reader<'_>) -> Result<Option<T>, NftError>,
        agree: impl Fn(&T, &T) -> bool,
    ) -> Result<Option<T>, NftError> {
        let mut previous = None;
        for _ in 0..Self::ATTEMPTS {
            let mut reader = Reader::new(&mut self.socket, table);
            match read(&mut reader) {
                Ok(None) => return Ok(None),
                Ok(Some(found)) => {
                    if reader.is_consistent || previous.is_some_and(|previous| agree(&previous, &found)) {
                        return Ok(Some(found));
                    }
                    previous = Some(found);
                }
                // An object that was listed a moment ago is gone.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Err(NftError::Unsteady { table: table.to_string() })
    }

    pub(super) fn read_list(&mut self) -> Result<Vec<(TableId, Table)>, NftError> {
        let fill = |message: &mut MessageWriter<'_>| {
            message.bytes(&[0; wire::FAMILY_HEADER]);
        };
        let each = |tables: &mut Vec<(TableId, Table)>, message: &Message<'_>| {
            tables.extend(parse::table(message).map(|found| (found.id, found.table)));
        };
        self.socket.dump(message_kind(wire::message::GET_TABLE), fill, each).map_err(failed)
    }
}

/// The number of the ruleset's generation, which every commit in the network namespace increments.
fn generation(socket: &mut NetlinkSocket) -> Result<u32, NftError> {
    /// `NFTA_GEN_ID`
    const ID: u16 = 1;
    let fill = |message: &mut MessageWriter<'_>| {
        message.bytes(&[0; wire::FAMILY_HEADER]);
    };
    let each = |generation: &mut Option<u32>, message: &Message<'_>| {
        *generation = message.attributes(wire::FAMILY_HEADER).find_kind(ID).and_then(|a| a.as_be32());
    };
    let kind = message_kind(wire::message::GET_GENERATION);
    let answer = socket.request(kind, flag::ACK, fill, each).map_err(failed)?;
    answer.ok_or(NftError::Malformed { what: "generation" })
}

fn failed(source: NetlinkError) -> NftError {
    NftError::Netlink { action: "read tables", source }
}

/// `NFTA_TABLE_NAME`; the name of the table is the first attribute of chains, rules and sets, too.
const TABLE: u16 = 1;
/// `NFTA_CHAIN_NAME`
const CHAIN_NAME: u16 = 3;
/// `NFTA_RULE_CHAIN`
const RULE_CHAIN: u16 = 2;
/// `NFTA_SET_NAME`
const SET_NAME: u16 = 2;

/// One reading of one table.
struct Reader<'a> {
    socket: &'a mut NetlinkSocket,
    table: &'a TableId,
    /// Whether nothing changed during all dumps so far.
    is_consistent: bool,
}

impl<'a> Reader<'a> {
    /// How long to wait first for the kernel to rehash a set; later a little longer each time.
    const PAUSE: Duration = Duration::from_millis(2);

    fn new(socket: &'a mut NetlinkSocket, table: &'a TableId) -> Self {
        Self { socket, table, is_consistent: true }
    }

    fn table(&mut self) -> Result<Option<TableDump>, NftError> {
        let before = generation(self.socket)?;
        let Some(found) = self.one(wire::message::GET_TABLE, "table", None, parse::table)? else {
            return Ok(None);
        };
        let mut chains = self.chains()?;
        for (name, rule) in self.rules(None)? {
            // Rules of a chain that was added after the chains were read change the generation.
            if let Some(chain) = chains.iter_mut().find(|chain| chain.chain.name == name) {
                chain.rules.push(rule);
            }
        }
        let mut sets = Vec::new();
        for set in self.sets()? {
            sets.push(self.with_elements(set)?);
        }
        let owner = match found.owner {
            None => Owner::None,
            Some(port) if port == self.socket.port() => Owner::Us,
            Some(port) => Owner::Other { port },
        };
        self.is_consistent &= generation(self.socket)? == before;
        Ok(Some(TableDump { id: self.table.clone(), table: found.table, owner, chains, sets }))
    }

    /// One set alone: a list of all would grow with the Services that have a map of their own.
    fn set(&mut self, name: &str) -> Result<Option<DumpedSet>, NftError> {
        let table = self.table;
        let found =
            self.one(wire::message::GET_SET, "set", (SET_NAME, name), |message| parse::set(message, table))?;
        found.map(|found| self.with_elements(found)).transpose()
    }

    fn chains(&mut self) -> Result<Vec<DumpedChain>, NftError> {
        // The kernel does not filter chains by table.
        let table = self.table;
        self.list(wire::message::GET_CHAIN, None, |chains: &mut Vec<_>, message| {
            let parsed = parse::chain(message).filter(|(of, _)| *of == &*table.name);
            chains.extend(parsed.map(|(_, chain)| chain));
        })
    }

    /// The rules of one chain, or of all.
    fn rules(&mut self, chain: Option<&str>) -> Result<Vec<(Arc<str>, DumpedRule)>, NftError> {
        let named = chain.map(|chain| (RULE_CHAIN, chain));
        self.list(wire::message::GET_RULE, named, |rules: &mut Vec<_>, message| {
            rules.extend(parse::rule(message));
        })
    }

    fn sets(&mut self) -> Result<Vec<ParsedSet>, NftError> {
        let table = self.table;
        self.list(wire::message::GET_SET, None, |sets: &mut Vec<_>, message| {
            sets.extend(parse::set(message, table));
        })
    }

    /// One object: the table, or one of its objects by the attribute that names it. None when it, or its table,
    /// does not exist.
    fn one<'n, T>(
        &mut self,
        message: u8,
        what: &'static str,
        named: impl Into<Option<(u16, &'n str)>>,
        parse: impl Fn(&Message<'_>) -> Option<T>,
    ) -> Result<Option<T>, NftError> {
        let each = |found: &mut Option<T>, message: &Message<'_>| *found = parse(message);
        let question = question(self.table, named.into());
        match self.socket.request(message_kind(message), flag::ACK, question, each) {
            Ok(Some(found)) => Ok(Some(found)),
            Ok(None) => Err(NftError::Malformed { what }),
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// All objects of a kind in the table, as far as the kernel filters.
    fn list<T: Default>(
        &mut self,
        message: u8,
        named: Option<(u16, &str)>,
        each: impl FnMut(&mut T, &Message<'_>),
    ) -> Result<T, NftError> {
        let read = self.socket.dump_once(message_kind(message), question(self.table, named), each);
        let (read, consistency) = read.map_err(failed)?;
        self.is_consistent &= consistency == Consistency::Consistent;
        Ok(read)
    }

    fn with_elements(&mut self, set: ParsedSet) -> Result<DumpedSet, NftError> {
        let (elements, unreadable) = self.deduplicated(&set)?;
        // With a catch-all element of another process, say, the set is not one of ours any more.
        let shape = set.set.map(Arc::new).filter(|_| unreadable == 0);
        Ok(DumpedSet { name: set.name, set: shape, handle: set.handle, elements })
    }

    /// The elements of a set, each once, and how many others could not be read.
    fn deduplicated(&mut self, set: &ParsedSet) -> Result<(ElementList, usize), NftError> {
        let mut earlier: Option<ElementList> = None;
        for attempt in 1..=NetlinkTables::ATTEMPTS {
            let (elements, unreadable) = self.elements(set)?;
            // Ranges are not kept in hash tables.
            if set.ranges || !elements.has_doubles() {
                return Ok((elements, unreadable));
            }
            // While packets come the next reading is no better, but two miss less than one.
            if let Some(mut both) = earlier.take() {
                both.extend(&elements);
                return Ok((both.distinct(), unreadable));
            }
            earlier = set.dynamic.then_some(elements);
            std::thread::sleep(Self::PAUSE * u32::try_from(attempt).unwrap_or(1));
        }
        Err(NftError::Unsteady { table: self.table.to_string() })
    }

    fn elements(&mut self, set: &ParsedSet) -> Result<(ElementList, usize), NftError> {
        let each = |elements: &mut Elements, message: &Message<'_>| elements.take(message, set.ranges);
        let elements = self.list(wire::message::GET_ELEMENTS, Some((element_list::SET, &set.name)), each)?;
        let unreadable = elements.unreadable;
        Ok((elements.finish(), unreadable))
    }
}

/// Names the table, and an object in it by the attribute that holds its name.
fn question(table: &TableId, named: Option<(u16, &str)>) -> impl Fn(&mut MessageWriter<'_>) {
    move |message| {
        message.bytes(&family_header(table.family)).text(TABLE, &table.name);
        if let Some((attribute, name)) = named {
            message.text(attribute, name);
        }
    }
}

fn handles(rules: &[DumpedRule]) -> impl Iterator<Item = u64> {
    rules.iter().map(|rule| rule.handle)
}

/// Whether two readings show the same table. Handles distinguish objects of one name: an object that is
/// created again gets another.
fn agree(a: &TableDump, b: &TableDump) -> bool {
    let chains_agree =
        |a: &DumpedChain, b: &DumpedChain| a.handle == b.handle && handles(&a.rules).eq(handles(&b.rules));
    (&a.table, a.owner) == (&b.table, b.owner)
        && a.chains.len() == b.chains.len()
        && a.chains.iter().zip(&b.chains).all(|(a, b)| chains_agree(a, b))
        && a.sets.len() == b.sets.len()
        && a.sets.iter().zip(&b.sets).all(|(a, b)| sets_agree(a, b))
}

fn sets_agree(a: &DumpedSet, b: &DumpedSet) -> bool {
    let filled_by_packets = a.set.as_ref().is_some_and(|set| set.dynamic);
    a.handle == b.handle && (filled_by_packets || lists_agree(&a.elements, &b.elements))
}

/// An unchanged set is dumped in the same order, but with less time left to its elements.
fn lists_agree(a: &ElementList, b: &ElementList) -> bool {
    let timeless = |element: Element| Element { expires: None, ..element };
    a.len() == b.len() && a.iter().map(timeless).eq(b.iter().map(timeless))
}
