//! kube-proxy's table, and ours when another mode runs.

use portolan_backend_nftables::stale::{self, StaleTableError, foreign_rules};
use portolan_core::backend::{CleanupReport, error_chain};
use portolan_core::{IpFamily, ProxyMode};
use portolan_nft::{Family, NetlinkTables, Table, TableFlags, TableId, Tables, Transaction};
use portolan_testkit::netns::{Program, isolated};
use portolan_testkit::upstream::{Service, nftables};

fn services() -> [Service; 2] {
    [
        Service::new("default/web", "10.96.0.10:80").endpoint("10.244.0.11:8080"),
        Service::new("default/web", "[fd00:10:96::10]:80").endpoint("[fd00:10:244::11]:8080"),
    ]
}

fn ruleset() -> String {
    Program::new("nft").args(["list", "ruleset"]).run().unwrap()
}

/// Removes stale tables while this mode runs.
fn remove(family: IpFamily) -> CleanupReport {
    stale::remove(Some(&ProxyMode::NFTABLES), family)
}

/// Removes those of both families, and gives how many were removed.
fn removed() -> usize {
    let reports = IpFamily::ALL.map(remove);
    assert!(reports.iter().all(|report| report.failures.is_empty() && report.kept.is_empty()), "{reports:?}");
    reports.iter().map(|report| report.removed).sum()
}

fn load(rules: &str) {
    Program::new("nft").args(["-f", "-"]).input(rules).run().unwrap();
}

const FOREIGN: &str = "table inet kube-proxy { set a { type ipv4_addr; elements = { 192.0.2.1 } }; }\n\
     table ip kube-proxy-2 { chain c { counter packets 5 bytes 500 accept; }; }\n\
     table ip6 portolan { chain c { type filter hook input priority 0; counter packets 6 bytes 600; }; }\n";

#[test]
fn both_tables_are_removed_and_tables_with_similar_names_kept() {
    isolated(|| {
        load(FOREIGN);
        let before = ruleset();
        for family in IpFamily::ALL {
            load(&nftables::ruleset(family, &services()));
        }
        assert_eq!(removed(), 2);
        assert_eq!(ruleset(), before);
        assert_eq!(removed(), 0);
    });
}

#[test]
fn only_the_table_of_the_given_family_is_removed() {
    isolated(|| {
        for family in IpFamily::ALL {
            load(&nftables::ruleset(family, &services()));
        }
        assert_eq!(remove(IpFamily::V6).removed, 1);
        assert!(ruleset().contains("table ip kube-proxy {"));
        assert!(!ruleset().contains("table ip6 kube-proxy {"));
    });
}

#[test]
fn a_table_owned_by_a_process_is_an_error_and_the_other_is_removed() {
    isolated(|| {
        let id = TableId::new(Family::Ip, "kube-proxy");
        let mut owner = NetlinkTables::open().unwrap();
        let mut transaction = Transaction::new(id);
        transaction.add_table(Table { flags: TableFlags::OWNED, comment: None });
        owner.commit(&transaction).unwrap();
        load(&nftables::ruleset(IpFamily::V6, &services()));

        let [v4, v6] = IpFamily::ALL.map(remove);

        let error = v4.failures[0].error.downcast_ref().unwrap();
        assert!(matches!(error, StaleTableError::Owned { .. }), "{error:?}");
        assert!(
            error_chain(error).contains("table ip kube-proxy belongs to a running process"),
            "{}",
            error_chain(error)
        );
        assert_eq!((v4.removed, v6.removed), (0, 1));
        drop(owner);
        assert_eq!(removed(), 1);
    });
}

#[test]
fn our_table_is_removed_unless_this_mode_runs() {
    isolated(|| {
        load("table ip portolan {}\ntable ip kube-proxy {}\n");
        assert_eq!(remove(IpFamily::V4).removed, 1);
        assert_eq!(ruleset(), "table ip portolan {\n}\n");
        load("table ip kube-proxy {}\n");
        assert_eq!(stale::remove(Some(&ProxyMode::IPTABLES), IpFamily::V4).removed, 2);
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn rules_that_kube_proxy_writes_are_followed() {
    let versions = || IpFamily::ALL.map(|family| foreign_rules(family).unwrap());
    let write = |services: &[Service]| {
        for family in IpFamily::ALL {
            load(&nftables::ruleset(family, services));
        }
    };
    isolated(|| {
        load(FOREIGN);
        assert_eq!(versions(), [None, None]);
        write(&services());
        let found = versions();
        assert!(found.iter().all(Option::is_some));
        assert_eq!(versions(), found);
        for family in ["ip", "ip6"] {
            Program::new("nft").args(["delete", "table", family, "kube-proxy"]).run().unwrap();
        }
        let more = [
            Service::new("default/more", "10.96.0.12:80").endpoint("10.244.0.13:8080"),
            Service::new("default/more", "[fd00:10:96::12]:80").endpoint("[fd00:10:244::13]:8080"),
        ];
        write(&[services(), more].concat());
        let written = versions();
        assert!(found.iter().zip(&written).all(|(old, new)| new.is_some() && old != new), "{written:?}");
        assert_eq!(removed(), 2);
        assert_eq!(versions(), [None, None]);
    });
}
