//! Rules as libnftnl objects, with the registers that nft would choose.
//!
//! nft reads rules back by following values through registers, and aborts the
//! listing of the whole ruleset when it meets a sequence it would not have
//! written. So the order of loads, where each lands, and when a short load
//! replaces a mask are copied from what `nft --debug=netlink` shows.

use std::time::Duration;

use nftnl::nftnl_sys as sys;
use portolan_netlink::AttributeIter;

use super::object::{TIMEOUT, comment_notes};
use crate::bytes::prefix_mask;
use crate::libnftnl::{Expression, Object, Unwritable};
use crate::selector::{Source, key_len};
use crate::wire::{
    self, COMPARE_EQ, COMPARE_NE, CT_ORIGINAL, DYNSET_UPDATE, FIB_RESULT_TYPE, LOOKUP_INVERTED, META_MARK,
    NAT_DNAT, NAT_RANDOM_FULLY, NUMGEN_RANDOM, REGISTER_VERDICT, REJECT_ICMP_UNREACH, REJECT_TCP_RESET,
};
use crate::{Bytes, Expressions, Family, MatchOp, NftError, Rule, Selector, Statement, TableId, Verdict};

impl Rule {
    /// The expressions that are sent for this rule in a table of `family`.
    ///
    /// # Errors
    /// The rule cannot be written.
    pub fn expressions(&self, family: Family) -> Result<Expressions, NftError> {
        /// `NFTA_RULE_EXPRESSIONS`
        const EXPRESSIONS: u16 = 4;
        let write = || {
            let mut writer = Writer { family, rule: Object::rule()? };
            writer.statements(self)?;
            writer.rule.write()
        };
        let invalid = |reason| super::invalid(format!("rule \"{}\"", self.display(family)), reason);
        let message = write().map_err(invalid)?;
        let list = AttributeIter::new(message.payload()).find_kind(EXPRESSIONS);
        Ok(list.map(|list| Expressions::new(list.value)).unwrap_or_default())
    }
}

/// A rule; without one just its chain, to delete all there are.
pub(super) fn rule(table: &TableId, chain: &str, rule: Option<&Rule>) -> Result<Object, Unwritable> {
    let mut writer = Writer { family: table.family, rule: Object::rule()? };
    writer.rule.name(sys::NFTNL_RULE_TABLE, &table.name)?;
    writer.rule.name(sys::NFTNL_RULE_CHAIN, chain)?;
    if let Some(rule) = rule {
        writer.statements(rule)?;
        if let Some(comment) = &rule.comment {
            writer.rule.userdata(sys::NFTNL_RULE_USERDATA, &comment_notes(comment)?)?;
        }
    }
    Ok(writer.rule)
}

/// Just the chain and the handle of a rule, to delete it.
pub(super) fn rule_handle(table: &TableId, chain: &str, handle: u64) -> Result<Object, Unwritable> {
    let mut object = rule(table, chain, None)?;
    object.long(sys::NFTNL_RULE_HANDLE, handle)?;
    Ok(object)
}

/// Values must have the length of what they are compared with, keys must fit the registers, and a
/// timeout of zero would mean none.
fn check(statement: &Statement, family: Family) -> Result<(), Unwritable> {
    if let Statement::UpdateMap { timeout: Some(timeout), .. }
    | Statement::UpdateSet { timeout: Some(timeout), .. } = statement
        && wire::millis(*timeout) == 0
    {
        return Err(TIMEOUT);
    }
    let fits = |length| (1..=Bytes::CAPACITY).contains(&length);
    let (good, reason) = match statement {
        Statement::Match { selector: Selector::Iifname, value, .. } => {
            (is_interface(value, Bytes::IFNAME), "a value is no interface's name")
        }
        Statement::MatchPrefix { selector: Selector::Iifname, value, bits, .. } => (
            bits.is_multiple_of(8) && is_interface(value, usize::from(*bits) / 8),
            "a prefix is no interface's",
        ),
        Statement::Match { selector, value, .. } => {
            (value.len() == selector.len(family), "a value has not its selector's length")
        }
        Statement::MatchPrefix { selector, value, bits, .. } => (
            value.len() == selector.len(family) && usize::from(*bits) <= value.len() * 8,
            "a prefix has not its selector's length",
        ),
        Statement::MatchBits { selector, .. } => {
            (selector.len(family) == 4 && selector.is_host_endian(), "only selectors of flags have bits")
        }
        Statement::InSet { key, .. }
        | Statement::Vmap { key, .. }
        | Statement::DnatMap { key, .. }
        | Statement::DnatMapPort { key, .. }
        | Statement::UpdateSet { key, .. } => (fits(key_len(key, family)), KEY_LENGTH),
        Statement::UpdateMap { key, data, .. } => {
            let both = key_len(key, family).next_multiple_of(16) + key_len(data, family);
            (!key.is_empty() && !data.is_empty() && fits(both), "key and data must have 1 to 64 bytes")
        }
        _ => (true, ""),
    };
    if good { Ok(()) } else { Err(Unwritable(reason)) }
}

