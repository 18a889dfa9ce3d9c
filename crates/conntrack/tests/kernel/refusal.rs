//! What a cleaner says that may not do its work.

use std::error::Error as _;

use caps::{CapSet, Capability};
use portolan_conntrack::{Conntrack, ConntrackError};
use portolan_core::Protocol::Udp;
use portolan_core::{FlowCleaner, IpFamily};
use portolan_testkit::netns::isolated;
use portolan_testkit::objects::{service, slice};

use crate::cluster::Cluster;

#[test]
fn without_the_privilege_a_check_names_it_and_with_it_the_same_cleaner_works() {
    isolated(|| {
        let mut cluster = Cluster::new();
        let dns = service("kube-system/dns", "10.96.0.10").port("", Udp, 53).applied();
        let pods = slice("kube-system/dns-1", "dns").port("", Udp, 53).on("n1", "10.244.0.1").applied();
        let [(family, check), _] = cluster.checks([dns, pods]);
        assert_eq!(family, IpFamily::V4);
        let mut conntrack = Conntrack::new();

        caps::drop(None, CapSet::Effective, Capability::CAP_NET_ADMIN).unwrap();
        let error = conntrack.remove_stale(family, &check).unwrap_err();
        assert_eq!(error.to_string(), "could not count tracked flows");
        let source = error.source().unwrap();
        assert!(matches!(source.downcast_ref(), Some(ConntrackError::NotPermitted { .. })), "{source:?}");
        assert!(source.to_string().contains("CAP_NET_ADMIN"));

        caps::raise(None, CapSet::Effective, Capability::CAP_NET_ADMIN).unwrap();
        assert_eq!(conntrack.remove_stale(family, &check).unwrap(), 0);
    });
}
