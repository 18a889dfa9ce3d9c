//! Whether another proxy's chains exist now, and whether they were written again since: for a kube-proxy that
//! runs beside Portolan.
//!
//! While there are none, this costs a few short requests to the kernel. Tables of iptables-legacy are read only
//! when they have changed, and no program is started.

use std::cell::OnceCell;
use std::hash::{DefaultHasher, Hash, Hasher};

use portolan_core::{BackendError, IpFamily, PerFamily, ProxyMode};
use portolan_netlink::xtables::TableInfo;
use portolan_nft::{NetlinkTables, NftError, TableId};

use super::nf_tables::nft_family;
use super::{Mode, Running, StaleError, legacy};
use crate::programs::Variant;

/// Looks for chains of another proxy, repeatedly.
#[derive(Debug, Default)]
pub struct ForeignChains {
    /// The state of tables of iptables-legacy, and the mode whose chains they have.
    legacy: PerFamily<Option<(Vec<TableInfo>, Option<Mode>)>>,
    /// The running mode; nothing if it does not serve the family.
    running: PerFamily<OnceCell<Option<Running>>>,
}

/// A chain, by its table and name.
type Place = (&'static str, &'static str);

/// A chain that only this mode has, and one that this mode writes at least whenever something changes.
struct Sign {
    mode: Mode,
    present: Place,
    written: Place,
}

const SERVICES: Place = ("nat", "KUBE-SERVICES");
/// Only the ipvs mode has it.
const LOAD_BALANCER: Place = ("nat", "KUBE-LOAD-BALANCER");
/// Only kube-proxy's ipvs mode has it, and not ours.
const OUT_FILTER: Place = ("filter", "KUBE-IPVS-OUT-FILTER");
/// Only the iptables mode has it.
const CANARY: Place = ("mangle", "KUBE-PROXY-CANARY");

/// The signs of another proxy in tables that a running mode of ours writes or, with none, that we have nothing in.
fn signs(own: Option<Mode>) -> &'static [Sign] {
    const IPVS: Sign = Sign { mode: Mode::Ipvs, present: LOAD_BALANCER, written: SERVICES };
    const IPTABLES: Sign = Sign { mode: Mode::Iptables, present: SERVICES, written: SERVICES };
    match own {
        // Both modes have the latter; the first that is found counts.
        None => &[IPVS, IPTABLES],
        Some(Mode::Iptables) => &[IPVS],
        Some(Mode::Ipvs) => {
            &[Sign { present: OUT_FILTER, written: OUT_FILTER, ..IPVS }, Sign { present: CANARY, ..IPTABLES }]
        }
    }
}

impl ForeignChains {
    /// [`Self::version`] beside a running mode, which is the same in every call. Nothing if that mode does not serve the
    /// family: it is then unknown which of the chains are its own.
    ///
    /// # Errors
    /// The tables could not be read.
    pub fn beside(
        &mut self,
        running: &ProxyMode,
        mode: Mode,
        family: IpFamily,
    ) -> Result<Option<u64>, BackendError> {
        let find = || super::running(Some(running), family).ok();
        let Some(running) = *self.running[family].get_or_init(find) else { return Ok(None) };
        self.version(mode, running, family)
            .map_err(|error| BackendError::unread(format!("{family} rules of another proxy"), error))
    }

    /// A number for the chains that another proxy in this mode has in one family, other than those of the running mode
    /// of ours; nothing if there are none. The number changes whenever they are written again, for tables of
    /// iptables-legacy only if that changes their size. It blocks.
    ///
    /// # Errors
    /// The tables could not be read.
    pub fn version(
        &mut self,
        mode: Mode,
        running: Running,
        family: IpFamily,
    ) -> Result<Option<u64>, StaleError> {
        let own_in = |variant| running.filter(|(_, own)| *own == variant).map(|(mode, _)| mode);
        let nft = in_nf_tables(family, own_in(Variant::Nft));
        let nft = nft.map_err(|source| StaleError::Read { family, source })?;
        let legacy = if own_in(Variant::Legacy).is_none() { self.in_legacy(family)? } else { None };
        let of_mode =
            |found: Option<(Mode, u64)>| found.filter(|(of, _)| *of == mode).map(|(_, version)| version);
        Ok(match (of_mode(nft), of_mode(legacy)) {
            (Some(nft), Some(legacy)) => Some(hash(&(nft, legacy))),
            (nft, legacy) => nft.or(legacy),
        })
    }

    fn in_legacy(&mut self, family: IpFamily) -> Result<Option<(Mode, u64)>, StaleError> {
        let read = |source| StaleError::Legacy { family, source };
        let present = legacy::tables(family)?;
        if present.is_empty() {
            return Ok(None);
        }
        let infos = legacy::infos(family, &present).map_err(read)?;
        let version = hash(&infos);
        let mode = match &self.legacy[family] {
            Some((known, mode)) if *known == infos => *mode,
            _ => {
                let chains = legacy::chains(family, &present).map_err(read)?;
                let has =
                    |place: Place| chains.iter().any(|(table, chain)| (*table, chain.as_str()) == place);
                let mode = signs(None).iter().find(|sign| has(sign.present)).map(|sign| sign.mode);
                self.legacy[family] = Some((infos, mode));
                mode
            }
        };
        Ok(mode.map(|mode| (mode, version)))
    }
}

fn in_nf_tables(family: IpFamily, own: Option<Mode>) -> Result<Option<(Mode, u64)>, NftError> {
    let mut tables = NetlinkTables::open()?;
    let id = |name: &'static str| TableId::new(nft_family(family), name);
    for Sign { mode, present: (table, chain), written } in signs(own) {
        if tables.has_chain(&id(table), chain)? {
            return Ok(Some((*mode, hash(&tables.rule_handles(&id(written.0), Some(written.1))?))));
        }
    }
    Ok(None)
}

fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}
