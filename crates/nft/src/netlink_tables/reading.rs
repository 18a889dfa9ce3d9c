//! Reads tables, as of one moment as far as the kernel lets anybody.
//!
//! A table takes several dumps to read, and each the kernel writes piece by
//! piece. Its own sign that something changed meanwhile covers all tables of the
//! network namespace, so on a node where another program commits every second a
//! large table would never be read undisturbed. Therefore two disturbed readings
//! in a row that agree count as one: what changed was not this table.
//!
//! The elements of a set may show twice, and others then not at all, without any
//! sign: the kernel finds the place where the next piece of a dump begins by
//! counting, and a set that has grown is moved to a larger table after the
//! commit, in an order of its own. So a reading with doubles counts for nothing.
//!
//! Sets that packets fill change while they are read in any case, and no sign
//! tells. Their elements are not compared. A reading of such a set may miss some
//! that were there all the time, when others went meanwhile.

use std::sync::Arc;
use std::time::Duration;

use portolan_netlink::{Message, MessageWriter, NetlinkError, NetlinkSocket, Steadiness, flag};

use super::NetlinkTables;
use crate::parse::{self, Elements, ParsedSet, ParsedTable};
use crate::wire::{self, element_list, family_header, message_kind};
use crate::{
    DumpedChain, DumpedRule, DumpedSet, Element, ElementList, NftError, Owner, Table, TableDump, TableId,
};

