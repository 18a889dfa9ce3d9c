//! Expressions: the kernel's instructions over registers, as they lie in netlink messages.
//!
//! A rule is written once, by libnftnl, for the kernel and for comparing it with what the kernel lists. "Is this rule
//! loaded" compares attributes, after leaving out those by which a listing may differ from what was sent: zeros,
//! upper bounds that equal the lower ones, flags that only repeat which registers are given.

use std::fmt;

use portolan_netlink::{Attribute, AttributeIter};

use crate::Verdict;
use crate::parse::element::verdict;
use crate::wire::data;

/// The expressions of a rule (`NFTA_RULE_EXPRESSIONS`).
#[derive(Clone, Default)]
pub struct Expressions(Box<[u8]>);

impl Expressions {
    /// A list as it lies in a message.
    pub(crate) fn new(list: &[u8]) -> Self {
        Self(list.into())
    }

    /// One after the other, without those that do nothing.
    pub fn iter(&self) -> impl Iterator<Item = Expr<'_>> {
        AttributeIter::new(&self.0).map(|element| Expr::new(&element)).filter(|expr| !expr.is_void())
    }
}

impl PartialEq for Expressions {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Expressions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// One expression: its name and its attributes.
#[derive(Clone)]
pub struct Expr<'a> {
    name: &'a str,
    attributes: AttributeIter<'a>,
}

/// More kinds than any expression has that Portolan writes.
const KINDS: usize = 16;
/// Where [`Expr::fields`] puts the parts of a verdict.
const CODE: usize = KINDS;
const CHAIN: usize = KINDS + 1;

impl<'a> Expr<'a> {
    fn new(element: &Attribute<'a>) -> Self {
        let fields = element.nested();
        Self {
            name: fields.find_kind(1).and_then(|name| name.as_str()).unwrap_or("?"),
            attributes: fields.find_kind(2).map_or(AttributeIter::new(&[]), |data| data.nested()),
        }
    }

    /// The kernel's name for it: `payload`, `lookup`, ….
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// An attribute that is a number of four bytes.
    pub fn number(&self, kind: u16) -> Option<u32> {
        self.attributes.find_kind(kind)?.as_be32()
    }

    /// An attribute that is a name.
    pub fn text(&self, kind: u16) -> Option<&'a str> {
        self.attributes.find_kind(kind)?.as_str()
    }

    /// The verdict, if it is one that this crate knows.
    pub fn verdict(&self) -> Option<Verdict> {
        let value = self.attributes.find_kind(2).filter(|_| self.name == "immediate")?;
        verdict(&value.nested().find_kind(data::VERDICT)?, |name| name.into())
    }

    /// nft 1.0.6 swaps the bytes of one-byte protocols in keys of interval sets, in units of two bytes, which moves
    /// nothing. `NFTA_BYTEORDER_LEN` and `_SIZE`.
    fn is_void(&self) -> bool {
        let lengths = || self.number(4).zip(self.number(5));
        self.name == "byteorder" && lengths().is_some_and(|(length, size)| length < size)
    }

    /// The values of the attributes by kind, empty where there is none, or none that makes a difference.
    fn fields(&self) -> [&'a [u8]; KINDS + 2] {
        let mut fields = [&[][..]; KINDS + 2];
        for attribute in self.attributes.clone() {
            // The last place is for all kinds that Portolan does not write.
            let kind = usize::from(attribute.kind).min(KINDS - 1);
            match (self.name, kind) {
                ("cmp", 3) | ("bitwise", 4 | 5) | ("immediate", 2) => {
                    for part in attribute.nested() {
                        if part.kind == data::VALUE {
                            fields[kind] = part.value;
                        } else {
                            [fields[CODE], fields[CHAIN]] = verdict_parts(&part);
                        }
                    }
                }
                // That the result of a lookup goes to the register zero makes it a verdict.
                ("lookup", 3) => fields[kind] = attribute.value,
                // Numbers the sets of a batch; has no meaning once the set exists.
                ("dynset", 2) => {}
                // `NF_NAT_RANGE_MAP_IPS` and `_PROTO_SPECIFIED`: which registers are given.
                ("nat", 7) if matches!(attribute.as_be32(), Some(0..=3)) => {}
                _ if attribute.value.iter().any(|byte| *byte != 0) => fields[kind] = attribute.value,
                _ => {}
            }
        }
        if self.name == "nat" {
            for (lower, upper) in [(3, 4), (5, 6)] {
                if fields[lower] == fields[upper] {
                    fields[upper] = &[];
                }
            }
        }
        fields
    }
}

fn verdict_parts<'a>(verdict: &Attribute<'a>) -> [&'a [u8]; 2] {
    let fields = verdict.nested();
    [data::VERDICT_CODE, data::VERDICT_CHAIN]
        .map(|kind| fields.find_kind(kind).map(|field| field.value).unwrap_or_default())
}

impl PartialEq for Expr<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.fields() == other.fields()
    }
}

impl fmt::Debug for Expr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        let fields = self.fields().into_iter().enumerate().filter(|(_, value)| !value.is_empty());
        { fields }.try_for_each(|(kind, value)| write!(f, " {kind}={value:x?}"))
    }
}

#[cfg(test)]
mod tests;
