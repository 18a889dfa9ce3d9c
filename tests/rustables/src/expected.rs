//! What rustables should show of a statement.

use portolan_nft::{Family, MatchOp, Selector, Statement, Verdict};
use rustables::ProtocolFamily;
use rustables::expr::{
    Bitwise, Cmp, CmpOp, Conntrack, ConntrackKey, ExpressionVariant, IcmpCode, Immediate, Lookup, Masquerade,
    Meta, MetaType, Nat, NatType, Payload, Register, Reject, RejectType, VerdictKind,
};

/// An expression, as far as rustables understands it.
#[derive(Debug, Clone)]
pub(crate) enum Expected {
    Exactly(ExpressionVariant),
    /// One whose content rustables keeps to itself: `fib`, `numgen`, `dynset`.
    Raw,
}

impl PartialEq<ExpressionVariant> for Expected {
    fn eq(&self, shown: &ExpressionVariant) -> bool {
        match self {
            Self::Exactly(expected) => expected == shown,
            Self::Raw => matches!(shown, ExpressionVariant::ExpressionRaw(_)),
        }
    }
}

fn exactly(expression: impl Into<ExpressionVariant>) -> Expected {
    Expected::Exactly(expression.into())
}

/// The expressions of a statement; nothing for one with a part that rustables has no type for.
pub(crate) fn expected(statement: &Statement, family: Family) -> Option<Vec<Expected>> {
    let keyed = |key: &[Selector], rest: Vec<Expected>| Some([load_all(key, family)?, rest].concat());
    let lookup = |set: &str| Lookup::default().with_set(set).with_sreg(Register::Reg1);
    let dnat = Nat {
        nat_type: Some(NatType::DNat),
        family: Some(match family {
            Family::Ip => ProtocolFamily::Ipv4,
            Family::Ip6 => ProtocolFamily::Ipv6,
        }),
        ip_register: Some(Register::Reg1),
        port_register: Some(Register::Reg2),
    };
    match statement {
        Statement::Match { selector, op, value } => {
            keyed(&[*selector], vec![exactly(Cmp::new(compare(*op), value.as_slice()))])
        }
        Statement::MatchPrefix { selector, op, value, bits } => {
            let bytes = usize::from(*bits / 8);
            let loaded = match selector {
                Selector::Saddr | Selector::Daddr => {
                    vec![exactly(address(*selector, family).with_len(u32::from(*bits) / 8))]
                }
                other => load_all(&[*other], family)?,
            };
            assert!(bits.is_multiple_of(8), "{statement:?}");
            Some([loaded, vec![exactly(Cmp::new(compare(*op), &value[..bytes]))]].concat())
        }
        Statement::MatchBits { selector, mask, op } => {
            let bitwise = Bitwise::new(mask.to_ne_bytes(), [0; 4]).unwrap();
            keyed(&[*selector], vec![exactly(bitwise), exactly(Cmp::new(compare(*op), [0; 4]))])
        }
        Statement::InSet { key, set, .. } => keyed(key, vec![exactly(lookup(set))]),
        Statement::Vmap { key, map } => keyed(key, vec![exactly(lookup(map).with_dreg(Register::Verdict))]),
        Statement::DnatMap { key, map } => {
            // The port follows the address, in IPv4 in a register of four bytes.
            let rest = vec![exactly(lookup(map).with_dreg(Register::Reg1)), exactly(dnat)];
            if family == Family::Ip { None } else { keyed(key, rest) }
        }
        Statement::DnatMapPort { key, map, port } => {
            let port = Immediate::new_data(port.to_be_bytes().to_vec(), Register::Reg2);
            keyed(key, vec![exactly(lookup(map).with_dreg(Register::Reg1)), exactly(port), exactly(dnat)])
        }
        Statement::UpdateMap { key, data, .. } => {
            keyed(key, [load_all(data, family)?, vec![Expected::Raw]].concat())
        }
        Statement::MarkOr(bits) => Some(mark(!bits, *bits)),
        Statement::MarkXor(bits) => Some(mark(u32::MAX, *bits)),
        Statement::Masquerade { .. } => Some(vec![exactly(Masquerade {})]),
        Statement::Reject => {
            // rustables calls codes by their meaning for `icmpx`; of ICMP, three is an unreachable port.
            let reject = Reject::default()
                .with_type(RejectType::IcmpUnreach)
                .with_icmp_code(IcmpCode::AdminProhibited);
            (family == Family::Ip).then(|| vec![exactly(reject)])
        }
        Statement::RejectTcpReset => Some(vec![exactly(Reject::default().with_type(RejectType::TcpRst))]),
        other => {
            let chain = |chain: &str| chain.to_owned();
            let kind = match other.verdict().unwrap_or_else(|| panic!("{other:?}")) {
                Verdict::Accept => VerdictKind::Accept,
                Verdict::Drop => VerdictKind::Drop,
                Verdict::Return => VerdictKind::Return,
                Verdict::Jump(to) => VerdictKind::Jump { chain: chain(&to) },
                Verdict::Goto(to) => VerdictKind::Goto { chain: chain(&to) },
            };
            Some(vec![exactly(Immediate::new_verdict(kind))])
        }
    }
}