impl NetlinkTables {
    pub(super) fn read_table(&mut self, table: &TableId) -> Result<Option<TableDump>, NftError> {
        let mut previous = None;
        for _ in 0..Self::ATTEMPTS {
            let before = generation(&mut self.socket)?;
            let mut reader = Reader::new(&mut self.socket, table);
            let dump = match reader.table() {
                Ok(None) => return Ok(None),
                Ok(Some(dump)) => dump,
                // What was listed a moment ago is gone.
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error),
            };
            let steady = reader.steadiness == Steadiness::Undisturbed;
            if steady && generation(&mut self.socket)? == before
                || previous.is_some_and(|previous| agree(&previous, &dump))
            {
                return Ok(Some(dump));
            }
            previous = Some(dump);
        }
        Err(NftError::Unsteady { table: table.to_string() })
    }

    pub(super) fn read_set(&mut self, table: &TableId, set: &str) -> Result<Option<DumpedSet>, NftError> {
        let mut previous = None;
        for _ in 0..Self::ATTEMPTS {
            let mut reader = Reader::new(&mut self.socket, table);
            let dump = match reader.set(set) {
                Ok(Some(dump)) => dump,
                Ok(None) => return Ok(None),
                Err(error) if error.is_not_found() => return Ok(None),
                Err(error) => return Err(error),
            };
            let steady = reader.steadiness == Steadiness::Undisturbed;
            if steady || previous.is_some_and(|previous| sets_agree(&previous, &dump)) {
                return Ok(Some(dump));
            }
            previous = Some(dump);
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

/// The number of the ruleset's state; it changes with every commit of anybody.
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

/// One reading of one table.
struct Reader<'a> {
    socket: &'a mut NetlinkSocket,
    table: &'a TableId,
    /// Whether any of the dumps so far was disturbed.
    steadiness: Steadiness,
}

impl<'a> Reader<'a> {
    /// How long the kernel is first given to move a set; later a little more each time.
    const PAUSE: Duration = Duration::from_millis(2);

    fn new(socket: &'a mut NetlinkSocket, table: &'a TableId) -> Self {
        Self { socket, table, steadiness: Steadiness::Undisturbed }
    }

    fn table(&mut self) -> Result<Option<TableDump>, NftError> {
        let Some(found) = self.head()? else { return Ok(None) };
        let mut chains = self.chains()?;
        for (name, rule) in self.rules()? {
            // A rule of a chain that came after the chains were read: the generation tells.
            if let Some(chain) = chains.iter_mut().find(|chain| chain.chain.name == name) {
                chain.rules.push(rule);
            }
        }
        let mut sets = Vec::new();
        for set in self.sets()? {
            sets.push(self.with_elements(set)?);
        }
        let owner = match found.owner {
            None => Owner::Anybody,
            Some(port) if port == self.socket.port() => Owner::Us,
            Some(port) => Owner::Other { port },
        };
        Ok(Some(TableDump { id: self.table.clone(), table: found.table, owner, chains, sets }))
    }

    fn set(&mut self, name: &str) -> Result<Option<DumpedSet>, NftError> {
        let found = self.without_elements(name)?;
        found.map(|found| self.with_elements(found)).transpose()
    }

    /// One set alone: a list of all would grow with the Services that have a map of their own.
    fn without_elements(&mut self, name: &str) -> Result<Option<ParsedSet>, NftError> {
        /// `NFTA_SET_TABLE`, `NFTA_SET_NAME`
        const TABLE: u16 = 1;
        const NAME: u16 = 2;
        let table = self.table;
        let fill = |message: &mut MessageWriter<'_>| {
            message.bytes(&family_header(table.family)).text(TABLE, &table.name).text(NAME, name);
        };
        self.one(wire::message::GET_SET, "set", fill, |message| parse::set(message, table))
    }

    fn head(&mut self) -> Result<Option<ParsedTable>, NftError> {
        /// `NFTA_TABLE_NAME`
        const NAME: u16 = 1;
        let fill = |message: &mut MessageWriter<'_>| {
            message.bytes(&family_header(self.table.family)).text(NAME, &self.table.name);
        };
        self.one(wire::message::GET_TABLE, "table", fill, parse::table)
    }

    fn chains(&mut self) -> Result<Vec<DumpedChain>, NftError> {
        let name = Arc::clone(&self.table.name);
        self.list_of(wire::message::GET_CHAIN, |chains: &mut Vec<DumpedChain>, message| {
            let parsed = parse::chain(message).filter(|(table, _)| *table == &*name);
            chains.extend(parsed.map(|(_, chain)| chain));
        })
    }

    fn rules(&mut self) -> Result<Vec<(Arc<str>, DumpedRule)>, NftError> {
        self.list_of(wire::message::GET_RULE, |rules: &mut Vec<_>, message| {
            rules.extend(parse::rule(message));
        })
    }

    fn sets(&mut self) -> Result<Vec<ParsedSet>, NftError> {
        let table = self.table;
        self.list_of(wire::message::GET_SET, |sets: &mut Vec<_>, message| {
            sets.extend(parse::set(message, table));
        })
    }

    /// All chains, rules or sets. The kernel filters by table where it can, chains it cannot.
    fn list_of<T: Default>(
        &mut self,
        message: u8,
        each: impl FnMut(&mut T, &Message<'_>),
    ) -> Result<T, NftError> {
        /// `NFTA_CHAIN_TABLE`, `NFTA_RULE_TABLE`, `NFTA_SET_TABLE`
        const TABLE: u16 = 1;
        let table = self.table;
        let fill = |message: &mut MessageWriter<'_>| {
            message.bytes(&family_header(table.family)).text(TABLE, &table.name);
        };
        self.dump(message, fill, each)
    }

    /// One object by its name; nothing when it, or its table, does not exist.
    fn one<T>(
        &mut self,
        message: u8,
        what: &'static str,
        fill: impl FnOnce(&mut MessageWriter<'_>),
        parse: impl Fn(&Message<'_>) -> Option<T>,
    ) -> Result<Option<T>, NftError> {
        let each = |found: &mut Option<T>, message: &Message<'_>| *found = parse(message);
        match self.socket.request(message_kind(message), flag::ACK, fill, each) {
            Ok(Some(found)) => Ok(Some(found)),
            Ok(None) => Err(NftError::Malformed { what }),
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    fn with_elements(&mut self, set: ParsedSet) -> Result<DumpedSet, NftError> {
        let (elements, unreadable) = self.undoubled(&set)?;
        // Somebody's catch-all, say: whatever the set was made as, it is none of ours any more.
        let shape = set.set.map(Arc::new).filter(|_| unreadable == 0);
        Ok(DumpedSet { name: set.name, set: shape, handle: set.handle, elements })
    }

    /// The elements of a set, each once, and how many others could not be read.
    fn undoubled(&mut self, set: &ParsedSet) -> Result<(ElementList, usize), NftError> {
        let mut earlier: Option<ElementList> = None;
        for attempt in 1..=NetlinkTables::ATTEMPTS {
            let (elements, unreadable) = self.elements(set)?;
            // Ranges are not kept in tables that move.
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
        let table = self.table;
        let fill = |message: &mut MessageWriter<'_>| {
            message.bytes(&family_header(table.family));
            message.text(element_list::TABLE, &table.name).text(element_list::SET, &set.name);
        };
        let each = |elements: &mut Elements, message: &Message<'_>| elements.take(message, set.ranges);
        let elements = self.dump(wire::message::GET_ELEMENTS, fill, each)?;
        let unreadable = elements.unreadable;
        Ok((elements.finish(), unreadable))
    }

    fn dump<T: Default>(
        &mut self,
        message: u8,
        fill: impl Fn(&mut MessageWriter<'_>),
        each: impl FnMut(&mut T, &Message<'_>),
    ) -> Result<T, NftError> {
        let (read, steadiness) = self.socket.dump_once(message_kind(message), fill, each).map_err(failed)?;
        if steadiness == Steadiness::Disturbed {
            self.steadiness = steadiness;
        }
        Ok(read)
    }
}

/// Whether two readings show the same table. Handles tell objects of one name apart: what is
/// made anew, or replaced, gets another.
fn agree(a: &TableDump, b: &TableDump) -> bool {
    let chain = |chain: &DumpedChain| {
        let rules: Vec<u64> = chain.rules.iter().map(|rule| rule.handle).collect();
        (chain.handle, rules)
    };
    (&a.table, a.owner) == (&b.table, b.owner)
        && a.chains.iter().map(chain).eq(b.chains.iter().map(chain))
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
