//! Without stale chains nothing is changed.

use portolan_testkit::netns::isolated;
use portolan_testkit::upstream::Xtables;

use crate::state::{BOTH, load_foreign, removed, ruleset, saved};

fn legacy_tables() -> String {
    ["ip_tables_names", "ip6_tables_names"]
        .map(|file| std::fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap())
        .concat()
}

#[test]
fn an_empty_network_stays_empty() {
    isolated(|| {
        assert_eq!((ruleset(), legacy_tables()), (String::new(), String::new()));
        assert_eq!(removed(BOTH), (0, Vec::new()));
        assert_eq!((ruleset(), legacy_tables()), (String::new(), String::new()));
    });
}

#[test]
fn tables_without_stale_chains_keep_every_byte_and_counter() {
    isolated(|| {
        for kind in Xtables::ALL {
            load_foreign(kind);
        }
        let all = || (Xtables::ALL.map(saved), ruleset(), legacy_tables());
        let before = all();
        assert_eq!(removed(BOTH), (0, Vec::new()));
        assert_eq!(all(), before);
    });
}
