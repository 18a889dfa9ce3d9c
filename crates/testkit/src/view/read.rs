//! What a dumped table serves.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use portolan_nft::{DumpedChain, Element, ElementValue, Expr, TableDump, Verdict};

use super::{Affinity, Flaw, Remains, Served, View, node_port_key, vip_key};

/// Slots by frontend and number.
type Slots = BTreeMap<String, BTreeMap<u32, SocketAddr>>;

/// The sets that frontends of one sort are looked up in.
struct Sort {
    dispatch: &'static str,
    endpoints: &'static str,
    local: &'static str,
    affinity: &'static str,
    vips: bool,
}

const SORTS: [Sort; 2] = [
    Sort {
        dispatch: "services",
        endpoints: "endpoints",
        local: "local-endpoints",
        affinity: "affinity-services",
        vips: true,
    },
    Sort {
        dispatch: "nodeports",
        endpoints: "nodeport-endpoints",
        local: "nodeport-local-endpoints",
        affinity: "affinity-nodeports",
        vips: false,
    },
];

impl View {
    pub(super) fn read(dump: &TableDump, remains: Remains) -> Result<Self, Flaw> {
        let mut view = Self::default();
        let mut owners = BTreeSet::new();
        for sort in &SORTS {
            owners.extend(view.read_served(dump, sort, remains)?);
        }
        for element in elements(dump, "hairpin")? {
            let (from, to) = element.key.split_at(element.key.len() / 2);
            if from != to {
                return Err(Flaw(format!("hairpin element {:?} is of two addresses", element.key)));
            }
            view.hairpin.insert(address(from)?);
        }
        for element in elements(dump, "cluster-ips")? {
            view.cluster_ips.insert(address(&element.key)?);
        }
        for element in elements(dump, "service-cidrs")? {
            view.service_cidrs.insert(range(&element, 0)?);
        }
        view.read_restricted(dump, remains)?;
        if remains == Remains::Refused {
            refuse_unused(dump, &owners)?;
        }
        Ok(view)
    }

    /// Returns the service ports that have something for themselves.
    fn read_served(
        &mut self,
        dump: &TableDump,
        sort: &Sort,
        remains: Remains,
    ) -> Result<BTreeSet<String>, Flaw> {
        let mut owners = BTreeSet::new();
        let mut slots = read_slots(dump, sort.endpoints, sort.vips)?;
        let mut local_slots = read_slots(dump, sort.local, sort.vips)?;
        let mut learning = BTreeMap::new();
        for element in elements(dump, sort.affinity)? {
            let key = frontend_key(&element.key, sort.vips)?;
            let chain = target(&element).ok_or_else(|| Flaw(format!("{key} learns nowhere")))?;
            learning.insert(key, chain);
        }
        for element in elements(dump, sort.dispatch)? {
            let key = frontend_key(&element.key, sort.vips)?;
            let chain = target(&element).ok_or_else(|| Flaw(format!("{key} leads nowhere")))?;
            let owner = chain.split_once('/').map(|(_, owner)| owner.to_owned());
            owners.extend(owner.clone());
            match led_on(dump, &chain).as_str() {
                "refuse" => {
                    self.rejected.insert(key);
                    continue;
                }
                "ignore" => {
                    self.dropped.insert(key);
                    continue;
                }
                _ => {}
            }
            let (kind, counts) = class(dump, &key, &chain)?;
            let mut found = match &owner {
                Some(owner) if draws_from(dump, &chain, &format!("{}/{owner}", sort.endpoints)) => {
                    let of = |map: &str| read_own_slots(dump, &format!("{map}/{owner}"));
                    [of(sort.endpoints)?, of(sort.local)?]
                }
                _ => [&mut slots, &mut local_slots].map(|slots| slots.remove(&key).unwrap_or_default()),
            };
            for (found, count) in found.iter_mut().zip(counts) {
                let count = count.unwrap_or(0);
                if remains == Remains::Overlooked {
                    found.retain(|slot, _| *slot < count);
                    // An address that leaves a service with affinity may lead to its chain after that
                    // has changed, and one that stays has the first slot, which is drawn at last.
                    if owner.is_some() {
                        continue;
                    }
                }
                if !found.keys().copied().eq(0..count) {
                    return Err(Flaw(format!("{key} goes to {chain} with slots {found:?}")));
                }
                let distinct: BTreeSet<_> = found.values().collect();
                if remains == Remains::Refused && distinct.len() != found.len() {
                    return Err(Flaw(format!("{key} has an endpoint twice: {found:?}")));
                }
            }
            let [endpoints, outside] = found.map(|found| found.into_values().collect());
            let outside = counts[1].map(|_| outside);
            let learns = learning.remove(&key);
            // An affinity that is learned in the wrong set for a moment sends no client to a wrong endpoint.
            let learns_of = |owner: &String| dump.chain(&format!("affinity/{owner}")).is_some();
            let owner = owner.filter(|owner| remains == Remains::Refused && learns_of(owner));
            let affinity = owner.map(|owner| affinity(dump, &key, owner, learns.as_deref())).transpose()?;
            self.served.insert(key, Served { kind, endpoints, outside, affinity });
        }
        if remains == Remains::Overlooked {
            return Ok(owners);
        }
        if let Some((key, slots)) = slots.first_key_value().or(local_slots.first_key_value()) {
            return Err(Flaw(format!("{key} has slots but no verdict: {slots:?}")));
        }
        match learning.first_key_value() {
            Some((key, chain)) => Err(Flaw(format!("{key} is learned in {chain} but not served"))),
            None => Ok(owners),
        }
    }