/// Whether an interface can be named like `value`, and nft write it; of a prefix `letters` count.
///
/// nft cannot write a quote between quotes, and reads a star after a backslash as a letter.
fn is_interface(value: &Bytes, letters: usize) -> bool {
    let name = value.split(|byte| *byte == 0).next().unwrap_or_default();
    let is_prefix = letters + 1 < Bytes::IFNAME;
    let shown = if is_prefix { name.get(..letters).unwrap_or_default() } else { name };
    value.len() == Bytes::IFNAME
        && name.len() < Bytes::IFNAME
        && !shown.is_empty()
        && shown.iter().all(|byte| *byte > b' ' && *byte != 0x7f && !b"\"/:".contains(byte))
        && !(is_prefix && shown.ends_with(b"\\"))
}

/// Appends the expressions of statements to a rule.
struct Writer {
    family: Family,
    rule: Object,
}

impl Writer {
    fn statements(&mut self, rule: &Rule) -> Result<(), Unwritable> {
        rule.statements.iter().try_for_each(|statement| {
            check(statement, self.family)?;
            self.statement(statement)
        })
    }

    fn statement(&mut self, statement: &Statement) -> Result<(), Unwritable> {
        match statement {
            Statement::Match { selector, op, value } => {
                self.load(*selector, FIRST)?;
                self.compare(*op, value)
            }
            Statement::MatchPrefix { selector, op, value, bits } => {
                self.prefix(*selector, *op, value, usize::from(*bits))
            }
            Statement::MatchBits { selector, mask, op } => {
                self.load(*selector, FIRST)?;
                self.bitwise(&mask.to_ne_bytes(), &[0; 4])?;
                self.compare(*op, &[0; 4])
            }
            Statement::InSet { key, op: MatchOp::Eq, set } => self.lookup(key, set, None),
            Statement::InSet { key, op: MatchOp::Ne, set } => {
                self.lookup(key, set, Some((sys::NFTNL_EXPR_LOOKUP_FLAGS, LOOKUP_INVERTED)))
            }
            Statement::Vmap { key, map } => {
                self.lookup(key, map, Some((sys::NFTNL_EXPR_LOOKUP_DREG, REGISTER_VERDICT)))
            }
            Statement::DnatMap { key, map } => {
                self.lookup(key, map, Some((sys::NFTNL_EXPR_LOOKUP_DREG, FIRST)))?;
                self.dnat(register_after(self.family.addr_len())?)
            }
            Statement::DnatMapPort { key, map, port } => {
                self.lookup(key, map, Some((sys::NFTNL_EXPR_LOOKUP_DREG, FIRST)))?;
                // nft gives the constant a register of sixteen bytes, however short the address is.
                let to = register_after(16)?;
                let constant = Expression::new(c"immediate")?.number(sys::NFTNL_EXPR_IMM_DREG, to)?;
                self.rule.add(constant.value(sys::NFTNL_EXPR_IMM_DATA, &port.to_be_bytes())?)?;
                self.dnat(to)
            }
            Statement::UpdateMap { map, key, data, timeout } => self.update(map, key, data, *timeout),
            Statement::UpdateSet { set, key, timeout } => self.update(set, key, &[], *timeout),
            Statement::MarkOr(bits) => self.mark(!bits, *bits),
            Statement::MarkXor(bits) => self.mark(u32::MAX, *bits),
            Statement::Masquerade { random_fully } => {
                let masquerade = Expression::new(c"masq")?;
                self.rule.add(match random_fully {
                    true => masquerade.number(sys::NFTNL_EXPR_MASQ_FLAGS, NAT_RANDOM_FULLY)?,
                    false => masquerade,
                })
            }
            // Port unreachable: ICMP code 3 (RFC 792), ICMPv6 code 4 (RFC 4443).
            Statement::Reject => self.reject(REJECT_ICMP_UNREACH, self.family.pick(3, 4)),
            Statement::RejectTcpReset => self.reject(REJECT_TCP_RESET, 0),
            Statement::Counter => self.rule.add(Expression::new(c"counter")?),
            Statement::Drop
            | Statement::Accept
            | Statement::Return
            | Statement::Jump(_)
            | Statement::Goto(_) => statement.verdict().map_or(Ok(()), |verdict| self.verdict(&verdict)),
        }
    }

