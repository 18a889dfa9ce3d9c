//! Expressions as the kernel lists them.
//!
//! Each parser takes the attributes it understands; if any other is left that is
//! not zero, the expression means more than this crate knows and is
//! [`Expr::Unknown`].

use std::sync::Arc;
use std::time::Duration;

use portolan_netlink::{Attribute, AttributeIter};

use crate::expr::NAT_IMPLIED_FLAGS;
use crate::wire::{
    COMPARE_EQ, COMPARE_NE, CT_ORIGINAL, DYNSET_UPDATE, FIB_RESULT_TYPE, LOOKUP_INVERTED, NAT_DNAT,
    NUMGEN_RANDOM, REGISTER_VERDICT, data,
};
use crate::{Bytes, CtKey, Expr, Family, FibAddress, LookupResult, MatchOp, MetaKey, PayloadBase, Register};

/// A rule's expressions.
pub(super) fn list(expressions: AttributeIter<'_>) -> Vec<Expr> {
    expressions.filter_map(|element| one(&element)).collect()
}

/// One expression: name and attributes. Nothing for one that does nothing.
fn one(element: &Attribute<'_>) -> Option<Expr> {
    let attributes = element.nested();
    let name = attributes.find_kind(1).and_then(|a| a.as_str()).unwrap_or("?");
    let mut fields = Fields::new(attributes.find_kind(2).map_or(AttributeIter::new(&[]), |a| a.nested()));
    if name == "byteorder" && is_void_byteorder(&mut fields) {
        return None;
    }
    let known =
        load(name, &mut fields).or_else(|| step(name, &mut fields)).or_else(|| act(name, &mut fields));
    Some(known.filter(|_| fields.are_used_up()).unwrap_or_else(|| Expr::unknown(name)))
}

/// nft 1.0.6 swaps the bytes of one-byte protocols in keys of interval sets, in units of two
/// bytes, which moves nothing. `NFTA_BYTEORDER_LEN` and `_SIZE`.
fn is_void_byteorder(fields: &mut Fields<'_>) -> bool {
    let (length, size) = (fields.number(4), fields.number(5));
    length.zip(size).is_some_and(|(length, size)| length < size)
}

/// Expressions that load something.
fn load(name: &str, fields: &mut Fields<'_>) -> Option<Expr> {
    match name {
        "meta" if fields.has(3) => {
            Some(Expr::SetMeta { key: fields.meta_key(2)?, from: fields.register(3)? })
        }
        "meta" => Some(Expr::Meta { key: fields.meta_key(2)?, to: fields.register(1)? }),
        "payload" => Some(Expr::Payload {
            base: match fields.number(2)? {
                1 => PayloadBase::Network,
                2 => PayloadBase::Transport,
                _ => return None,
            },
            offset: fields.number(3)?,
            len: fields.number(4)?,
            to: fields.register(1)?,
        }),
        "ct" => {
            let key = ct_key(fields.number(2)?)?;
            let direction = fields.byte(3);
            let original = !key.has_direction() || direction == Some(CT_ORIGINAL);
            original.then_some(Expr::Ct { key, to: fields.register(1)? })
        }
        "fib" => {
            let is_type = fields.number(2)? == FIB_RESULT_TYPE;
            let address = match fields.number(3)? {
                1 => FibAddress::Saddr,
                2 => FibAddress::Daddr,
                _ => return None,
            };
            is_type.then_some(Expr::FibType { address, to: fields.register(1)? })
        }
        "numgen" => {
            let is_random = fields.number(3)? == NUMGEN_RANDOM;
            let expr = Expr::NumgenRandom { modulus: fields.number(2)?, to: fields.register(1)? };
            is_random.then_some(expr)
        }
        _ => None,
    }
}

/// Expressions that work from registers.
fn step(name: &str, fields: &mut Fields<'_>) -> Option<Expr> {
    match name {
        "cmp" => {
            let op = match fields.number(2)? {
                COMPARE_EQ => MatchOp::Eq,
                COMPARE_NE => MatchOp::Ne,
                _ => return None,
            };
            Some(Expr::Cmp { from: fields.register(1)?, op, value: fields.value(3)? })
        }
        "bitwise" => {
            let (mask, xor) = (fields.value(4)?, fields.value(5)?);
            let whole = usize::try_from(fields.number(3)?).ok()? == mask.len();
            let (from, to) = (fields.register(1)?, fields.register(2)?);
            whole.then_some(Expr::Bitwise { from, to, mask, xor })
        }
        "lookup" => {
            let (set, from) = (fields.text(1)?, fields.register(2)?);
            let result = match (fields.number(3), fields.number(5).unwrap_or(0)) {
                (None, 0) => LookupResult::None,
                (None, LOOKUP_INVERTED) => LookupResult::Inverted,
                (Some(REGISTER_VERDICT), 0) => LookupResult::Verdict,
                (Some(to), 0) => LookupResult::Register(Register::from_number(to)?),
                _ => return None,
            };
            Some(Expr::Lookup { from, set, result })
        }
        "dynset" => {
            let is_update = fields.number(3)? == DYNSET_UPDATE;
            // Numbers the sets of a batch; has no meaning once the set exists.
            fields.number(2);
            let data = if fields.has(5) { Some(fields.register(5)?) } else { None };
            let timeout = fields.take(6).and_then(|a| a.as_be64()).filter(|millis| *millis != 0);
            let timeout = timeout.map(Duration::from_millis);
            let expr = Expr::Update { key: fields.register(4)?, data, set: fields.text(1)?, timeout };
            is_update.then_some(expr)
        }
        "immediate" => immediate(fields),
        _ => None,
    }
}

