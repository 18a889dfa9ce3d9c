//! Writes tables, sets, rules and values in nft's syntax.
//!
//! The layout is that of `nft list table`, one element per line and elements
//! sorted by key, so that a golden file changes only where the content does.
//! What comes out can be loaded with `nft -f`.

use std::fmt;

use crate::{Element, ElementValue, Family, Set, SetData, SetTimeout, Table, TableDump, TableId};

mod statement;
mod value;

pub(crate) use value::Key;

/// The parts of a table that a listing shows, from whichever side they come.
pub(crate) struct Listing<'a> {
    pub(crate) id: &'a TableId,
    pub(crate) table: &'a Table,
}

impl Listing<'_> {
    /// `table ip portolan {` with flags and comment.
    pub(crate) fn open(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "table {} {{", self.id)?;
        let flags = self.table.flags;
        match (flags.owner, flags.persist) {
            (true, true) => writeln!(f, "\tflags owner,persist")?,
            (true, false) => writeln!(f, "\tflags owner")?,
            (false, true) => writeln!(f, "\tflags persist")?,
            (false, false) => {}
        }
        write_comment(f, "\t", self.table.comment.as_deref())
    }

    /// A set or map with its elements, sorted.
    pub(crate) fn set(
        &self,
        f: &mut fmt::Formatter<'_>,
        set: &Set,
        elements: impl Iterator<Item = Element>,
    ) -> fmt::Result {
        let family = self.id.family;
        write!(f, "{}", set.display(family))?;
        let mut elements: Vec<Element> = elements.collect();
        elements.sort_by(|a, b| (&a.key, &a.key_end).cmp(&(&b.key, &b.key_end)));
        for (index, element) in elements.iter().enumerate() {
            let before = if index == 0 { "\t\telements = { " } else { ",\n\t\t\t     " };
            write!(f, "{before}{}", element.display(set, family))?;
        }
        f.write_str(if elements.is_empty() { "" } else { " }\n" })?;
        f.write_str("\t}\n\n")
    }

    /// A chain with its rules, already written.
    pub(crate) fn chain(
        f: &mut fmt::Formatter<'_>,
        chain: &crate::Chain,
        rules: impl Iterator<Item = impl fmt::Display>,
    ) -> fmt::Result {
        writeln!(f, "\tchain {} {{", chain.name)?;
        if let Some(base) = &chain.base {
            writeln!(f, "\t\t{base}")?;
        }
        for rule in rules {
            writeln!(f, "\t\t{rule}")?;
        }
        f.write_str("\t}\n\n")
    }
}

fn write_shape(f: &mut fmt::Formatter<'_>, set: &Set, family: Family) -> fmt::Result {
    write!(f, "\t\ttypeof {}", value::Concatenation { selectors: &set.key, family })?;
    match &set.data {
        SetData::None => {}
        SetData::Verdict => f.write_str(" : verdict")?,
        SetData::Value(data) => write!(f, " : {}", value::Concatenation { selectors: data, family })?,
    }
    f.write_str("\n")?;
    if let Some(size) = set.size {
        writeln!(f, "\t\tsize {size}")?;
    }
    let flags =
        [("interval", set.interval), ("dynamic", set.dynamic), ("timeout", set.timeout != SetTimeout::None)];
    let flags: Vec<&str> = flags.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
    if !flags.is_empty() {
        writeln!(f, "\t\tflags {}", flags.join(","))?;
    }
    if let SetTimeout::Default(timeout) = set.timeout {
        writeln!(f, "\t\ttimeout {}", value::Time(timeout))?;
    }
    write_comment(f, "\t\t", set.comment.as_deref())
}

fn write_comment(f: &mut fmt::Formatter<'_>, indent: &str, comment: Option<&str>) -> fmt::Result {
    comment.map_or(Ok(()), |comment| writeln!(f, "{indent}comment \"{comment}\""))
}

impl Set {
    /// How nft lists the set, without its elements and without the bracket that closes it.
    pub fn display(&self, family: Family) -> impl fmt::Display {
        SetDisplay { set: self, family }
    }
}

struct SetDisplay<'a> {
    set: &'a Set,
    family: Family,
}

impl fmt::Display for SetDisplay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\t{} {} {{", self.set.noun(), self.set.name)?;
        write_shape(f, self.set, self.family)
    }
}

impl Element {
    /// The element in nft's words, read as one of `set`.
    pub fn display<'a>(&'a self, set: &'a Set, family: Family) -> impl fmt::Display + 'a {
        ElementDisplay { element: self, set, family }
    }
}

struct ElementDisplay<'a> {
    element: &'a Element,
    set: &'a Set,
    family: Family,
}

impl fmt::Display for ElementDisplay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { element, set, family } = *self;
        let key = Key {
            first: &element.key,
            last: element.key_end.as_ref().map(|end| end.as_slice()),
            selectors: &set.key,
            family,
        };
        write!(f, "{key}")?;
        if let Some(expires) = element.expires {
            // Where the set has no time-out to count from, nft wants the element's own.
            let word = if set.timeout == SetTimeout::PerElement { "timeout" } else { "expires" };
            write!(f, " {word} {}", value::Time(expires))?;
        }
        if let Some(comment) = &element.comment {
            write!(f, " comment \"{comment}\"")?;
        }
        match (&element.value, &set.data) {
            (ElementValue::None, _) => Ok(()),
            (ElementValue::Verdict(verdict), _) => write!(f, " : {verdict}"),
            (ElementValue::Data(data), SetData::Value(selectors)) => {
                write!(f, " : {}", Key { first: data, last: None, selectors, family })
            }
            (ElementValue::Data(data), _) => write!(f, " : {data:x}"),
        }
    }
}

/// In nft's syntax as far as sets, chains and hooks go; rules as kernel expressions.
impl fmt::Display for TableDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listing = Listing { id: &self.id, table: &self.table };
        listing.open(f)?;
        for set in &self.sets {
            match &set.set {
                Some(shape) => listing.set(f, shape, set.elements.iter())?,
                None => writeln!(f, "\t# set {}: {} elements, no typeof\n", set.name, set.elements.len())?,
            }
        }
        for chain in &self.chains {
            Listing::chain(f, &chain.chain, chain.rules.iter())?;
        }
        f.write_str("}\n")
    }
}

impl fmt::Display for crate::DumpedRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, expression) in self.expressions.iter().enumerate() {
            write!(f, "{}{expression}", if index == 0 { "" } else { " " })?;
        }
        self.comment.as_ref().map_or(Ok(()), |comment| write!(f, " comment \"{comment}\""))
    }
}