    /// A prefix of whole bytes is a shorter load or comparison; any other needs a mask.
    fn prefix(
        &mut self,
        selector: Selector,
        op: MatchOp,
        value: &Bytes,
        bits: usize,
    ) -> Result<(), Unwritable> {
        let whole = bits / 8;
        if selector == Selector::Iifname && whole + 1 >= Bytes::IFNAME {
            self.load(selector, FIRST)?;
            return self.compare(op, value);
        }
        if bits > 0 && bits.is_multiple_of(8) && whole <= value.len() {
            let in_packet = matches!(selector, Selector::Saddr | Selector::Daddr);
            self.load_bytes(selector, if in_packet { whole } else { value.len() }, FIRST)?;
            return self.compare(op, &value[..whole]);
        }
        let mask: Vec<u8> = (0..value.len()).map(|index| prefix_mask(bits, index)).collect();
        let masked: Vec<u8> = value.iter().zip(&mask).map(|(byte, mask)| byte & mask).collect();
        self.load(selector, FIRST)?;
        self.bitwise(&mask, &vec![0; mask.len()])?;
        self.compare(op, &masked)
    }

    /// To the address in the first register.
    fn dnat(&mut self, port: u32) -> Result<(), Unwritable> {
        let nat = Expression::new(c"nat")?
            .number(sys::NFTNL_EXPR_NAT_TYPE, NAT_DNAT)?
            .number(sys::NFTNL_EXPR_NAT_FAMILY, self.family.number().into())?
            .number(sys::NFTNL_EXPR_NAT_REG_ADDR_MIN, FIRST)?
            .number(sys::NFTNL_EXPR_NAT_REG_PROTO_MIN, port)?;
        self.rule.add(nat)
    }

    /// The data, which sets have none of, starts on a register of sixteen bytes, unlike the parts of a key.
    fn update(
        &mut self,
        set: &str,
        key: &[Selector],
        data: &[Selector],
        timeout: Option<Duration>,
    ) -> Result<(), Unwritable> {
        let start = key_len(key, self.family).next_multiple_of(16);
        self.concatenation(key, 0)?;
        self.concatenation(data, start)?;
        let mut update = Expression::new(c"dynset")?
            .number(sys::NFTNL_EXPR_DYNSET_SREG_KEY, FIRST)?
            .number(sys::NFTNL_EXPR_DYNSET_OP, DYNSET_UPDATE)?
            .name(sys::NFTNL_EXPR_DYNSET_SET_NAME, set)?;
        if !data.is_empty() {
            update = update.number(sys::NFTNL_EXPR_DYNSET_SREG_DATA, register_after(start)?)?;
        }
        if let Some(timeout) = timeout {
            update = update.long(sys::NFTNL_EXPR_DYNSET_TIMEOUT, wire::millis(timeout))?;
        }
        self.rule.add(update)
    }

    /// Looks a key up, with an attribute that says what follows from that.
    fn lookup(&mut self, key: &[Selector], set: &str, result: Option<(u32, u32)>) -> Result<(), Unwritable> {
        self.concatenation(key, 0)?;
        let lookup = Expression::new(c"lookup")?
            .number(sys::NFTNL_EXPR_LOOKUP_SREG, FIRST)?
            .name(sys::NFTNL_EXPR_LOOKUP_SET, set)?;
        self.rule.add(match result {
            Some((attribute, number)) => lookup.number(attribute, number)?,
            None => lookup,
        })
    }

    /// Loads the parts of a key one after the other, `start` bytes from the first register.
    fn concatenation(&mut self, key: &[Selector], start: usize) -> Result<(), Unwritable> {
        let mut offset = start;
        for selector in key {
            self.load(*selector, register_after(offset)?)?;
            offset += selector.len(self.family).next_multiple_of(4);
        }
        Ok(())
    }

    fn load(&mut self, selector: Selector, to: u32) -> Result<(), Unwritable> {
        self.load_bytes(selector, selector.len(self.family), to)
    }