/// Actions on the packet.
fn act(name: &str, fields: &mut Fields<'_>) -> Option<Expr> {
    match name {
        "nat" => {
            let is_dnat = fields.number(1)? == NAT_DNAT;
            let family = Family::from_number(u8::try_from(fields.number(2)?).ok()?)?;
            let (address, port) = (fields.lower_bound(3, 4), fields.lower_bound(5, 6));
            let flags = fields.number(7).unwrap_or(0) & !NAT_IMPLIED_FLAGS;
            is_dnat.then_some(Expr::Dnat { family, address, port, flags })
        }
        "masq" => Some(Expr::Masquerade { flags: fields.number(1).unwrap_or(0) }),
        "reject" => Some(Expr::Reject { kind: fields.number(1)?, code: fields.byte(2).unwrap_or(0) }),
        "counter" => {
            // How much was counted does not make it another rule.
            fields.take(1);
            fields.take(2);
            Some(Expr::Counter)
        }
        _ => None,
    }
}

fn immediate(fields: &mut Fields<'_>) -> Option<Expr> {
    let to = fields.number(1)?;
    if to != REGISTER_VERDICT {
        return Some(Expr::Immediate { to: Register::from_number(to)?, value: fields.value(2)? });
    }
    let verdict = fields.take(2)?.nested().find_kind(data::VERDICT)?;
    super::element::verdict(&verdict, |name| name.into()).map(Expr::Verdict)
}

fn ct_key(number: u32) -> Option<CtKey> {
    let known = [
        CtKey::State,
        CtKey::Status,
        CtKey::ProtoDst,
        CtKey::SrcIp,
        CtKey::DstIp,
        CtKey::SrcIp6,
        CtKey::DstIp6,
    ];
    known.into_iter().find(|key| *key as u32 == number)
}

/// The attributes of an expression by kind, each to be taken once.
struct Fields<'a>([Option<Attribute<'a>>; KINDS]);

/// More kinds than any expression has.
const KINDS: usize = 16;

impl<'a> Fields<'a> {
    fn new(attributes: AttributeIter<'a>) -> Self {
        let mut fields = Self([None; KINDS]);
        for attribute in attributes {
            // Kinds beyond the array go to the last place, which no parser reads.
            let place = usize::from(attribute.kind).min(KINDS - 1);
            fields.0[place] = Some(attribute);
        }
        fields
    }

    fn take(&mut self, kind: usize) -> Option<Attribute<'a>> {
        self.0.get_mut(kind)?.take()
    }

    fn has(&self, kind: usize) -> bool {
        self.0.get(kind).is_some_and(Option::is_some)
    }

    fn number(&mut self, kind: usize) -> Option<u32> {
        self.take(kind)?.as_be32()
    }

    fn byte(&mut self, kind: usize) -> Option<u8> {
        self.take(kind)?.as_u8()
    }

    fn text(&mut self, kind: usize) -> Option<Arc<str>> {
        self.take(kind)?.as_str().map(Arc::from)
    }

    fn register(&mut self, kind: usize) -> Option<Register> {
        Register::from_number(self.number(kind)?)
    }

    fn value(&mut self, kind: usize) -> Option<Bytes> {
        Bytes::from_slice(self.take(kind)?.nested().find_kind(data::VALUE)?.value)
    }

    fn meta_key(&mut self, kind: usize) -> Option<MetaKey> {
        let number = self.number(kind)?;
        [MetaKey::Mark, MetaKey::Iifname, MetaKey::L4Proto].into_iter().find(|key| *key as u32 == number)
    }

    /// A lower bound. An equal upper bound is taken with it, any other is left.
    fn lower_bound(&mut self, lower: usize, upper: usize) -> Option<Register> {
        let low = self.register(lower)?;
        if self.0[upper].is_some_and(|high| high.as_be32() == Some(low.number())) {
            self.take(upper);
        }
        Some(low)
    }

    /// Whether nothing is left but zeros.
    fn are_used_up(&self) -> bool {
        self.0.iter().flatten().all(|attribute| attribute.value.iter().all(|byte| *byte == 0))
    }
}
