//! Expressions as libnftnl objects.

use nftnl::nftnl_sys as sys;

use crate::expr::Expr;
use crate::libnftnl::{Expression, Unwritable};
use crate::wire::{
    self, COMPARE_EQ, COMPARE_NE, CT_ORIGINAL, DYNSET_UPDATE, FIB_RESULT_TYPE, LOOKUP_INVERTED, NAT_DNAT,
    NUMGEN_RANDOM, REGISTER_VERDICT,
};
use crate::{LookupResult, MatchOp, Register, Verdict};

pub(super) fn write(expr: &Expr) -> Result<Expression, Unwritable> {
    match expr {
        Expr::Meta { key, to } => Expression::new(c"meta")?
            .number(sys::NFTNL_EXPR_META_KEY, *key as u32)?
            .number(sys::NFTNL_EXPR_META_DREG, to.number()),
        Expr::SetMeta { key, from } => Expression::new(c"meta")?
            .number(sys::NFTNL_EXPR_META_KEY, *key as u32)?
            .number(sys::NFTNL_EXPR_META_SREG, from.number()),
        Expr::Payload { base, offset, len, to } => Expression::new(c"payload")?
            .number(sys::NFTNL_EXPR_PAYLOAD_BASE, *base as u32)?
            .number(sys::NFTNL_EXPR_PAYLOAD_OFFSET, *offset)?
            .number(sys::NFTNL_EXPR_PAYLOAD_LEN, *len)?
            .number(sys::NFTNL_EXPR_PAYLOAD_DREG, to.number()),
        Expr::Ct { key, to } => {
            let ct = Expression::new(c"ct")?
                .number(sys::NFTNL_EXPR_CT_KEY, *key as u32)?
                .number(sys::NFTNL_EXPR_CT_DREG, to.number())?;
            if key.has_direction() { ct.byte(sys::NFTNL_EXPR_CT_DIR, CT_ORIGINAL) } else { Ok(ct) }
        }
        Expr::FibType { address, to } => Expression::new(c"fib")?
            .number(sys::NFTNL_EXPR_FIB_RESULT, FIB_RESULT_TYPE)?
            .number(sys::NFTNL_EXPR_FIB_FLAGS, *address as u32)?
            .number(sys::NFTNL_EXPR_FIB_DREG, to.number()),
        Expr::NumgenRandom { modulus, to } => Expression::new(c"numgen")?
            .number(sys::NFTNL_EXPR_NG_DREG, to.number())?
            .number(sys::NFTNL_EXPR_NG_TYPE, NUMGEN_RANDOM)?
            .number(sys::NFTNL_EXPR_NG_MODULUS, *modulus)?
            .number(sys::NFTNL_EXPR_NG_OFFSET, 0),
        _ => write_step(expr),
    }
}

/// What works from registers.
fn write_step(expr: &Expr) -> Result<Expression, Unwritable> {
    match expr {
        Expr::Cmp { from, op, value } => Expression::new(c"cmp")?
            .number(sys::NFTNL_EXPR_CMP_SREG, from.number())?
            .number(sys::NFTNL_EXPR_CMP_OP, compare_op(*op))?
            .value(sys::NFTNL_EXPR_CMP_DATA, value),
        Expr::Bitwise { from, to, mask, xor } => Expression::new(c"bitwise")?
            .number(sys::NFTNL_EXPR_BITWISE_SREG, from.number())?
            .number(sys::NFTNL_EXPR_BITWISE_DREG, to.number())?
            .number(sys::NFTNL_EXPR_BITWISE_LEN, u32::try_from(mask.len()).unwrap_or_default())?
            .value(sys::NFTNL_EXPR_BITWISE_MASK, mask)?
            .value(sys::NFTNL_EXPR_BITWISE_XOR, xor),
        Expr::Lookup { from, set, result } => lookup(*from, set, *result),
        Expr::Immediate { to, value } => Expression::new(c"immediate")?
            .number(sys::NFTNL_EXPR_IMM_DREG, to.number())?
            .value(sys::NFTNL_EXPR_IMM_DATA, value),
        Expr::Update { key, data, set, timeout } => {
            let update = Expression::new(c"dynset")?
                .number(sys::NFTNL_EXPR_DYNSET_SREG_KEY, key.number())?
                .number(sys::NFTNL_EXPR_DYNSET_OP, DYNSET_UPDATE)?
                .name(sys::NFTNL_EXPR_DYNSET_SET_NAME, set)?;
            let update = with_register(update, sys::NFTNL_EXPR_DYNSET_SREG_DATA, *data)?;
            match timeout {
                Some(timeout) => update.long(sys::NFTNL_EXPR_DYNSET_TIMEOUT, wire::millis(*timeout)),
                None => Ok(update),
            }
        }
        _ => write_action(expr),
    }
}

