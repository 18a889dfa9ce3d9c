//! Complete comparisons: what is replaced, what is changed, what is left alone.

use std::time::Duration;

use portolan_core::Protocol::Tcp;
use portolan_core::backend::{ErrorKind, Metric, Retry, Scope};
use portolan_nft::{Chain, Owner, TableDump, Transaction};
use portolan_testkit::objects::{ServiceBuilder, SliceBuilder, service, slice};

use super::intercepted::Intercepted;
use super::*;

const HOURS: Duration = Duration::from_secs(10_800);

fn cart() -> ServiceBuilder {
    service("shop/cart", "10.96.2.1").port("", Tcp, 80).affinity(HOURS)
}

fn pods(lasts: &[u8]) -> SliceBuilder {
    let pods = slice("shop/cart-1", "cart").port("", Tcp, 8080);
    lasts.iter().fold(pods, |pods, last| pods.on("n2", &format!("10.244.2.{last}")))
}

/// A node with a service that was applied, about to be compared completely.
fn applied() -> Node {
    let mut node = Node::new(config(), [cart().applied(), pods(&[1, 2]).applied()]);
    node.apply_all();
    node.state.forget_applied(IpFamily::V4);
    node
}

/// The tables of a node, of which something else is read than is there.
fn showing(node: &Node, show: fn(&mut TableDump)) -> Arc<Mutex<Intercepted>> {
    let reading_all = Box::new(show);
    Arc::new(Mutex::new(Intercepted { reading_all, ..Intercepted::new(node.tables().clone()) }))
}

#[test]
fn a_table_that_another_process_owns_is_neither_changed_nor_removed() {
    let node = applied();
    let tables = showing(&node, |dump| dump.owner = Owner::Other { port: 4711 });
    let mut backend = NftablesBackend::new(IpFamily::V4, Arc::clone(&tables));
    let (plan, changes) = (node.state.plan(IpFamily::V4), node.state.changes(IpFamily::V4));
    for result in [block_on(backend.apply(plan, changes)).map(drop), block_on(backend.cleanup())] {
        let error = result.unwrap_err();
        assert!(error.kind() == ErrorKind::Busy, "{error:?}");
        let why = portolan_core::backend::error_chain(&error);
        assert!(why.contains("ip portolan") && why.contains("4711"), "{why}");
    }
    assert_eq!(tables.lock().unwrap().tables.to_nft(), node.tables().to_nft());
}

#[test]
fn failed_syncs_and_removals_have_kube_proxys_metrics() {
    let node = applied();
    let (plan, changes) = (node.state.plan(IpFamily::V4), node.state.changes(IpFamily::V4));
    let metric = |of: &str, count| {
        Metric::increment(format!("kubeproxy_sync_proxy_rules_nftables_{of}_failures_total"), count)
    };
    let tables = showing(&node, |dump| dump.owner = Owner::Other { port: 4711 });
    let mut backend = NftablesBackend::new(IpFamily::V4, tables);
    assert_eq!(block_on(backend.apply(plan, changes)).unwrap_err().metrics(), [metric("sync", 1)]);
    let mut backend = NftablesBackend::new(IpFamily::V4, showing(&node, |_| {}));
    assert_eq!(block_on(backend.apply(plan, changes)).unwrap().metrics, [metric("cleanup", 0)]);
}

