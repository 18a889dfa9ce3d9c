//! Writes tables, sets, rules and values in nft's syntax.
//!
//! The layout is that of `nft list table`, one element per line and elements
//! sorted by key, so that a golden file changes only where the content does.
//! The output can be loaded with `nft -f`.

use std::fmt;

use crate::{Bytes, Element, ElementValue, Family, Set, SetData, SetTimeout, Table, TableId};

mod statement;
mod value;

use value::{concatenation, key, time};

/// Lists a table part by part, wherever its parts come from.
pub struct Listing<'a> {
    /// Which table.
    pub id: &'a TableId,
    /// Its flags and comment.
    pub table: &'a Table,
}

impl Listing<'_> {
    /// `table ip portolan {` with flags and comment.
    ///
    /// # Errors
    /// Those of the formatter, as in all of these.
    pub fn open(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
    ///
    /// # Errors
    /// See [`open`](Self::open).
    pub fn set(
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
    ///
    /// # Errors
    /// See [`open`](Self::open).
    pub fn chain(
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
    write!(f, "\t\ttypeof {}", concatenation(&set.key, family))?;
    match &set.data {
        SetData::None => {}
        SetData::Verdict => f.write_str(" : verdict")?,
        SetData::Value(data) => write!(f, " : {}", concatenation(data, family))?,
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
        writeln!(f, "\t\ttimeout {}", time(timeout))?;
    }
    write_comment(f, "\t\t", set.comment.as_deref())
}

fn write_comment(f: &mut fmt::Formatter<'_>, indent: &str, comment: Option<&str>) -> fmt::Result {
    comment.map_or(Ok(()), |comment| writeln!(f, "{indent}comment \"{comment}\""))
}

/// What a function writes.
pub(crate) fn shown(write: impl Fn(&mut fmt::Formatter<'_>) -> fmt::Result) -> impl fmt::Display {
    struct Shown<F>(F);

    impl<F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result> fmt::Display for Shown<F> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            (self.0)(f)
        }
    }

    Shown(write)
}

impl Set {
    /// How nft lists the set, without its elements and the closing bracket.
    pub fn display(&self, family: Family) -> impl fmt::Display {
        shown(move |f| {
            writeln!(f, "\t{} {} {{", self.noun(), self.name)?;
            write_shape(f, self, family)
        })
    }
}

impl Element {
    /// How nft lists the element as one of `set`.
    pub fn display(&self, set: &Set, family: Family) -> impl fmt::Display {
        shown(move |f| {
            write!(f, "{}", self.display_key(set, family))?;
            if let Some(expires) = self.expires {
                // Where the set has no timeout to count from, nft wants the element's own.
                let word = if set.timeout == SetTimeout::PerElement { "timeout" } else { "expires" };
                write!(f, " {word} {}", time(expires))?;
            }
            if let Some(comment) = &self.comment {
                write!(f, " comment \"{comment}\"")?;
            }
            match (&self.value, &set.data) {
                (ElementValue::None, _) => Ok(()),
                (ElementValue::Verdict(verdict), _) => write!(f, " : {verdict}"),
                (ElementValue::Data(data), SetData::Value(selectors)) => {
                    write!(f, " : {}", key(data, None, selectors, family))
                }
                (ElementValue::Data(data), _) => write!(f, " : {data:x}"),
            }
        })
    }

    /// Its key, or range of keys.
    pub(crate) fn display_key(&self, set: &Set, family: Family) -> impl fmt::Display {
        key(&self.key, self.key_end.as_deref().map(Bytes::as_slice), &set.key, family)
    }
}
