//! Compares the IP families of configured addresses with those that are served.
//!
//! As in kube-proxy, a mismatch is an error in the log, and fatal only if local pods could not be detected.

use ipnet::IpNet;
use portolan_core::IpFamily;
use portolan_core::address::parse_cidr;

use crate::bind;
use crate::error::ConfigError;
use crate::kube_proxy::KubeProxyConfiguration;
use crate::kube_proxy::effective::{CLUSTER_CIDR, PRIMARY};
use crate::kube_proxy::section::Section;
use crate::notes::Note;

/// Checks every setting with addresses.
///
/// # Errors
/// Local pods are detected by `clusterCIDR`, and none of its CIDRs is of the only family that is served.
pub(crate) fn check(
    config: &KubeProxyConfiguration,
    served: &[IpFamily],
    primary: IpFamily,
) -> Result<Vec<Note>, ConfigError> {
    let is_dual = IpFamily::ALL.iter().all(|family| served.contains(family));
    let mut notes = Vec::new();
    let ranges = nets(config.cluster_cidr.split(','));
    if has_only_others(&ranges, primary) {
        let cidrs = config.cluster_cidr.clone();
        if !is_dual && ["", CLUSTER_CIDR].contains(&config.detect_local_mode.as_str()) {
            return Err(ConfigError::ClusterCidrFamily { primary, cidrs });
        }
        notes.push(wrong("clusterCIDR", primary, &cidrs));
    }
    notes.extend(node_ports(config, &ranges, primary));
    if !is_dual {
        notes.extend(single_stack(config, primary));
    }
    Ok(notes)
}

fn nets<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<IpNet> {
    texts.filter_map(|text| parse_cidr(text).ok()).collect()
}

/// Whether there are CIDRs and none is of this family.
fn has_only_others(nets: &[IpNet], family: IpFamily) -> bool {
    !nets.is_empty() && nets.iter().all(|net| IpFamily::of_net(net) != family)
}

fn wrong(field: &str, primary: IpFamily, addresses: &str) -> Note {
    Note::error(
        field,
        format!("cluster is {primary}-primary, but all addresses are of the other IP family: {addresses}"),
    )
}

fn node_ports(config: &KubeProxyConfiguration, pods: &[IpNet], primary: IpFamily) -> Option<Note> {
    const FIELD: &str = "nodePortAddresses";
    let given = &config.node_port_addresses;
    if given.is_empty() {
        let accepts_all = config.section() != Section::Nftables;
        let text = "not set, so node ports are accepted on all local addresses; consider `primary`";
        return accepts_all.then(|| Note::error(FIELD, text));
    }
    if given.iter().any(|item| item == PRIMARY) {
        return None;
    }
    let nets = nets(given.iter().map(String::as_str));
    let is_missing = |family| has_only_others(&nets, family);
    let missing = IpFamily::ALL.into_iter().find(|family| is_missing(*family))?;
    let is_cluster_dual =
        IpFamily::ALL.iter().all(|family| pods.iter().any(|net| IpFamily::of_net(net) == *family));
    if is_cluster_dual {
        let text =
            format!("no CIDR is of {missing}, so node ports are accepted on all local {missing} addresses");
        return Some(Note::error(FIELD, text));
    }
    (missing == primary).then(|| wrong(FIELD, primary, &given.join(",")))
}

/// Checks that apply only if one family is served.
fn single_stack(config: &KubeProxyConfiguration, primary: IpFamily) -> Vec<Note> {
    let mut notes = Vec::new();
    if config.section() == Section::Ipvs {
        let excluded = &config.ipvs.exclude_cidrs;
        if has_only_others(&nets(excluded.iter().map(String::as_str)), primary) {
            notes.push(wrong("ipvs.excludeCIDRs", primary, &excluded.join(",")));
        }
    }
    for (field, text) in [
        ("healthzBindAddress", &config.healthz_bind_address),
        ("metricsBindAddress", &config.metrics_bind_address),
    ] {
        let address = bind::parse(text).ok().map(|address| address.ip());
        if address.is_some_and(|ip| !ip.is_unspecified() && IpFamily::of(ip) != primary) {
            notes.push(wrong(field, primary, text));
        }
    }
    notes
}

#[cfg(test)]
mod tests;
