//! Looking at rules from outside.

use std::panic::catch_unwind;

use portolan_testkit::netns::{Namespace, assert_ruleset_reloads, isolated, list_ruleset, load_ruleset};

const RULES: &str = "table ip test {
	map slots {
		type ipv4_addr . inet_proto . inet_service : verdict
		elements = { 10.96.0.10 . tcp . 80 : goto twice }
	}

	chain twice {
		meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.244.0.11 . 8080, 1 : 10.244.0.12 . 8080 }
	}
}
";

#[test]
fn namespaces_have_rules_of_their_own() {
    isolated(|| {
        let (one, other) = (Namespace::create("one").unwrap(), Namespace::create("other").unwrap());

        load_ruleset(&one, "table ip test").unwrap();

        assert!(list_ruleset(&one).unwrap().contains("table ip test"));
        assert_eq!(list_ruleset(&other).unwrap(), "");
    });
}

#[test]
fn listed_rules_reload_more_than_once() {
    isolated(|| {
        let node = Namespace::create("node").unwrap();
        load_ruleset(&node, RULES).unwrap();

        let listing = assert_ruleset_reloads(&node);

        assert!(listing.contains("10.96.0.10 . tcp . 80 : goto twice"), "{listing}");
        assert_eq!(assert_ruleset_reloads(&node), listing);
    });
}

#[test]
fn rules_that_do_not_reload_fail_the_assertion() {
    isolated(|| {
        let node = Namespace::create("node").unwrap();
        load_ruleset(&node, RULES).unwrap();
        // Taking away what the reload needs is the plainest way to a listing that does not load.
        Namespace::create("node-reloaded").unwrap();

        let panic = catch_unwind(|| assert_ruleset_reloads(&node)).unwrap_err();

        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.contains("do not load"), "{message}");
    });
}

#[test]
fn refused_rules_come_with_the_words_of_nft() {
    isolated(|| {
        let node = Namespace::create("node").unwrap();

        let error = load_ruleset(&node, "table ip test {\nchain c {\njump nowhere\n}\n}").unwrap_err();

        assert!(error.to_string().contains("No such file or directory"), "{error}");
    });
}
