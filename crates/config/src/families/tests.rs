//! Addresses of families that are served and not served.

use IpFamily::{V4, V6};

use super::*;
use crate::file;
use crate::notes::NoteLevel;

/// Restricts node ports and opens the metrics, so that there are no notes about them.
const QUIET: &str = "nodePortAddresses: [primary]\nmetricsBindAddress: '[::]:2'\n";

fn checked(body: &str, served: &[IpFamily], primary: IpFamily) -> Result<Vec<String>, String> {
    let head = "kind: KubeProxyConfiguration\napiVersion: kubeproxy.config.k8s.io/v1alpha1\n";
    let config = file::parse(&format!("{head}{body}")).unwrap().config;
    let notes = check(&config, served, primary).map_err(|error| error.to_string())?;
    assert!(notes.iter().all(|note| note.level == NoteLevel::Error));
    Ok(notes.into_iter().map(|note| note.to_string()).collect())
}

#[test]
fn ranges_of_pods_have_to_be_of_a_family_that_is_served() {
    let both = &[V4, V6];
    let v4 = format!("{QUIET}clusterCIDR: 10.0.0.0/8");
    let v6 = format!("{QUIET}clusterCIDR: fd00::/48");
    let pair = format!("{QUIET}clusterCIDR: fd00::/48,10.0.0.0/8");
    for (body, served, primary) in
        [(&v4, &both[..1], V4), (&v6, &both[1..], V6), (&pair, &both[..1], V4), (&pair, both, V6)]
    {
        assert_eq!(checked(body, served, primary), Ok(vec![]), "{body} {primary}");
    }
    let wrong =
        "clusterCIDR: cluster is IPv4-primary, but all addresses are of the other IP family: fd00::/48";
    assert_eq!(checked(&v6, both, V4), Ok(vec![wrong.to_owned()]));
    let fatal = "cluster is IPv4-primary, but clusterCIDR has only CIDRs of the other IP family: fd00::/48";
    assert_eq!(checked(&v6, &[V4], V4), Err(fatal.to_owned()));
    let node_cidr = format!("{v6}\ndetectLocalMode: NodeCIDR");
    assert_eq!(checked(&node_cidr, &[V4], V4), Ok(vec![wrong.to_owned()]), "nothing depends on it");
}

#[test]
fn unset_node_port_addresses_are_noted_as_in_kube_proxy() {
    let both = &[V4, V6];
    let unset =
        "nodePortAddresses: not set, so node ports are accepted on all local addresses; consider `primary`";
    assert_eq!(checked("", both, V4), Ok(vec![unset.to_owned()]));
    assert_eq!(checked("mode: nftables", both, V4), Ok(vec![]), "there it is primary");
    assert_eq!(
        checked("nodePortAddresses: [10.0.0.0/8]", both, V4),
        Ok(vec![]),
        "the cluster may be IPv4 only"
    );
    let pods = "clusterCIDR: 10.0.0.0/8,fd00::/48\n";
    let half =
        "nodePortAddresses: no CIDR is of IPv6, so node ports are accepted on all local IPv6 addresses";
    assert_eq!(
        checked(&format!("{pods}nodePortAddresses: [10.0.0.0/8]"), both, V4),
        Ok(vec![half.to_owned()])
    );
    assert_eq!(checked(&format!("{pods}nodePortAddresses: [10.0.0.0/8, '::/0']"), both, V4), Ok(vec![]));
    let one_family = "clusterCIDR: 10.0.0.0/8\nnodePortAddresses: [10.0.0.0/8]";
    assert_eq!(checked(one_family, both, V4), Ok(vec![]), "the cluster does not have the other family");
    let other =
        "nodePortAddresses: cluster is IPv4-primary, but all addresses are of the other IP family: fd00::/8";
    assert_eq!(checked("nodePortAddresses: ['fd00::/8']", both, V4), Ok(vec![other.to_owned()]));
}

#[test]
fn server_addresses_are_checked_if_one_family_is_served() {
    let servers = format!("{QUIET}healthzBindAddress: '[fd00::1]:1'");
    assert_eq!(checked(&servers, &[V4, V6], V4), Ok(vec![]));
    let wrong = "healthzBindAddress: cluster is IPv4-primary, but all addresses are of the other IP family: [fd00::1]:1";
    assert_eq!(checked(&servers, &[V4], V4), Ok(vec![wrong.to_owned()]), "unspecified ones are of both");
    let ipvs = format!("{QUIET}mode: ipvs\nipvs: {{excludeCIDRs: [fd00::/8]}}");
    let wrong =
        "ipvs.excludeCIDRs: cluster is IPv4-primary, but all addresses are of the other IP family: fd00::/8";
    assert_eq!(checked(&ipvs, &[V4], V4), Ok(vec![wrong.to_owned()]));
    assert_eq!(checked(&ipvs, &[V4, V6], V4), Ok(vec![]));
}