#[test]
fn an_incompatible_table_of_any_size_is_replaced_in_one_transaction() {
    type Sight = (&'static str, fn(&mut TableDump));
    let sights: [Sight; 4] = [
        ("a sleeping table", |dump| dump.table.flags.dormant = true),
        ("a chain of ours with a hook that cannot be read", |dump| {
            let ours = dump.chains.iter_mut().find(|found| &*found.chain.name == "nat-output");
            ours.unwrap().foreign = true;
        }),
        ("such a chain of another program", |dump| {
            let mut theirs = dump.chains[0].clone();
            theirs.chain = Chain::regular("theirs");
            theirs.foreign = true;
            dump.chains.push(theirs);
        }),
        ("a set of ours with an odd shape", |dump| dump.sets[0].set = None),
    ];
    for (what, show) in sights {
        let node = applied();
        let before = node.tables().to_nft();
        let tables = showing(&node, show);
        let mut backend = NftablesBackend::new(IpFamily::V4, Arc::clone(&tables)).with_transaction_limit(2);
        let (plan, changes) = (node.state.plan(IpFamily::V4), node.state.changes(IpFamily::V4));
        let report = block_on(backend.apply(plan, changes)).unwrap();
        assert_eq!(report.transactions, 1, "{what}");
        assert!(report.operations > 50, "{what}: {report:?}");
        assert_eq!(tables.lock().unwrap().tables.to_nft(), before, "{what}");
    }
}

#[test]
fn owned_table_is_not_owned_again() {
    let tables = Arc::new(Mutex::new(FakeTables::new()));
    let mut node = Node::on(tables, config(), [cart().applied(), pods(&[1, 2]).applied()]);
    node.apply_all();
    assert_eq!(node.restart().apply_all(), 0);
}

#[test]
fn changed_ranges_are_deleted_before_overlapping_ones_are_added() {
    let guarded = |ranges: &[&str]| {
        let guarded = service("ns/web", "10.96.0.1").port("", Tcp, 80).load_balancer_ip("203.0.113.80");
        ranges.iter().fold(guarded, |guarded, range| guarded.source_range(range)).applied()
    };
    let lists: [&[&str]; 4] = [
        &["198.51.100.0/24"],
        &["198.51.100.0/25", "198.51.100.192/26"],
        &["198.51.100.64/26", "198.51.100.192/26", "203.0.113.0/24"],
        &["198.51.0.0/16"],
    ];
    let pods = slice("ns/web-1", "web").port("", Tcp, 8080).on("n1", "10.244.0.1").applied();
    let mut node = Node::new(config(), [guarded(lists[0]), pods]);
    node.apply_all();
    for list in lists.iter().cycle().skip(1).take(4) {
        node.handle([guarded(list)]);
        node = node.restart();
        node.apply_all();
        node.assert_serves_the_plan();
    }
}

/// Whether the backend of IPv4 takes its table for intact.
fn is_intact(node: &mut Node) -> bool {
    block_on(node.backend(IpFamily::V4).is_intact()).unwrap()
}

#[test]
fn a_table_deleted_or_flushed_by_others_is_restored() {
    let damages: [fn(&mut Transaction); 2] = [
        |damage| {
            damage.delete_table();
        },
        |damage| {
            damage.flush_chain("nat-prerouting");
        },
    ];
    for damage in damages {
        let mut node = applied();
        node.apply();
        assert!(is_intact(&mut node));
        let mut transaction = Transaction::new(table(IpFamily::V4));
        damage(&mut transaction);
        node.tables().commit(&transaction).unwrap();
        assert!(!is_intact(&mut node));
        node.state.forget_applied(IpFamily::V4);
        node.apply();
        assert!(is_intact(&mut node));
        node.assert_serves_the_plan();
    }
}

#[test]
fn changes_are_written_while_the_table_cannot_be_read() {
    let mut state = State::new(config());
    let events = [cart().applied(), pods(&[1, 2]).applied()];
    portolan_testkit::objects::empty_lists().into_iter().chain(events).for_each(|event| state.handle(event));
    state.prepare();
    let tables = Intercepted::new(FakeTables::new().with_features(Features::default()));
    let tables = Arc::new(Mutex::new(tables));
    let mut backend = NftablesBackend::new(IpFamily::V4, Arc::clone(&tables));
    block_on(backend.apply(state.plan(IpFamily::V4), state.changes(IpFamily::V4))).unwrap();
    state.committed(IpFamily::V4);

    tables.lock().unwrap().is_unsteady = true;
    let everything = portolan_core::ChangeSet::complete();
    let error = block_on(backend.apply(state.plan(IpFamily::V4), &everything)).unwrap_err();
    assert_eq!(error.retry(), Retry::Unchanged, "{error}");
    state.handle(pods(&[1, 3]).applied());
    state.prepare();
    let report = block_on(backend.apply(state.plan(IpFamily::V4), state.changes(IpFamily::V4))).unwrap();
    assert_eq!(report.scope, Scope::Partial, "what was known still holds");
    let dump = tables.lock().unwrap().tables.dump(&table(IpFamily::V4)).unwrap().unwrap();
    assert_eq!(View::of(&dump).unwrap(), View::wanted(state.plan(IpFamily::V4)));
}
