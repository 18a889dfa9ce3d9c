//! Kube-proxy's chains in the tables of iptables, both kinds of it.
//!
//! The same rules can be in two places of the kernel: iptables-nft keeps them in tables of nf_tables, which
//! `nf_tables` here reads and changes over netlink, all tables of a family in one transaction;
//! iptables-legacy keeps them in its own, which only its programs can change, one table after the other
//! (`legacy`). What of a table goes is the same decision for both (`plan`), and so are the names (`chains`).

use portolan_core::IpFamily;

use crate::{Outcome, Part, Variant};

mod chains;
pub(crate) mod legacy;
mod nf_tables;
mod plan;

use chains::Wanted;

/// Removes the chains of these parts in one family.
pub(crate) fn remove(parts: &[Part], family: IpFamily) -> Vec<Outcome> {
    if !parts.contains(&Part::Iptables) && !parts.contains(&Part::Ipvs) {
        return Vec::new();
    }
    [Variant::Nft, Variant::Legacy].map(|variant| remove_of(variant, parts, None, family)).into()
}

/// Removes all chains but those of a mode of ours that writes by this kind of iptables.
pub(crate) fn remove_beside(mode: Part, variant: Variant, family: IpFamily) -> Vec<Outcome> {
    [(variant, Some(mode)), (variant.other(), None)]
        .map(|(variant, beside)| remove_of(variant, &[Part::Iptables, Part::Ipvs], beside, family))
        .into()
}

/// Removes the chains of these parts, which must be among those that have any, from one kind of table; but for
/// those of a mode that stays.
fn remove_of(variant: Variant, parts: &[Part], beside: Option<Part>, family: IpFamily) -> Outcome {
    // What both have in common is in one transaction, so the outcome can only be that of one.
    let iptables = parts.contains(&Part::Iptables) && beside != Some(Part::Iptables);
    let part = if iptables { Part::Iptables } else { Part::Ipvs };
    let wanted = Wanted { parts, beside };
    Outcome::of(part, Some(family), |progress| match variant {
        Variant::Nft => nf_tables::remove(family, wanted, progress),
        Variant::Legacy => legacy::remove(family, wanted, progress),
    })
}
