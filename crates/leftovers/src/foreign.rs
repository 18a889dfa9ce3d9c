//! Whether another proxy's rules are there now, and whether they were written again since: for a kube-proxy that
//! runs beside ours.
//!
//! Looking costs a few short questions to the kernel while there is nothing. Tables of iptables-legacy are read only
//! when they have changed, and no program is run.

use std::hash::{DefaultHasher, Hash, Hasher};

use portolan_core::{BackendError, IpFamily, PerFamily};
use portolan_netlink::xtables::TableInfo;
use portolan_nft::{NetlinkTables, NftError, TableId, Tables};

use crate::netfilter::nft_family;
use crate::xtables::legacy;
use crate::{LeftoverError, Part, Variant, own_table};

/// Rules of another proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignRules {
    /// The mode of kube-proxy that writes them.
    pub part: Part,
    /// Their family.
    pub family: IpFamily,
    /// Another number whenever they have been written again. Of tables of iptables-legacy only if that changed
    /// their size.
    pub version: u64,
}

/// Looks for rules of another proxy, again and again.
#[derive(Debug, Default)]
pub struct ForeignWatch {
    /// What tables of iptables-legacy looked like, and of which mode their rules are.
    legacy: PerFamily<Option<(Vec<TableInfo>, Option<Part>)>>,
}

/// A chain that tells of a mode, and one that this mode writes at least whenever something changes.
struct Signs {
    part: Part,
    present: (&'static str, &'static str),
    written: (&'static str, &'static str),
}

const SERVICES: (&str, &str) = ("nat", "KUBE-SERVICES");
/// Only the ipvs mode has it.
const LOAD_BALANCER: (&str, &str) = ("nat", "KUBE-LOAD-BALANCER");
/// Only kube-proxy's ipvs mode has it, and not ours.
const OUT_FILTER: (&str, &str) = ("filter", "KUBE-IPVS-OUT-FILTER");
/// Only the iptables mode has it.
const CANARY: (&str, &str) = ("mangle", "KUBE-PROXY-CANARY");

/// What tells of chains in tables that a mode of ours writes or, with none, that we have nothing in.
fn signs(own: Option<Part>) -> &'static [Signs] {
    const IPVS: Signs = Signs { part: Part::Ipvs, present: LOAD_BALANCER, written: SERVICES };
    const IPTABLES: Signs = Signs { part: Part::Iptables, present: SERVICES, written: SERVICES };
    match own {
        // Both have the latter; the first that is found counts.
        None | Some(Part::KubeProxyNftables) => &[IPVS, IPTABLES],
        Some(Part::Iptables) => &[IPVS],
        Some(Part::Ipvs) => &[
            Signs { present: OUT_FILTER, written: OUT_FILTER, ..IPVS },
            Signs { present: CANARY, ..IPTABLES },
        ],
    }
}

impl ForeignWatch {
    /// Looks for rules of another proxy, beside those of a mode of ours if that has kube-proxy's names; `variant`
    /// says by which kind of iptables it writes in a family. It blocks.
    ///
    /// # Errors
    /// Something could not be looked at.
    pub fn look(
        &mut self,
        families: &[IpFamily],
        own: Option<Part>,
        variant: impl Fn(IpFamily) -> Option<Variant>,
    ) -> Result<Vec<ForeignRules>, LeftoverError> {
        let mut found: Vec<ForeignRules> = Vec::new();
        let mut add = |rules: ForeignRules| {
            let mut known = found.iter_mut();
            match known.find(|known| (known.part, known.family) == (rules.part, rules.family)) {
                // In tables of both kinds of iptables.
                Some(known) => known.version = hash(&(known.version, rules.version)),
                None => found.push(rules),
            }
        };
        for family in families.iter().copied() {
            let own_in = |kind| own.filter(|_| variant(family) == Some(kind));
            if own.is_some() && variant(family).is_none() {
                // Which of the chains would be ours is not known.
                continue;
            }
            let read = |source| LeftoverError::Foreign { family, source };
            in_nf_tables(family, own_in(Variant::Nft)).map_err(read)?.into_iter().for_each(&mut add);
            if own_in(Variant::Legacy).is_none() {
                self.in_legacy(family)?.into_iter().for_each(&mut add);
            }
        }
        Ok(found)
    }

    /// The version of the rules that another proxy writes in the mode of `part` and in one family, if there are any;
    /// `own` is the running mode of ours that has kube-proxy's names, with the kind of iptables that it writes by. It
    /// blocks.
    ///
    /// # Errors
    /// Something could not be looked at.
    pub fn version(
        &mut self,
        part: Part,
        family: IpFamily,
        own: Option<(Part, Option<Variant>)>,
    ) -> Result<Option<u64>, BackendError> {
        let (mode, variant) = own.unzip();
        let found = self.look(&[family], mode, |_| variant.flatten());
        let found =
            found.map_err(|error| BackendError::unread(format!("{family} rules of another proxy"), error))?;
        Ok(found.into_iter().find(|rules| rules.part == part).map(|rules| rules.version))
    }

    fn in_legacy(&mut self, family: IpFamily) -> Result<Option<ForeignRules>, LeftoverError> {
        let read = |source| LeftoverError::Legacy { family, source };
        let present = legacy::tables(family)?;
        if present.is_empty() {
            return Ok(None);
        }
        let infos = legacy::infos(family, &present).map_err(read)?;
        let version = hash(&infos);
        let part = match &self.legacy[family] {
            Some((known, part)) if *known == infos => *part,
            _ => {
                let chains = legacy::chains(family, &present).map_err(read)?;
                let has =
                    |sign: (&str, &str)| chains.iter().any(|(table, chain)| (*table, chain.as_str()) == sign);
                let part = signs(None).iter().find(|signs| has(signs.present)).map(|signs| signs.part);
                self.legacy[family] = Some((infos, part));
                part
            }
        };
        Ok(part.map(|part| ForeignRules { part, family, version }))
    }
}

fn in_nf_tables(family: IpFamily, own: Option<Part>) -> Result<Vec<ForeignRules>, NftError> {
    let mut tables = NetlinkTables::open()?;
    let id = |name: &'static str| TableId::new(nft_family(family), name);
    let mut found = Vec::new();
    let theirs = id(own_table::NAME);
    if tables.list()?.iter().any(|(table, _)| *table == theirs) {
        let version = hash(&tables.rule_handles(&theirs, None)?);
        found.push(ForeignRules { part: Part::KubeProxyNftables, family, version });
    }
    for Signs { part, present: (table, chain), written } in signs(own) {
        if tables.has_chain(&id(table), chain)? {
            let version = hash(&tables.rule_handles(&id(written.0), Some(written.1))?);
            found.push(ForeignRules { part: *part, family, version });
            break;
        }
    }
    Ok(found)
}

fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}
