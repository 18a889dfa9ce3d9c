//! A node's own firewall beside the proxy's tables, saved as the migration guide says and loaded again.

use std::ffi::OsString;

use portolan_testkit::netns::{
    Namespace, Portolan, Program, assert_ruleset_reloads, isolated, list_ruleset, load_ruleset,
};

use crate::files::{deployed, text};
use crate::node::PATIENCE;

/// A firewall as `nft list ruleset` prints it; its tables must not be taken for the proxy's.
const FIREWALL: &str = "table inet host {
\tset admins {
\t\ttype ipv4_addr
\t\telements = { 192.0.2.7 }
\t}

\tchain input {
\t\ttype filter hook input priority filter; policy accept;
\t\ttcp dport 22 ip saddr != @admins drop
\t}
}
table ip portolan-admin {
\tchain empty {
\t}
}
";

/// The command of the guide, up to the file that it writes.
fn command() -> String {
    let guide = text("docs/migrating-from-kube-proxy.md");
    let command = guide.lines().find_map(|line| line.strip_prefix("    nft list ruleset | ")).unwrap();
    let (filter, file) = command.split_once(" > ").unwrap();
    assert_eq!(file, "/etc/nftables.rules");
    format!("nft list ruleset | {filter}")
}

fn start(node: &Namespace) -> Portolan {
    let flags = ["--hostname-override", "node1", "--cluster-cidr", "10.244.0.0/16", "--mode", "nftables"];
    let manifests = ["--manifests".into(), deployed("examples/demo").into()];
    let mut proxy = Portolan::start(node, flags.map(OsString::from).into_iter().chain(manifests)).unwrap();
    proxy.wait_synced(PATIENCE).unwrap();
    proxy
}

/// Saves the firewall as the guide says; what is saved must be the firewall and load again, elsewhere and here.
fn assert_saved_firewall_loads(node: &Namespace, state: &str) {
    let saved = node.run_program(&Program::new("sh").args(["-c", &command()])).unwrap();
    assert_eq!(saved, FIREWALL, "{state}");
    let own_tables = "delete table inet host\ndelete table ip portolan-admin\n";
    let check = Program::new("nft").args(["-c", "-f", "-"]).input(saved.clone());
    let empty = Namespace::create(&format!("empty-{state}")).unwrap();
    empty.run_program(&check).unwrap();
    load_ruleset(&empty, &saved).unwrap();
    assert_eq!(list_ruleset(&empty).unwrap(), FIREWALL, "{state}");
    load_ruleset(node, &format!("{own_tables}{saved}")).unwrap_or_else(|error| panic!("{state}: {error}"));
    assert!(list_ruleset(node).unwrap().contains("table ip portolan {"), "{state}");
}

/// Whether the whole ruleset loads elsewhere depends on whether nft knows the flag that outlives the process.
fn assert_whole_ruleset_loads_where_nft_knows_its_flags(node: &Namespace) {
    let listing = list_ruleset(node).unwrap();
    if listing.contains("\tflags \n") {
        let check = Program::new("nft").args(["-c", "-f", "-"]).input(listing);
        let rejected = node.run_program(&check).unwrap_err().to_string();
        assert!(rejected.contains("unexpected newline"), "{rejected}");
    } else {
        assert_ruleset_reloads(node);
    }
}

#[test]
fn a_firewall_saved_as_the_guide_says_loads_while_the_proxy_runs_and_after_its_end() {
    isolated(|| {
        let node = Namespace::create("node").unwrap();
        node.ip("link set lo up").unwrap();
        load_ruleset(&node, FIREWALL).unwrap();

        let proxy = start(&node);
        assert_saved_firewall_loads(&node, "running");
        assert_ruleset_reloads(&node);
        proxy.terminate(PATIENCE).unwrap();
        assert_saved_firewall_loads(&node, "stopped");
        assert_whole_ruleset_loads_where_nft_knows_its_flags(&node);

        start(&node).kill().unwrap();
        assert_saved_firewall_loads(&node, "killed");
        assert_whole_ruleset_loads_where_nft_knows_its_flags(&node);
    });
}

/// A reload of the firewall that begins with `flush ruleset`, as distributions' own files do, leaves the proxy's tables.
#[test]
fn a_saved_firewall_that_flushes_everything_first_loads_beside_a_running_proxy() {
    isolated(|| {
        let node = Namespace::create("node").unwrap();
        node.ip("link set lo up").unwrap();
        load_ruleset(&node, FIREWALL).unwrap();
        let mut proxy = start(&node);
        let owned = list_ruleset(&node).unwrap().contains("flags owner");
        let saved = node.run_program(&Program::new("sh").args(["-c", &command()])).unwrap();

        load_ruleset(&node, &format!("flush ruleset\n{saved}")).unwrap();

        // Before Linux 6.9 nothing protects them, and they are written again.
        let present = || list_ruleset(&node).unwrap().contains("table ip portolan {");
        assert!(!owned || present());
        proxy.wait_until("the proxy has its tables", PATIENCE * 2, |_| present()).unwrap();
        assert!(list_ruleset(&node).unwrap().contains(FIREWALL.split("\n}\n").next().unwrap()));
    });
}
