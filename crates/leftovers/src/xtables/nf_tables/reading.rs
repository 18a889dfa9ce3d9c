//! Reads chains, and of the rules where they lead.

use std::collections::HashMap;

use portolan_netlink::{Attribute, AttributeIter, Consistency, Message, MessageWriter};

use super::super::chains::{TABLES, Wanted};
use super::super::plan::{Call, Chain, ChainKind, PREFIX, Table};
use super::{ATTEMPTS, LeftoverError, NfTables, is_absent, nft_family, wire};

/// A rule that leads to another chain, and the chain it is in.
type Found = (String, Call<u64>);

impl NfTables {
    /// The tables that have wanted chains, as of one moment.
    ///
    /// A dump of many pieces is marked as disturbed by any change to any table, and on a node where somebody
    /// writes all the time every one would be. Two in a row that agree will do.
    pub(super) fn read(&mut self, wanted: Wanted<'_>) -> Result<Vec<Table<u64>>, LeftoverError> {
        let mut previous = None;
        for _ in 0..ATTEMPTS {
            let (tables, consistency) = self.read_once(wanted)?;
            if consistency == Consistency::Consistent || previous.as_ref() == Some(&tables) {
                return Ok(tables);
            }
            previous = Some(tables);
        }
        Err(LeftoverError::Unsteady { what: format!("the iptables-nft tables of {}", self.family) })
    }

    fn read_once(&mut self, wanted: Wanted<'_>) -> Result<(Vec<Table<u64>>, Consistency), LeftoverError> {
        let (mut tables, mut consistency) = self.chains()?;
        tables.retain(|table| table.chains.iter().any(|chain| wanted.holds(&table.name, &chain.name)));
        for table in &mut tables {
            let (rules, steady) = self.rules(&table.name)?;
            if steady == Consistency::Interrupted {
                consistency = steady;
            }
            attach(table, rules);
        }
        Ok((tables, consistency))
    }

    fn chains(&mut self) -> Result<(Vec<Table<u64>>, Consistency), LeftoverError> {
        let header = wire::header(self.family);
        let all = |request: &mut MessageWriter<'_>| _ = request.bytes(&header);
        let take = |tables: &mut Vec<Table<u64>>, message: &Message<'_>| {
            let Some((table, chain)) = chain(message) else { return };
            match tables.iter_mut().find(|known| known.name == table) {
                Some(known) => known.chains.push(chain),
                None => tables.push(Table { name: table, chains: vec![chain] }),
            }
        };
        match self.socket.dump_once(wire::GET_CHAIN, all, take) {
            Err(error) if is_absent(error.errno()) => Ok((Vec::new(), Consistency::Consistent)),
            Err(source) => {
                let what = format!("the chains of {} tables", nft_family(self.family));
                Err(LeftoverError::Read { what, source })
            }
            Ok((mut tables, consistency)) => {
                tables.sort_by_key(|table| TABLES.iter().position(|name| *name == table.name));
                Ok((tables, consistency))
            }
        }
    }

    fn rules(&mut self, table: &str) -> Result<(Vec<Found>, Consistency), LeftoverError> {
        let header = wire::header(self.family);
        let of_table = |request: &mut MessageWriter<'_>| {
            request.bytes(&header).text(wire::rule::TABLE, table);
        };
        let take = |rules: &mut Vec<Found>, message: &Message<'_>| rules.extend(rule(message, table));
        self.socket.dump_once(wire::GET_RULE, of_table, take).map_err(|source| {
            let what = format!("the rules of table {} {table}", nft_family(self.family));
            LeftoverError::Read { what, source }
        })
    }
}

/// Puts rules into their chains; those of a chain that came since the chains were read have none.
fn attach(table: &mut Table<u64>, rules: Vec<Found>) {
    let places = table.chains.iter().enumerate().map(|(index, chain)| (chain.name.clone(), index));
    let places: HashMap<String, usize> = places.collect();
    for (chain, call) in rules {
        if let Some(index) = places.get(&chain) {
            table.chains[*index].calls.push(call);
        }
    }
}

/// A chain with its table's name, if it is one of a table that kube-proxy uses.
pub(super) fn chain(message: &Message<'_>) -> Option<(String, Chain<u64>)> {
    let attributes = message.attributes(wire::HEADER_LEN);
    let table = text(&attributes, wire::chain::TABLE).filter(|table| TABLES.contains(table))?;
    let hook = attributes.find_kind(wire::chain::HOOK);
    let chain = Chain {
        name: text(&attributes, wire::chain::NAME)?.to_owned(),
        kind: if hook.is_some() { ChainKind::BuiltIn } else { ChainKind::User },
        calls: Vec::new(),
    };
    Some((table.to_owned(), chain))
}

/// A rule of this table, if it leads to a chain that can be kube-proxy's.
pub(super) fn rule(message: &Message<'_>, table: &str) -> Option<Found> {
    let attributes = message.attributes(wire::HEADER_LEN);
    // Kernels before 4.7 do not filter by table.
    text(&attributes, wire::rule::TABLE).filter(|name| *name == table)?;
    let expressions = attributes.find_kind(wire::rule::EXPRESSIONS)?;
    let to = expressions.nested().find_map(|expression| target(&expression))?;
    let handle = attributes.find_kind(wire::rule::HANDLE)?.as_be64()?;
    let call = Call { rule: handle, to: to.starts_with(PREFIX).then(|| to.to_owned())? };
    Some((text(&attributes, wire::rule::CHAIN)?.to_owned(), call))
}

/// The chain that an expression leads to.
fn target<'a>(expression: &Attribute<'a>) -> Option<&'a str> {
    let attributes = expression.nested();
    text(&attributes, wire::expression::NAME).filter(|name| *name == wire::expression::IMMEDIATE)?;
    let data = attributes.find_kind(wire::expression::DATA)?.nested();
    let verdict = data.find_kind(wire::IMMEDIATE_DATA)?.nested().find_kind(wire::DATA_VERDICT)?;
    text(&verdict.nested(), wire::VERDICT_CHAIN)
}

fn text<'a>(attributes: &AttributeIter<'a>, kind: u16) -> Option<&'a str> {
    attributes.find_kind(kind)?.as_str()
}

#[cfg(test)]
mod tests;
