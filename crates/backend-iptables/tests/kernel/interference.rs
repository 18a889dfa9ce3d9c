//! What other processes do to the tables is noticed, and what is none of ours costs next to nothing.

use std::future::poll_fn;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use portolan_backend_iptables::programs::{ProgramError, Variant};
use portolan_backend_iptables::tables::{Interference, Jump, Tables};
use portolan_backend_iptables::watched::Watched;
use portolan_core::{BackendError, IpFamily, ProxyBackend};
use portolan_testkit::block_on;
use portolan_testkit::netns::{Namespace, Program, Topology};
use portolan_testkit::shop::{config, web, web_pods};

use crate::node::{Node, options};

/// Counts how often all tables are read.
struct Counted {
    tables: Watched,
    reads: Arc<AtomicUsize>,
}

impl Tables for Counted {
    fn save(&mut self, each_line: &mut dyn FnMut(&str)) -> Result<(), ProgramError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.tables.save(each_line)
    }

    fn restore(
        &mut self,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), ProgramError> {
        self.tables.restore(write)
    }

    fn clean(&mut self) -> Result<(), BackendError> {
        self.tables.clean()
    }

    fn chains_at_once(&self) -> usize {
        self.tables.chains_at_once()
    }

    fn interference(&mut self, jumps: &[Jump]) -> Interference {
        self.tables.interference(jumps)
    }

    fn poll_interference(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.tables.poll_interference(context)
    }
}

/// A node that serves a Service, and the number of times that its tables were read.
struct Served {
    net: Topology,
    variant: Variant,
    node: Node<Counted>,
    reads: Arc<AtomicUsize>,
}

impl Served {
    fn new(variant: Variant) -> Self {
        let net = Topology::routed(2).unwrap();
        let reads = Arc::<AtomicUsize>::default();
        let around = |programs| Counted { tables: Watched::new(programs), reads: Arc::clone(&reads) };
        let mut node = Node::with(net.node(), variant, config(), options(), around);
        node.apply([web()].into_iter().chain(web_pods(&net, &[1])));
        Self { net, variant, node, reads }
    }

    fn iptables(&self, arguments: &str) {
        iptables(self.net.node(), self.variant, arguments);
    }

    /// How often an integrity check of both families reads all tables, having found all intact.
    fn reads_of_a_check(&mut self) -> usize {
        let before = self.reads.load(Ordering::Relaxed);
        assert!(self.node.is_intact());
        self.reads.load(Ordering::Relaxed) - before
    }
}

fn iptables(node: &Namespace, variant: Variant, arguments: &str) {
    let program = Program::new(format!("iptables-{variant}")).args(arguments.split(' '));
    node.run_program(&program).unwrap();
}

fn removed_jumps_and_rules_are_detected_and_repaired(variant: Variant) {
    let mut served = Served::new(variant);
    let wanted = IpFamily::ALL.map(|family| served.node.saved(family));
    for damage in [
        "-t nat -F",
        "-t nat -D PREROUTING 1",
        "-t nat -D OUTPUT 1",
        "-t nat -D POSTROUTING 1",
        "-D FORWARD 1",
        "-D INPUT 1",
        "-t nat -F PREROUTING",
        "-F KUBE-FORWARD",
        "-t nat -F KUBE-SERVICES",
        "-t nat -D KUBE-SERVICES 1",
        "-t mangle -X KUBE-PROXY-CANARY",
    ] {
        assert!(served.node.is_intact(), "before {damage}");
        served.iptables(damage);
        assert!(!served.node.is_intact(), "{damage}");
        served.node.forget();
        assert!(served.node.apply([]) > 0, "{damage}");
        assert_eq!(IpFamily::ALL.map(|family| served.node.saved(family)), wanted, "{damage}");
    }
    served.node.assert_sound();
}

fn damage_before_our_change_is_detected_after_it(variant: Variant) {
    let mut served = Served::new(variant);
    served.iptables("-t nat -D PREROUTING 1");
    let changed = web_pods(&served.net, &[1, 2]);
    assert!(served.node.apply(changed) > 0);
    assert!(!served.node.is_intact());
}

fn our_changes_do_not_cause_a_read_of_the_tables(variant: Variant) {
    let mut served = Served::new(variant);
    assert_eq!(served.reads_of_a_check(), 0);
    for pods in [&[1, 2][..], &[2], &[], &[1]] {
        let changed = web_pods(&served.net, pods);
        assert!(served.node.apply(changed) > 0);
        assert_eq!(served.reads_of_a_check(), 0, "{pods:?}");
    }
}

/// As a firewall manager does that writes its rules again and again.
fn foreign_changes_in_foreign_chains_are_no_damage(variant: Variant) {
    let mut served = Served::new(variant);
    for change in [
        "-t nat -N DOCKER",
        "-t nat -I PREROUTING 1 -m addrtype --dst-type LOCAL -j DOCKER",
        "-t nat -A DOCKER -p tcp --dport 81 -j RETURN",
        "-t nat -F DOCKER",
        "-t nat -D PREROUTING 1",
        "-t nat -X DOCKER",
        "-I INPUT -p tcp --dport 22 -j ACCEPT",
        "-D INPUT 1",
    ] {
        served.iptables(change);
        let most = usize::from(variant == Variant::Legacy);
        assert!(served.reads_of_a_check() <= most, "{change}");
        assert_eq!(served.reads_of_a_check(), 0, "once more after {change}");
    }
}

crate::with_both_kinds! {
    removed_jumps_and_rules_are_detected_and_repaired
    damage_before_our_change_is_detected_after_it
    our_changes_do_not_cause_a_read_of_the_tables
    foreign_changes_in_foreign_chains_are_no_damage
}

/// The runtime that waits learns of it from the kernel, not by asking.
#[test]
fn damage_in_tables_of_nf_tables_is_notified_at_once() {
    portolan_testkit::netns::isolated(|| {
        let mut served = Served::new(Variant::Nft);
        let node = served.net.node().clone();
        // Ours, and others' own, come first and are none.
        let changed = web_pods(&served.net, &[2]);
        assert!(served.node.apply(changed) > 0);
        served.iptables("-A INPUT -p tcp --dport 22 -j ACCEPT");
        let backend = served.node.backend(IpFamily::V4);
        block_on(async {
            let mut was_told = poll_fn(|context| Poll::Ready(backend.poll_foreign_change(context))).await;
            assert!(was_told.is_pending());
            iptables(&node, Variant::Nft, "-t nat -D PREROUTING 1");
            poll_fn(|context| backend.poll_foreign_change(context)).await;
            was_told = poll_fn(|context| Poll::Ready(backend.poll_foreign_change(context))).await;
            assert!(was_told.is_pending(), "each is reported once");
        });
        assert!(!served.node.is_intact());
    });
}
