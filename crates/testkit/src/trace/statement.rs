//! What each statement does to a packet.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::fake::FakeSet;
use portolan_core::Protocol;
use portolan_nft::{Bytes, ElementValue, Family, MatchOp, Rule, Selector, Statement, Verdict};

use super::chain::{Control, Walk};
use super::flow::Flow;
use super::hook::ScenarioNetwork;
use super::path::Found;
use super::{Probability, Refusal, TraceError};

/// One way a statement can go.
#[derive(Debug)]
pub(super) struct Branch<'t> {
    pub(super) share: Probability,
    pub(super) flow: Flow,
    pub(super) found: Option<Found<'t>>,
    pub(super) control: Control,
}

impl Branch<'_> {
    /// The only way to go.
    pub(super) fn only(flow: Flow, control: Control) -> Self {
        Self { share: Probability::ONE, flow, found: None, control }
    }
}

/// Where a statement stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'t> {
    pub(super) site: ScenarioNetwork<'t>,
    pub(super) rule: &'t Rule,
}

impl<'t> Place<'t> {
    /// A set or map of the statement's table.
    pub(super) fn set(&self, name: &Arc<str>) -> Result<&'t FakeSet, TraceError> {
        let missing = || TraceError::Missing { table: self.site.id.clone(), object: Arc::clone(name) };
        self.site.table.set(name).ok_or_else(missing)
    }

    /// The statement cannot be followed, for this reason.
    pub(super) fn malformed(&self, reason: &'static str) -> TraceError {
        let rule = self.rule.display(self.site.id.family).to_string();
        TraceError::Malformed { rule, reason }
    }
}

impl<'t> Walk<'t> {
    /// Takes a packet through one statement.
    pub(super) fn statement(
        &self,
        place: Place<'t>,
        statement: &Statement,
        flow: &Flow,
    ) -> Result<Vec<Branch<'t>>, TraceError> {
        match statement {
            Statement::Match { selector, op, value } => {
                let equal = |loaded: &Bytes| starts_alike(loaded, value, value.len() * 8);
                self.compare(place, *selector, *op, flow, equal)
            }
            Statement::MatchPrefix { selector, op, value, bits } => {
                let equal = |loaded: &Bytes| starts_alike(loaded, value, usize::from(*bits));
                self.compare(place, *selector, *op, flow, equal)
            }
            Statement::MatchBits { selector, mask, op } => {
                let mask = mask.to_ne_bytes();
                let none_set = |loaded: &Bytes| loaded.iter().zip(mask).all(|(byte, mask)| byte & mask == 0);
                self.compare(place, *selector, *op, flow, none_set)
            }
            Statement::InSet { key, op, set } => self.in_set(place, (key, *op, set), flow),
            Statement::Vmap { key, map } => self.verdict_map(place, key, map, flow),
            Statement::DnatMap { key, map } => self.dnat(place, (key, map, None), flow),
            Statement::DnatMapPort { key, map, port } => self.dnat(place, (key, map, Some(*port)), flow),
            Statement::UpdateMap { map, key, data, timeout } => {
                self.update(place, (map, key, Some(data)), *timeout, flow)
            }
            Statement::UpdateSet { set, key, timeout } => {
                self.update(place, (set, key, None), *timeout, flow)
            }
            other => match self.act(other, flow.clone()) {
                Some(branch) => Ok(vec![branch]),
                None => Err(place.malformed("the tracer does not know one of its statements yet")),
            },
        }
    }

    /// Statements that load nothing.
    fn act(&self, statement: &Statement, mut flow: Flow) -> Option<Branch<'t>> {
        let mut control = Control::Go;
        match statement {
            Statement::Counter => {}
            Statement::MarkOr(bits) => flow.mark |= bits,
            Statement::MarkXor(bits) => flow.mark ^= bits,
            Statement::Masquerade { .. } => {
                flow.decide_masquerade();
                control = Control::Verdict(Verdict::Accept);
            }
            Statement::Reject => control = Control::Refuse(Refusal::Icmp),
            Statement::RejectTcpReset => {
                // Other protocols know no reset: the kernel just drops them.
                let tcp = self.packet.protocol == Protocol::Tcp;
                control = if tcp { Control::Refuse(Refusal::TcpReset) } else { Verdict::Drop.into() };
            }
            other => control = other.verdict()?.into(),
        }
        Some(Branch::only(flow, control))
    }

    /// Ends the rule unless what is loaded is, or with `!=` is not, as `equal` says.
    ///
    /// What is compared has the length of what is loaded: tables take no other rules.
    fn compare(
        &self,
        place: Place<'t>,
        selector: Selector,
        op: MatchOp,
        flow: &Flow,
        equal: impl Fn(&Bytes) -> bool,
    ) -> Result<Vec<Branch<'t>>, TraceError> {
        let keys = self.keys(place, &[selector], flow)?;
        let matching = keys.iter().filter(|key| equal(key) == (op == MatchOp::Eq)).count();
        let ways = [(matching, Control::Go), (keys.len() - matching, Control::Break)];
        let likely = ways.into_iter().filter(|(cases, _)| *cases > 0);
        let branches: Vec<_> = likely
            .map(|(cases, control)| Branch {
                share: share(cases, keys.len()),
                ..Branch::only(flow.clone(), control)
            })
            .collect();
        Ok(unless_nothing_was_loaded(branches, flow))
    }

    fn in_set(
        &self,
        place: Place<'t>,
        (key, op, set): (&[Selector], MatchOp, &Arc<str>),
        flow: &Flow,
    ) -> Result<Vec<Branch<'t>>, TraceError> {
        let mut branches = Vec::new();
        for (share, found) in self.meet(place, key, set, flow)? {
            let control = if found.is_some() == (op == MatchOp::Eq) { Control::Go } else { Control::Break };
            branches.push(Branch { share, flow: flow.clone(), found, control });
        }
        Ok(unless_nothing_was_loaded(branches, flow))
    }

    fn verdict_map(
        &self,
        place: Place<'t>,
        key: &[Selector],
        map: &Arc<str>,
        flow: &Flow,
    ) -> Result<Vec<Branch<'t>>, TraceError> {
        let mut branches = Vec::new();
        for (share, found) in self.meet(place, key, map, flow)? {
            let control = match found.as_ref().map(|found| &found.element.value) {
                None => Control::Break,
                Some(ElementValue::Verdict(verdict)) => verdict.clone().into(),
                Some(_) => return Err(place.malformed("its verdict map holds something else")),
            };
            branches.push(Branch { share, flow: flow.clone(), found, control });
        }
        Ok(unless_nothing_was_loaded(branches, flow))
    }

    /// Like every translation it accepts the packet: what follows in the base chain is passed over.
    fn dnat(
        &self,
        place: Place<'t>,
        (key, map, port): (&[Selector], &Arc<str>, Option<u16>),
        flow: &Flow,
    ) -> Result<Vec<Branch<'t>>, TraceError> {
        let mut branches = Vec::new();
        for (share, found) in self.meet(place, key, map, flow)? {
            let (mut flow, mut control) = (flow.clone(), Control::Break);
            if let Some(found) = &found {
                let to = endpoint(found, port, place.site.id.family)
                    .ok_or_else(|| place.malformed("its map holds no endpoints"))?;
                flow.decide_destination(to);
                control = Verdict::Accept.into();
            }
            branches.push(Branch { share, flow, found, control });
        }
        Ok(unless_nothing_was_loaded(branches, flow))
    }
}