fn compare(op: MatchOp) -> CmpOp {
    match op {
        MatchOp::Eq => CmpOp::Eq,
        MatchOp::Ne => CmpOp::Neq,
    }
}

fn mark(mask: u32, xor: u32) -> Vec<Expected> {
    vec![
        exactly(Meta::new(MetaType::Mark)),
        exactly(Bitwise::new(mask.to_ne_bytes(), xor.to_ne_bytes()).unwrap()),
        exactly(Meta::default().with_key(MetaType::Mark).with_sreg(Register::Reg1)),
    ]
}

/// Loads the parts of a key; nothing if one needs a register of four bytes.
fn load_all(key: &[Selector], family: Family) -> Option<Vec<Expected>> {
    let mut offset = 0;
    let mut loads = Vec::new();
    for selector in key {
        let registers = [Register::Reg1, Register::Reg2, Register::Reg3, Register::Reg4];
        let to = (offset % 16 == 0).then(|| registers[offset / 16]);
        loads.push(load(*selector, family, to)?);
        offset += selector.len(family).next_multiple_of(4);
    }
    Some(loads)
}

fn load(selector: Selector, family: Family, to: Option<Register>) -> Option<Expected> {
    if matches!(selector, Selector::FibSaddrType | Selector::FibDaddrType | Selector::NumgenRandom { .. }) {
        return Some(Expected::Raw);
    }
    let to = to?;
    let meta = |key| exactly(Meta::default().with_key(key).with_dreg(to));
    let port = |offset: u32| {
        exactly(Payload::default().with_base(2_u32).with_offset(offset).with_len(2_u32).with_dreg(to))
    };
    Some(match selector {
        Selector::Saddr | Selector::Daddr => exactly(address(selector, family).with_dreg(to)),
        Selector::ThSport => port(0),
        Selector::ThDport => port(2),
        Selector::L4Proto => meta(MetaType::L4Proto),
        Selector::Mark => meta(MetaType::Mark),
        Selector::Iifname => meta(MetaType::IifName),
        Selector::CtState => exactly(Conntrack::default().with_key(ConntrackKey::State).with_dreg(to)),
        // Parts of the connection that rustables does not know.
        _ => return None,
    })
}

fn address(selector: Selector, family: Family) -> Payload {
    let (offset, len): (u32, u32) = match (selector, family) {
        (Selector::Saddr, Family::Ip) => (12, 4),
        (_, Family::Ip) => (16, 4),
        (Selector::Saddr, Family::Ip6) => (8, 16),
        (_, Family::Ip6) => (24, 16),
    };
    Payload::default().with_base(1_u32).with_offset(offset).with_len(len).with_dreg(Register::Reg1)
}
