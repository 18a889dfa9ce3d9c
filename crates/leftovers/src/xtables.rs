//! Kube-proxy's chains in the tables of iptables, both kinds of it.
//!
//! The same rules can be in two places of the kernel: iptables-nft keeps them in tables of nf_tables, which
//! `nf_tables` here reads and changes over netlink, all tables of a family in one transaction;
//! iptables-legacy keeps them in its own, which only its programs can change, one table after the other
//! (`legacy`). What of a table goes is the same decision for both (`plan`), and so are the names (`chains`).

use portolan_core::IpFamily;

use crate::{Outcome, Part};

mod chains;
mod legacy;
mod nf_tables;
mod plan;

use chains::Wanted;

/// Removes the chains of these parts in one family.
pub(crate) fn remove(parts: &[Part], family: IpFamily) -> Vec<Outcome> {
    // What both have in common is in one transaction, so the outcome can only be that of one.
    let Some(part) = [Part::Iptables, Part::Ipvs].into_iter().find(|part| parts.contains(part)) else {
        return Vec::new();
    };
    let wanted = Wanted { parts };
    vec![
        Outcome::of(part, Some(family), |progress| nf_tables::remove(family, wanted, progress)),
        Outcome::of(part, Some(family), |progress| legacy::remove(family, wanted, progress)),
    ]
}