/// A selector that can load nothing ends the rule.
fn unless_nothing_was_loaded<'t>(branches: Vec<Branch<'t>>, flow: &Flow) -> Vec<Branch<'t>> {
    if branches.is_empty() { vec![Branch::only(flow.clone(), Control::Break)] } else { branches }
}

/// `cases` out of `all`, of which there are at least as many, and one.
pub(super) fn share(cases: usize, all: usize) -> Probability {
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    Probability::of(number(cases), number(all)).unwrap_or(Probability::ZERO)
}

/// Whether the first `bits` bits of both are the same.
fn starts_alike(loaded: &Bytes, value: &Bytes, bits: usize) -> bool {
    let bytes = loaded.iter().zip(value.iter()).take(bits.div_ceil(8));
    bytes.enumerate().all(|(index, (loaded, value))| {
        let compared = (bits - index * 8).min(8);
        (loaded ^ value) >> (8 - compared) == 0
    })
}

/// Reads an address, and unless `port` is given the port that follows it.
fn endpoint(found: &Found<'_>, port: Option<u16>, family: Family) -> Option<SocketAddr> {
    let ElementValue::Data(data) = &found.element.value else { return None };
    let (address, rest) = data.split_at_checked(family.addr_len())?;
    let address: IpAddr = match family {
        Family::Ip => <[u8; 4]>::try_from(address).ok()?.into(),
        Family::Ip6 => <[u8; 16]>::try_from(address).ok()?.into(),
    };
    let stored = || rest.first_chunk().copied().map(u16::from_be_bytes);
    Some(SocketAddr::new(address, port.or_else(stored)?))
}