    fn read_restricted(&mut self, dump: &TableDump, remains: Remains) -> Result<(), Flaw> {
        for element in elements(dump, "restricted-services")? {
            self.restricted.insert(frontend_key(&element.key, true)?, BTreeSet::new());
        }
        for element in elements(dump, "source-ranges")? {
            let address = if element.key.len() > 16 { 16 } else { 4 };
            let head = element.key.len() - address;
            let key = frontend_key(&element.key[..head], true)?;
            match self.restricted.get_mut(&key) {
                Some(ranges) => {
                    ranges.insert(range(&element, head)?);
                }
                None if remains == Remains::Refused => {
                    return Err(Flaw(format!("{key} has source ranges and is not restricted")));
                }
                None => {}
            }
        }
        Ok(())
    }
}

/// What a service port has for itself must be in use.
fn refuse_unused(dump: &TableDump, owners: &BTreeSet<String>) -> Result<(), Flaw> {
    let sets = dump.sets.iter().map(|set| &*set.name);
    let chains = dump.chains.iter().map(|chain| &*chain.chain.name);
    let owned = sets.chain(chains).filter_map(|name| Some((name, name.split_once('/')?.1)));
    for (name, owner) in owned {
        if !owners.contains(owner) {
            return Err(Flaw(format!("{name} is of no service port that leads there")));
        }
    }
    Ok(())
}

/// Where a chain leads that does nothing but lead on; itself otherwise.
fn led_on(dump: &TableDump, chain: &str) -> String {
    let rules = dump.chain(chain).map(|chain| &chain.rules[..]);
    let only = match rules {
        Some([rule]) => rule.expressions.iter().collect(),
        _ => vec![],
    };
    match &only[..] {
        [only] => match only.verdict() {
            Some(Verdict::Goto(next)) => next.to_string(),
            _ => chain.to_owned(),
        },
        _ => chain.to_owned(),
    }
}

/// `NFTA_NG_MODULUS`
const NUMGEN_MODULUS: u16 = 2;

/// The set or map that an expression looks into (`NFTA_LOOKUP_SET`).
fn looked_into<'a>(expression: &Expr<'a>) -> Option<&'a str> {
    expression.text(1).filter(|_| expression.name() == "lookup")
}

/// Whether a rule of a chain looks into this map.
fn draws_from(dump: &TableDump, chain: &str, map: &str) -> bool {
    let rules = dump.chain(chain).into_iter().flat_map(|chain| &chain.rules);
    rules.flat_map(|rule| rule.expressions.iter()).any(|expression| looked_into(&expression) == Some(map))
}

/// The slots of a map that one service port has for itself; none where there is no such map.
fn read_own_slots(dump: &TableDump, map: &str) -> Result<BTreeMap<u32, SocketAddr>, Flaw> {
    let found = dump.set(map).into_iter().flat_map(|set| set.elements.iter());
    let slots = found.map(|element| match element.value {
        ElementValue::Data(data) => Ok((u32::from_ne_bytes(fixed(&element.key)?), endpoint(&data)?)),
        _ => Err(Flaw(format!("{map} has an element without data"))),
    });
    slots.collect()
}

/// What a frontend's verdict says: the kind, and the numbers of slots.
type Class = (String, [Option<u32>; 2]);

fn class(dump: &TableDump, key: &str, chain: &str) -> Result<Class, Flaw> {
    let found = dump.chain(chain).filter(|chain| !chain.rules.is_empty());
    let found = found.ok_or_else(|| Flaw(format!("{key} goes to {chain}, which does nothing")))?;
    if let Some((kind, _)) = chain.split_once('/') {
        // Such a chain's name does not contain the number of its slots; its rules do.
        return Ok((kind.to_owned(), drawn(found)));
    }
    let parse = || {
        let (kind, counts) = chain.split_once('-')?;
        let (all, outside) = match counts.split_once("-local-") {
            Some((all, outside)) => (all, Some(outside.parse().ok()?)),
            None => (counts, None),
        };
        Some((kind.to_owned(), [Some(all.parse().ok()?), outside]))
    };
    parse().ok_or_else(|| Flaw(format!("{key} goes to {chain}")))
}