    /// `length` counts for what lies in the packet; anything else is loaded whole.
    fn load_bytes(&mut self, selector: Selector, length: usize, to: u32) -> Result<(), Unwritable> {
        let expression = match selector.source(self.family) {
            Source::Payload { base, offset, .. } => Expression::new(c"payload")?
                .number(sys::NFTNL_EXPR_PAYLOAD_BASE, base)?
                .number(sys::NFTNL_EXPR_PAYLOAD_OFFSET, offset)?
                .number(sys::NFTNL_EXPR_PAYLOAD_LEN, number(length))?
                .number(sys::NFTNL_EXPR_PAYLOAD_DREG, to)?,
            Source::Meta(key) => Expression::new(c"meta")?
                .number(sys::NFTNL_EXPR_META_KEY, key)?
                .number(sys::NFTNL_EXPR_META_DREG, to)?,
            Source::Ct { key, original } => {
                let ct = Expression::new(c"ct")?
                    .number(sys::NFTNL_EXPR_CT_KEY, key)?
                    .number(sys::NFTNL_EXPR_CT_DREG, to)?;
                if original { ct.byte(sys::NFTNL_EXPR_CT_DIR, CT_ORIGINAL)? } else { ct }
            }
            Source::FibType(address) => Expression::new(c"fib")?
                .number(sys::NFTNL_EXPR_FIB_RESULT, FIB_RESULT_TYPE)?
                .number(sys::NFTNL_EXPR_FIB_FLAGS, address)?
                .number(sys::NFTNL_EXPR_FIB_DREG, to)?,
            Source::Random { modulus } => Expression::new(c"numgen")?
                .number(sys::NFTNL_EXPR_NG_DREG, to)?
                .number(sys::NFTNL_EXPR_NG_TYPE, NUMGEN_RANDOM)?
                .number(sys::NFTNL_EXPR_NG_MODULUS, modulus)?
                .number(sys::NFTNL_EXPR_NG_OFFSET, 0)?,
        };
        self.rule.add(expression)
    }

    fn compare(&mut self, op: MatchOp, value: &[u8]) -> Result<(), Unwritable> {
        let op = match op {
            MatchOp::Eq => COMPARE_EQ,
            MatchOp::Ne => COMPARE_NE,
        };
        let compare = Expression::new(c"cmp")?
            .number(sys::NFTNL_EXPR_CMP_SREG, FIRST)?
            .number(sys::NFTNL_EXPR_CMP_OP, op)?
            .value(sys::NFTNL_EXPR_CMP_DATA, value)?;
        self.rule.add(compare)
    }

    fn bitwise(&mut self, mask: &[u8], xor: &[u8]) -> Result<(), Unwritable> {
        let bitwise = Expression::new(c"bitwise")?
            .number(sys::NFTNL_EXPR_BITWISE_SREG, FIRST)?
            .number(sys::NFTNL_EXPR_BITWISE_DREG, FIRST)?
            .number(sys::NFTNL_EXPR_BITWISE_LEN, number(mask.len()))?
            .value(sys::NFTNL_EXPR_BITWISE_MASK, mask)?
            .value(sys::NFTNL_EXPR_BITWISE_XOR, xor)?;
        self.rule.add(bitwise)
    }

    fn mark(&mut self, mask: u32, xor: u32) -> Result<(), Unwritable> {
        self.load(Selector::Mark, FIRST)?;
        self.bitwise(&mask.to_ne_bytes(), &xor.to_ne_bytes())?;
        let set = Expression::new(c"meta")?
            .number(sys::NFTNL_EXPR_META_KEY, META_MARK)?
            .number(sys::NFTNL_EXPR_META_SREG, FIRST)?;
        self.rule.add(set)
    }

    fn reject(&mut self, kind: u32, code: u8) -> Result<(), Unwritable> {
        let reject = Expression::new(c"reject")?
            .number(sys::NFTNL_EXPR_REJECT_TYPE, kind)?
            .byte(sys::NFTNL_EXPR_REJECT_CODE, code)?;
        self.rule.add(reject)
    }

    fn verdict(&mut self, verdict: &Verdict) -> Result<(), Unwritable> {
        let immediate = Expression::new(c"immediate")?
            .number(sys::NFTNL_EXPR_IMM_DREG, REGISTER_VERDICT)?
            .number(sys::NFTNL_EXPR_IMM_VERDICT, verdict.code().cast_unsigned())?;
        self.rule.add(match verdict.target() {
            Some(chain) => immediate.name(sys::NFTNL_EXPR_IMM_CHAIN, chain)?,
            None => immediate,
        })
    }
}

/// The register where every key starts: `NFT_REG_1`, linux/netfilter/nf_tables.h.
const FIRST: u32 = 1;

/// The register `bytes` after the first: `NFT_REG_1`… where sixteen bytes start, else `NFT_REG32_00`….
fn register_after(bytes: usize) -> Result<u32, Unwritable> {
    /// `NFT_REG32_COUNT`
    const COUNT: u32 = 16;
    match number(bytes.div_ceil(4)) {
        word if word >= COUNT => Err(Unwritable(KEY_LENGTH)),
        word if word.is_multiple_of(4) => Ok(1 + word / 4),
        word => Ok(8 + word),
    }
}

fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

const KEY_LENGTH: &str = "a key must have 1 to 64 bytes";
