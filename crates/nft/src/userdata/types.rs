//! A set's `typeof` as notes: which expression loads each component.
//!
//! The numbers are nft's own: `enum expr_types` (expression.h), `enum
//! proto_desc_id` and the header field enums (proto.h).

use super::{CtKey, Family, FibAddress, MetaKey, Notes, Selector, read_number};

/// `NFTNL_UDATA_SET_TYPEOF_EXPR` and `_DATA`.
const EXPRESSION: u8 = 0;
const DETAILS: u8 = 1;

/// nft's `enum expr_types`.
mod expression {
    pub(super) const VERDICT: u32 = 1;
    pub(super) const PAYLOAD: u32 = 7;
    pub(super) const META: u32 = 9;
    pub(super) const CT: u32 = 12;
    pub(super) const CONCAT: u32 = 13;
    pub(super) const NUMGEN: u32 = 23;
    pub(super) const FIB: u32 = 26;
}

/// nft's `enum proto_desc_id`.
mod header {
    pub(super) const TRANSPORT: u32 = 11;
    pub(super) const IP: u32 = 12;
    pub(super) const IP6: u32 = 13;
}

/// `NFT_NG_RANDOM` and `NFT_FIB_RESULT_ADDRTYPE`, linux/netfilter/nf_tables.h.
const NUMGEN_RANDOM: u32 = 1;
const FIB_RESULT_TYPE: u32 = 3;
/// A direction, `IP_CT_DIR_ORIGINAL`, and nft's word for none.
const CT_ORIGINAL: u32 = 0;
const CT_NO_DIRECTION: u32 = u32::MAX;

pub(super) fn write(notes: &mut Notes, selectors: &[Selector], family: Family) {
    match selectors {
        [only] => write_one(notes, *only, family),
        many => {
            notes.number(EXPRESSION, expression::CONCAT);
            notes.nest(DETAILS, |notes| {
                for (index, selector) in (0..).zip(many) {
                    notes.nest(index, |notes| write_one(notes, *selector, family));
                }
            });
        }
    }
}

pub(super) fn write_verdict(notes: &mut Notes) {
    notes.number(EXPRESSION, expression::VERDICT).bytes(DETAILS, &[]);
}

pub(super) fn is_verdict(bytes: &[u8]) -> bool {
    read_number(bytes, EXPRESSION) == Some(expression::VERDICT)
}

/// An expression and the numbers that say what it loads.
fn describe(selector: Selector, family: Family) -> (u32, [Option<u32>; 3]) {
    let network = family.pick(header::IP, header::IP6);
    let payload = |header, field| (expression::PAYLOAD, [Some(header), Some(field), None]);
    let meta = |key: MetaKey| (expression::META, [Some(key as u32), None, None]);
    let ct = |key: CtKey, direction| (expression::CT, [Some(key as u32), Some(direction), None]);
    let fib = |which: FibAddress| (expression::FIB, [Some(FIB_RESULT_TYPE), Some(which as u32), None]);
    match selector {
        Selector::Saddr => payload(network, family.pick(11, 8)),
        Selector::Daddr => payload(network, family.pick(12, 9)),
        Selector::ThSport => payload(header::TRANSPORT, 1),
        Selector::ThDport => payload(header::TRANSPORT, 2),
        Selector::L4Proto => meta(MetaKey::L4Proto),
        Selector::Mark => meta(MetaKey::Mark),
        Selector::Iifname => meta(MetaKey::Iifname),
        Selector::NumgenRandom { modulus } => {
            (expression::NUMGEN, [Some(NUMGEN_RANDOM), Some(modulus), Some(0)])
        }
        Selector::CtState => ct(CtKey::State, CT_NO_DIRECTION),
        Selector::CtStatus => ct(CtKey::Status, CT_NO_DIRECTION),
        Selector::CtOriginalSaddr => ct(family.pick(CtKey::SrcIp, CtKey::SrcIp6), CT_ORIGINAL),
        Selector::CtOriginalDaddr => ct(family.pick(CtKey::DstIp, CtKey::DstIp6), CT_ORIGINAL),
        Selector::CtOriginalProtoDst => ct(CtKey::ProtoDst, CT_ORIGINAL),
        Selector::FibSaddrType => fib(FibAddress::Saddr),
        Selector::FibDaddrType => fib(FibAddress::Daddr),
    }
}

fn write_one(notes: &mut Notes, selector: Selector, family: Family) {
    let (expression, details) = describe(selector, family);
    notes.number(EXPRESSION, expression);
    notes.nest(DETAILS, |notes| {
        for (kind, number) in (0..).zip(details) {
            if let Some(number) = number {
                notes.number(kind, number);
            }
        }
    });
}

pub(super) fn read(bytes: &[u8], family: Family) -> Option<Vec<Selector>> {
    if read_number(bytes, EXPRESSION)? != expression::CONCAT {
        return Some(vec![read_one(bytes, family)?]);
    }
    let components = super::read(super::find(bytes, DETAILS)?);
    components.map(|(_, component)| read_one(component, family)).collect()
}

/// The selector whose notes these are.
fn read_one(bytes: &[u8], family: Family) -> Option<Selector> {
    let expression = read_number(bytes, EXPRESSION)?;
    let details = super::find(bytes, DETAILS)?;
    let details = [0, 1, 2].map(|kind| read_number(details, kind));
    let known = [
        Selector::Saddr,
        Selector::Daddr,
        Selector::L4Proto,
        Selector::ThSport,
        Selector::ThDport,
        Selector::NumgenRandom { modulus: details[1].unwrap_or_default() },
        Selector::Mark,
        Selector::Iifname,
        Selector::CtState,
        Selector::CtStatus,
        Selector::CtOriginalSaddr,
        Selector::CtOriginalDaddr,
        Selector::CtOriginalProtoDst,
        Selector::FibSaddrType,
        Selector::FibDaddrType,
    ];
    known.into_iter().find(|selector| describe(*selector, family) == (expression, details))
}