/// Actions on the packet.
fn write_action(expr: &Expr) -> Result<Expression, Unwritable> {
    match expr {
        Expr::Verdict(verdict) => immediate(verdict),
        Expr::Dnat { family, address, port, flags } => {
            let nat = Expression::new(c"nat")?
                .number(sys::NFTNL_EXPR_NAT_TYPE, NAT_DNAT)?
                .number(sys::NFTNL_EXPR_NAT_FAMILY, family.number().into())?;
            let nat = with_register(nat, sys::NFTNL_EXPR_NAT_REG_ADDR_MIN, *address)?;
            let nat = with_register(nat, sys::NFTNL_EXPR_NAT_REG_PROTO_MIN, *port)?;
            with_flags(nat, sys::NFTNL_EXPR_NAT_FLAGS, *flags)
        }
        Expr::Masquerade { flags } => {
            with_flags(Expression::new(c"masq")?, sys::NFTNL_EXPR_MASQ_FLAGS, *flags)
        }
        Expr::Reject { kind, code } => Expression::new(c"reject")?
            .number(sys::NFTNL_EXPR_REJECT_TYPE, *kind)?
            .byte(sys::NFTNL_EXPR_REJECT_CODE, *code),
        Expr::Counter => Expression::new(c"counter"),
        _ => Err(Unwritable("it has an expression that can only be read")),
    }
}

fn lookup(from: Register, set: &str, result: LookupResult) -> Result<Expression, Unwritable> {
    let lookup = Expression::new(c"lookup")?
        .number(sys::NFTNL_EXPR_LOOKUP_SREG, from.number())?
        .name(sys::NFTNL_EXPR_LOOKUP_SET, set)?;
    match result {
        LookupResult::None => Ok(lookup),
        LookupResult::Inverted => lookup.number(sys::NFTNL_EXPR_LOOKUP_FLAGS, LOOKUP_INVERTED),
        LookupResult::Verdict => lookup.number(sys::NFTNL_EXPR_LOOKUP_DREG, REGISTER_VERDICT),
        LookupResult::Register(to) => lookup.number(sys::NFTNL_EXPR_LOOKUP_DREG, to.number()),
    }
}

fn immediate(verdict: &Verdict) -> Result<Expression, Unwritable> {
    let immediate = Expression::new(c"immediate")?
        .number(sys::NFTNL_EXPR_IMM_DREG, REGISTER_VERDICT)?
        .number(sys::NFTNL_EXPR_IMM_VERDICT, verdict.code().cast_unsigned())?;
    match verdict.target() {
        Some(chain) => immediate.name(sys::NFTNL_EXPR_IMM_CHAIN, chain),
        None => Ok(immediate),
    }
}

fn with_register(
    expression: Expression,
    attribute: u32,
    register: Option<Register>,
) -> Result<Expression, Unwritable> {
    match register {
        Some(register) => expression.number(attribute, register.number()),
        None => Ok(expression),
    }
}

fn with_flags(expression: Expression, attribute: u32, flags: u32) -> Result<Expression, Unwritable> {
    if flags == 0 { Ok(expression) } else { expression.number(attribute, flags) }
}

const fn compare_op(op: MatchOp) -> u32 {
    match op {
        MatchOp::Eq => COMPARE_EQ,
        MatchOp::Ne => COMPARE_NE,
    }
}
