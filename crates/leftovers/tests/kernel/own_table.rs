//! The table of the nftables mode.

use portolan_core::IpFamily;
use portolan_core::backend::error_chain;
use portolan_leftovers::{LeftoverError, Part, remove};
use portolan_nft::{Family, NetlinkTables, Table, TableFlags, TableId, Tables, Transaction};
use portolan_testkit::netns::{Program, isolated};
use portolan_testkit::upstream::nftables;

use crate::state::{count, removed, ruleset, services};

fn load(rules: &str) {
    Program::new("nft").args(["-f", "-"]).input(rules).run().unwrap();
}

const FOREIGN: &str = "table inet kube-proxy { set a { type ipv4_addr; elements = { 192.0.2.1 } }; }\n\
     table ip kube-proxy-2 { chain c { counter packets 5 bytes 500 accept; }; }\n\
     table ip6 portolan { chain c { type filter hook input priority 0; counter packets 6 bytes 600; }; }\n";

#[test]
fn both_tables_go_and_tables_with_like_names_stay() {
    isolated(|| {
        load(FOREIGN);
        let before = ruleset();
        for family in IpFamily::ALL {
            load(&nftables::ruleset(family, &services()));
        }
        assert_eq!(removed(&[Part::KubeProxyNftables]), (2, Vec::new()));
        assert_eq!(ruleset(), before);
        assert_eq!(removed(&[Part::KubeProxyNftables]), (0, Vec::new()));
    });
}

#[test]
fn only_the_families_and_parts_that_are_asked_for_go() {
    isolated(|| {
        for family in IpFamily::ALL {
            load(&nftables::ruleset(family, &services()));
        }
        assert_eq!(removed(&[Part::Iptables, Part::Ipvs]), (0, Vec::new()));
        assert_eq!(count(&remove(&[Part::KubeProxyNftables], &[IpFamily::V6])), 1);
        assert!(ruleset().contains("table ip kube-proxy {"));
        assert!(!ruleset().contains("table ip6 kube-proxy {"));
    });
}

#[test]
fn a_table_that_a_process_owns_is_an_error_that_says_so_and_the_other_goes() {
    isolated(|| {
        let id = TableId::new(Family::Ip, "kube-proxy");
        let mut owner = NetlinkTables::open().unwrap();
        let mut transaction = Transaction::new(id);
        transaction.add_table(Table { flags: TableFlags::OWNED, comment: None });
        owner.commit(&transaction).unwrap();
        load(&nftables::ruleset(IpFamily::V6, &services()));

        let outcomes = remove(&[Part::KubeProxyNftables], &IpFamily::ALL);

        let [v4, v6] = &outcomes[..] else { panic!("{outcomes:?}") };
        let error = v4.result.as_ref().unwrap_err();
        assert!(matches!(error, LeftoverError::Owned { .. }), "{error:?}");
        assert!(
            error_chain(error).contains("table ip kube-proxy belongs to a running process"),
            "{}",
            error_chain(error)
        );
        assert_eq!((v4.removed, v6.removed), (0, 1));
        drop(owner);
        assert_eq!(removed(&[Part::KubeProxyNftables]).0, 1);
    });
}
