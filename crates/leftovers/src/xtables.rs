//! Kube-proxy's chains in the tables of iptables, both kinds of it.
//!
//! The same rules can be in two places of the kernel: iptables-nft keeps them in tables of nf_tables, which
//! `nf_tables` here reads and changes over netlink, all tables of a family in one transaction;
//! iptables-legacy keeps them in its own, which only its programs can change, one table after the other
//! (`legacy`). What of a table goes is the same decision for both (`plan`), and so are the names (`chains`).

use portolan_core::IpFamily;

use crate::{Outcome, Part, Variant};

mod chains;
mod legacy;
mod nf_tables;
mod plan;

use chains::Wanted;

/// Removes the chains of these parts in one family.
pub(crate) fn remove(parts: &[Part], family: IpFamily) -> Vec<Outcome> {
    if !parts.contains(&Part::Iptables) && !parts.contains(&Part::Ipvs) {
        return Vec::new();
    }
    [Variant::Nft, Variant::Legacy].map(|variant| remove_of(variant, parts, family)).into()
}

/// Removes the chains of these parts, which must be among those that have any, from one kind of table.
pub(crate) fn remove_of(variant: Variant, parts: &[Part], family: IpFamily) -> Outcome {
    // What both have in common is in one transaction, so the outcome can only be that of one.
    let part = if parts.contains(&Part::Iptables) { Part::Iptables } else { Part::Ipvs };
    let wanted = Wanted { parts };
    Outcome::of(part, Some(family), |progress| match variant {
        Variant::Nft => nf_tables::remove(family, wanted, progress),
        Variant::Legacy => legacy::remove(family, wanted, progress),
    })
}
