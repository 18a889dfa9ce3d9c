//! Converts statements to expressions, with the registers that nft would choose.
//!
//! nft reads rules back by following values through registers, and aborts the
//! listing of the whole ruleset when it meets a sequence it would not have
//! written. So the order of loads, where each lands, and when a short load
//! replaces a mask are copied from what `nft --debug=netlink` shows.

use std::sync::Arc;
use std::time::Duration;

use super::{
    CtKey, Expr, FibAddress, LookupResult, MetaKey, NAT_RANDOM_FULLY, PayloadBase, REJECT_ICMP_UNREACH,
    REJECT_TCP_RST, Register,
};
use crate::selector::key_len;
use crate::{Bytes, Family, MatchOp, Rule, Selector, Statement, Verdict, wire};

impl Rule {
    /// The expressions the kernel would show for this rule in a table of `family`.
    pub fn expressions(&self, family: Family) -> Vec<Expr> {
        let mut writer = Writer { family, out: Vec::with_capacity(self.statements.len() * 3) };
        self.statements.iter().for_each(|statement| writer.statement(statement));
        writer.out
    }
}

struct Writer {
    family: Family,
    out: Vec<Expr>,
}

impl Writer {
    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Match { selector, op, value } => {
                self.load(*selector, Register::FIRST);
                self.compare(*op, *value);
            }
            Statement::MatchPrefix { selector, op, value, bits } => {
                self.prefix(*selector, *op, value, usize::from(*bits));
            }
            Statement::MatchBits { selector, mask, op } => {
                self.load(*selector, Register::FIRST);
                self.bitwise(Bytes::u32_host(*mask), Bytes::u32_host(0));
                self.compare(*op, Bytes::u32_host(0));
            }
            Statement::InSet { key, op, set } => {
                let result = match op {
                    MatchOp::Eq => LookupResult::None,
                    MatchOp::Ne => LookupResult::Inverted,
                };
                self.lookup(key, set, result);
            }
            Statement::Vmap { key, map } => self.lookup(key, map, LookupResult::Verdict),
            Statement::DnatMap { key, map } => {
                self.lookup(key, map, LookupResult::Register(Register::FIRST));
                self.dnat(register_after(self.family.addr_len()));
            }
            Statement::DnatMapPort { key, map, port } => self.dnat_map_port(key, map, *port),
            Statement::UpdateMap { map, key, data, timeout } => self.update(map, key, Some(data), *timeout),
            Statement::UpdateSet { set, key, timeout } => self.update(set, key, None, *timeout),
            Statement::MarkOr(bits) => self.mark(!bits, *bits),
            Statement::MarkXor(bits) => self.mark(u32::MAX, *bits),
            Statement::MarkAnd(bits) => self.mark(*bits, 0),
            Statement::Masquerade { random_fully } => {
                let flags = if *random_fully { NAT_RANDOM_FULLY } else { 0 };
                self.out.push(Expr::Masquerade { flags });
            }
            Statement::Reject => self.reject(),
            Statement::RejectTcpReset => self.out.push(Expr::Reject { kind: REJECT_TCP_RST, code: 0 }),
            Statement::Drop => self.verdict(Verdict::Drop),
            Statement::Accept => self.verdict(Verdict::Accept),
            Statement::Return => self.verdict(Verdict::Return),
            Statement::Jump(chain) => self.verdict(Verdict::Jump(Arc::clone(chain))),
            Statement::Goto(chain) => self.verdict(Verdict::Goto(Arc::clone(chain))),
            Statement::Counter => self.out.push(Expr::Counter),
        }
    }

    /// A prefix of whole bytes is a shorter load or comparison; any other needs a mask.
    fn prefix(&mut self, selector: Selector, op: MatchOp, value: &Bytes, bits: usize) {
        let whole = bits / 8;
        let fits = bits > 0 && bits.is_multiple_of(8) && whole <= value.len();
        let short = Bytes::from_slice(value.get(..whole).unwrap_or_default()).unwrap_or_default();
        match selector {
            Selector::Saddr | Selector::Daddr if fits => {
                let (offset, len) = (self.address_offset(selector), short.len());
                self.payload(PayloadBase::Network, offset, len, Register::FIRST);
                self.compare(op, short);
            }
            Selector::Iifname if whole + 1 >= Bytes::IFNAME => {
                self.load(selector, Register::FIRST);
                self.compare(op, *value);
            }
            _ if fits => {
                self.load(selector, Register::FIRST);
                self.compare(op, short);
            }
            _ => {
                let (mask, masked) = mask_of(value, bits);
                self.load(selector, Register::FIRST);
                self.bitwise(mask, zeros(value.len()));
                self.compare(op, masked);
            }
        }
    }

    /// nft gives the constant a register of sixteen bytes, however short the address is.
    fn dnat_map_port(&mut self, key: &[Selector], map: &Arc<str>, port: u16) {
        self.lookup(key, map, LookupResult::Register(Register::FIRST));
        self.out.push(Expr::Immediate { to: Register::SECOND, value: Bytes::port(port) });
        self.dnat(Some(Register::SECOND));
    }

    /// To the address in the first register.
    fn dnat(&mut self, port: Option<Register>) {
        let (family, address) = (self.family, Some(Register::FIRST));
        self.out.push(Expr::Dnat { family, address, port, flags: 0 });
    }

    /// The data starts on a register of sixteen bytes, unlike the parts of a key.
    fn update(
        &mut self,
        set: &Arc<str>,
        key: &[Selector],
        data: Option<&Vec<Selector>>,
        timeout: Option<Duration>,
    ) {
        self.concatenation(key, 0);
        let data = data.and_then(|data| {
            let start = key_len(key, self.family).next_multiple_of(16);
            self.concatenation(data, start);
            register_after(start)
        });
        let timeout = timeout.map(|timeout| Duration::from_millis(wire::millis(timeout)));
        self.out.push(Expr::Update { key: Register::FIRST, data, set: Arc::clone(set), timeout });
    }

    fn lookup(&mut self, key: &[Selector], set: &Arc<str>, result: LookupResult) {
        self.concatenation(key, 0);
        self.out.push(Expr::Lookup { from: Register::FIRST, set: Arc::clone(set), result });
    }

    /// Loads the parts of a key one after the other, `start` bytes from the first register.
    fn concatenation(&mut self, key: &[Selector], start: usize) {
        let mut offset = start;
        for selector in key {
            // A key beyond the last register cannot be loaded; encoding reports such a rule.
            let Some(to) = register_after(offset) else { return };
            self.load(*selector, to);
            offset += selector.len(self.family).next_multiple_of(4);
        }
    }

    fn load(&mut self, selector: Selector, to: Register) {
        let expr = match selector {
            Selector::Saddr | Selector::Daddr => {
                let (offset, len) = (self.address_offset(selector), self.family.addr_len());
                return self.payload(PayloadBase::Network, offset, len, to);
            }
            Selector::ThSport => return self.payload(PayloadBase::Transport, 0, 2, to),
            Selector::ThDport => return self.payload(PayloadBase::Transport, 2, 2, to),
            Selector::L4Proto => Expr::Meta { key: MetaKey::L4Proto, to },
            Selector::Mark => Expr::Meta { key: MetaKey::Mark, to },
            Selector::Iifname => Expr::Meta { key: MetaKey::Iifname, to },
            Selector::NumgenRandom { modulus } => Expr::NumgenRandom { modulus, to },
            Selector::CtState => Expr::Ct { key: CtKey::State, to },
            Selector::CtStatus => Expr::Ct { key: CtKey::Status, to },
            Selector::CtOriginalSaddr => Expr::Ct { key: self.family.pick(CtKey::SrcIp, CtKey::SrcIp6), to },
            Selector::CtOriginalDaddr => Expr::Ct { key: self.family.pick(CtKey::DstIp, CtKey::DstIp6), to },
            Selector::CtOriginalProtoDst => Expr::Ct { key: CtKey::ProtoDst, to },
            Selector::FibSaddrType => Expr::FibType { address: FibAddress::Saddr, to },
            Selector::FibDaddrType => Expr::FibType { address: FibAddress::Daddr, to },
        };
        self.out.push(expr);
    }

    /// Offsets in `struct iphdr` and `struct ipv6hdr` (RFC 791, RFC 8200).
    fn address_offset(&self, selector: Selector) -> u32 {
        match selector {
            Selector::Saddr => self.family.pick(12, 8),
            _ => self.family.pick(16, 24),
        }
    }

    fn payload(&mut self, base: PayloadBase, offset: u32, len: usize, to: Register) {
        let len = u32::try_from(len).unwrap_or(0);
        self.out.push(Expr::Payload { base, offset, len, to });
    }

    fn compare(&mut self, op: MatchOp, value: Bytes) {
        self.out.push(Expr::Cmp { from: Register::FIRST, op, value });
    }

    fn bitwise(&mut self, mask: Bytes, xor: Bytes) {
        self.out.push(Expr::Bitwise { from: Register::FIRST, to: Register::FIRST, mask, xor });
    }

    fn mark(&mut self, mask: u32, xor: u32) {
        self.load(Selector::Mark, Register::FIRST);
        self.bitwise(Bytes::u32_host(mask), Bytes::u32_host(xor));
        self.out.push(Expr::SetMeta { key: MetaKey::Mark, from: Register::FIRST });
    }

    /// Port unreachable: ICMP code 3 (RFC 792), ICMPv6 code 4 (RFC 4443).
    fn reject(&mut self) {
        self.out.push(Expr::Reject { kind: REJECT_ICMP_UNREACH, code: self.family.pick(3, 4) });
    }

    fn verdict(&mut self, verdict: Verdict) {
        self.out.push(Expr::Verdict(verdict));
    }
}

fn register_after(bytes: usize) -> Option<Register> {
    Register::at(u8::try_from(bytes.div_ceil(4)).ok()?)
}

fn zeros(len: usize) -> Bytes {
    Bytes::from_slice(&[0; Bytes::CAPACITY][..len.min(Bytes::CAPACITY)]).unwrap_or_default()
}

/// A mask of `bits` leading ones, and `value` under it.
fn mask_of(value: &Bytes, bits: usize) -> (Bytes, Bytes) {
    let mut mask = [0; Bytes::CAPACITY];
    let mut masked = mask;
    for (index, byte) in value.iter().enumerate() {
        let kept = bits.saturating_sub(index * 8).min(8);
        mask[index] = !u8::MAX.checked_shr(u32::try_from(kept).unwrap_or(8)).unwrap_or(0);
        masked[index] = byte & mask[index];
    }
    let cut = |bytes: &[u8]| Bytes::from_slice(&bytes[..value.len()]).unwrap_or_default();
    (cut(&mask), cut(&masked))
}