/// How many slots of either map a chain's rules draw from; none of the local one unless it is
/// drawn from, or those from outside are dropped.
fn drawn(chain: &DumpedChain) -> [Option<u32>; 2] {
    let mut counts = [None, None];
    for rule in &chain.rules {
        let mut drawn = None;
        for expression in rule.expressions.iter() {
            if expression.name() == "numgen" {
                drawn = expression.number(NUMGEN_MODULUS);
            }
            if let Some(set) = looked_into(&expression) {
                let count = &mut counts[usize::from(set.contains("local-endpoints"))];
                *count = drawn.max(*count);
            }
            if expression.verdict() == Some(Verdict::Drop) {
                counts[1] = counts[1].max(Some(0));
            }
        }
    }
    counts
}

/// What is learned for a frontend whose chain belongs to `owner`.
fn affinity(dump: &TableDump, key: &str, owner: String, learns: Option<&str>) -> Result<Affinity, Flaw> {
    if learns != Some(&format!("affinity/{owner}")) {
        return Err(Flaw(format!("{key} of {owner} is learned in {learns:?}")));
    }
    let mut learned = [None, None];
    for (list, prefix) in learned.iter_mut().zip(["affinity", "affinity-local"]) {
        let Some(known) = dump.set(&format!("{prefix}-endpoints/{owner}")) else { continue };
        let known: BTreeSet<SocketAddr> =
            known.elements.iter().map(|element| endpoint(&element.key)).collect::<Result<_, _>>()?;
        for set in &dump.sets {
            let port = set.name.strip_suffix(&format!("/{owner}")).and_then(|name| name.strip_prefix(prefix));
            let Some(port) = port.and_then(|port| port.strip_prefix('-')?.parse::<u16>().ok()) else {
                continue;
            };
            if !known.iter().any(|endpoint| endpoint.port() == port) {
                return Err(Flaw(format!("{} is for a port that no endpoint has", set.name)));
            }
            for element in &set.elements {
                let ElementValue::Data(data) = &element.value else { continue };
                let led_to = SocketAddr::new(address(data)?, port);
                if !known.contains(&led_to) {
                    return Err(Flaw(format!("{} leads a client to {led_to}", set.name)));
                }
            }
        }
        for port in known.iter().map(SocketAddr::port) {
            if dump.set(&format!("{prefix}-{port}/{owner}")).is_none() {
                return Err(Flaw(format!("{owner} has no {prefix} map for port {port}")));
            }
        }
        *list = Some(known);
    }
    Ok(Affinity { owner, learned })
}

fn read_slots(dump: &TableDump, map: &str, vips: bool) -> Result<Slots, Flaw> {
    let mut slots = Slots::new();
    for element in elements(dump, map)? {
        let (frontend, slot) = element.key.split_at(element.key.len() - 4);
        let slot = u32::from_ne_bytes(fixed(slot)?);
        let ElementValue::Data(data) = element.value else {
            return Err(Flaw(format!("{map} has an element without data")));
        };
        slots.entry(frontend_key(frontend, vips)?).or_default().insert(slot, endpoint(&data)?);
    }
    Ok(slots)
}

fn target(element: &Element) -> Option<String> {
    match &element.value {
        ElementValue::Verdict(Verdict::Goto(chain)) => Some(chain.to_string()),
        _ => None,
    }
}

fn elements(dump: &TableDump, set: &str) -> Result<Vec<Element>, Flaw> {
    let set = dump.set(set).ok_or_else(|| Flaw(format!("set {set} is missing")))?;
    Ok(set.elements.iter().collect())
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Flaw> {
    bytes.try_into().map_err(|error| Flaw(format!("{bytes:?} is not {N} bytes long: {error}")))
}

fn address(bytes: &[u8]) -> Result<IpAddr, Flaw> {
    if bytes.len() == 4 { Ok(fixed::<4>(bytes)?.into()) } else { Ok(fixed::<16>(bytes)?.into()) }
}

/// `first-last` of the addresses behind the first `head` bytes.
fn range(element: &Element, head: usize) -> Result<String, Flaw> {
    let last = element.key_end.as_deref().unwrap_or(&element.key);
    Ok(format!("{}-{}", address(&element.key[head..])?, address(&last[head..])?))
}

/// Reads `[address .] protocol . port`, each padded to four bytes.
fn frontend_key(key: &[u8], vips: bool) -> Result<String, Flaw> {
    let split = key.len().checked_sub(8).ok_or_else(|| Flaw(format!("short key {key:?}")))?;
    let (ip, rest) = key.split_at(split);
    let [protocol, 0, 0, 0, high, low, 0, 0] = fixed::<8>(rest)? else {
        return Err(Flaw(format!("odd padding in {key:?}")));
    };
    let port = u16::from_be_bytes([high, low]);
    if vips { Ok(vip_key(address(ip)?, protocol, port)) } else { Ok(node_port_key(protocol, port)) }
}

fn endpoint(data: &[u8]) -> Result<SocketAddr, Flaw> {
    let (ip, port) = data.split_at(data.len().saturating_sub(4));
    let [high, low, 0, 0] = fixed::<4>(port)? else {
        return Err(Flaw(format!("odd padding in {data:?}")));
    };
    Ok(SocketAddr::new(address(ip)?, u16::from_be_bytes([high, low])))
}
