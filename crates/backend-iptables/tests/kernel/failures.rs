//! Lines that the real programs or the kernel turn down, and programs that are stopped half-way.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use portolan_backend_iptables::programs::{ProgramError, Programs, Variant};
use portolan_backend_iptables::tables::Tables;
use portolan_core::backend::{Retry, error_chain};
use portolan_core::event::Event;
use portolan_core::{BackendError, IpFamily, Protocol};
use portolan_testkit::netns::Namespace;
use portolan_testkit::objects::{service, slice};
use portolan_testkit::shop::config;

use crate::node::{Node, options};

/// What happens to input on its way to the programs.
#[derive(Debug, Clone, Default)]
enum Fault {
    #[default]
    None,
    /// A text is replaced by another.
    Replaced(String, String),
    /// The second half gets lost.
    CutOff,
}

/// The programs, with a fault before them.
struct Faulty {
    programs: Programs,
    fault: Arc<Mutex<Fault>>,
}

impl Tables for Faulty {
    fn save(&mut self, each_line: &mut dyn FnMut(&str)) -> Result<(), ProgramError> {
        self.programs.save(each_line)
    }

    fn restore(
        &mut self,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), ProgramError> {
        let fault = self.fault.lock().unwrap().clone();
        self.programs.restore(&mut |into| {
            let mut input = Vec::new();
            write(&mut input)?;
            let input = String::from_utf8(input).unwrap();
            match &fault {
                Fault::None => into.write_all(input.as_bytes()),
                Fault::Replaced(from, to) => into.write_all(input.replace(from, to).as_bytes()),
                Fault::CutOff => into.write_all(&input.as_bytes()[..input.len() / 2]),
            }
        })
    }

    fn clean(&mut self) -> Result<(), BackendError> {
        self.programs.clean()
    }

    fn chains_at_once(&self) -> usize {
        self.programs.chains_at_once()
    }
}

fn web(number: u8) -> [Event; 2] {
    let name = format!("shop/web-{number}");
    let pods = slice(&name, &format!("web-{number}")).port("http", Protocol::Tcp, 8080);
    [
        service(&name, &format!("10.96.1.{number}")).port("http", Protocol::Tcp, 80).applied(),
        pods.on("n2", &format!("10.244.1.{number}")).applied(),
    ]
}

fn faulty(variant: Variant) -> (Node<Faulty>, Arc<Mutex<Fault>>) {
    let fault = Arc::new(Mutex::new(Fault::None));
    let namespace = Namespace::create("node").unwrap();
    let around = |programs| Faulty { programs, fault: Arc::clone(&fault) };
    (Node::with(&namespace, variant, config(), options(), around), fault)
}

/// How long a lock may be waited for: the five seconds of the programs' option, and what they take themselves.
const WAIT: Range<Duration> = Duration::from_secs(4)..Duration::from_secs(20);

/// The rule that leads to the endpoint, as a program that stopped at it names it.
const AT_ENDPOINT: &str = " by `-A KUBE-SEP-SZV52YZVLRLM3WUC ";

/// Rules that are refused at three stages: read, checked by an extension, loaded into the kernel. With which rule is
/// named for it by iptables-nft and by iptables-legacy: none where the program names the line that ends the table. The
/// kernel checks what is masqueraded along the way from its hooks, so it is the first rule on that way.
const BAD: [(&str, [&str; 2]); 3] = [
    ("FROBNICATE", ["", AT_ENDPOINT]),
    ("DNAT --to-destination 10.244.1.7:99999", [AT_ENDPOINT, AT_ENDPOINT]),
    ("MASQUERADE", [" by `-I KUBE-SERVICES ", ""]),
];

fn a_service_whose_rule_is_rejected_is_named_and_all_others_are_served(variant: Variant) {
    for (bad, [by_nft, by_legacy]) in BAD {
        let (mut node, fault) = faulty(variant);
        let good = "DNAT --to-destination 10.244.1.7:8080";
        *fault.lock().unwrap() = Fault::Replaced(good.into(), bad.into());
        node.handle((1..12).flat_map(web));
        let text = error_chain(&node.try_apply(IpFamily::V4).unwrap_err());
        let named = if variant == Variant::Nft { by_nft } else { by_legacy };
        assert!(text.contains(&format!("serve shop/web-7:http tcp{named}")), "{bad}: {text}");
        let saved = node.saved(IpFamily::V4);
        for number in 1..12 {
            let endpoint = format!("--to-destination 10.244.1.{number}:8080");
            assert_eq!(saved.contains(&endpoint), number != 7, "{number}");
        }
        *fault.lock().unwrap() = Fault::None;
        node.apply([]);
        node.assert_sound();
        node.namespace
            .run_program(&portolan_testkit::netns::Program::new("ip").args(["netns", "del", "node"]))
            .unwrap();
    }
}

fn truncated_input_changes_nothing_and_is_repeated(variant: Variant) {
    let (mut node, fault) = faulty(variant);
    node.apply((1..6).flat_map(web));
    let before = node.saved(IpFamily::V4);
    *fault.lock().unwrap() = Fault::CutOff;
    node.handle((4..40).flat_map(web));
    node.try_apply(IpFamily::V4).unwrap_err();
    assert_eq!(node.saved(IpFamily::V4), before);
    *fault.lock().unwrap() = Fault::None;
    node.apply([]);
    node.assert_sound();
}

fn a_killed_restore_is_completed_by_the_next_apply(variant: Variant) {
    let namespace = Namespace::create("node").unwrap();
    let mut outcomes = [0, 0];
    for millis in [1, 2, 4, 8, 16, 32] {
        let hasty = |programs: Programs| programs.with_time_limit(Duration::from_millis(millis));
        let mut node = Node::with(&namespace, variant, config(), options(), hasty);
        node.handle((1..200).flat_map(web));
        outcomes[usize::from(node.try_apply(IpFamily::V4).is_ok())] += 1;
    }
    assert!(outcomes[0] > 0, "nothing was ever killed");
    let mut node = Node::new(&namespace, variant, config());
    node.apply((1..200).flat_map(web));
    node.assert_sound();
}

#[test]
fn a_table_that_iptables_cannot_show_is_an_error() {
    portolan_testkit::netns::isolated(|| {
        let (mut node, _) = faulty(Variant::Nft);
        node.apply((1..4).flat_map(web));
        let foreign = "add rule ip nat PREROUTING numgen inc mod 2 vmap { 0 : accept, 1 : accept }";
        let nft = portolan_testkit::netns::Program::new("nft").args([foreign]);
        node.namespace.run_program(&nft).unwrap();
        // Changes go on, for they take no reading.
        node.apply(web(9));
        node.forget();
        let text = error_chain(&node.try_apply(IpFamily::V4).unwrap_err());
        assert!(text.contains("table nat has rules in it that iptables did not write"), "{text}");
    });
}

/// Has the lock of the tables that iptables-legacy waits for, as another program would, until it is dropped.
fn lock() -> File {
    let lock = File::create("/run/xtables.lock").unwrap();
    lock.lock().unwrap();
    lock
}

#[test]
fn a_held_lock_is_waited_for_and_then_retried() {
    portolan_testkit::netns::isolated(|| {
        let (mut node, _) = faulty(Variant::Legacy);
        node.apply(web(1));
        let before = node.saved(IpFamily::V4);
        let held = lock();
        node.handle(web(2));
        let start = Instant::now();
        let error = node.try_apply(IpFamily::V4).unwrap_err();
        let waited = start.elapsed();
        assert!(WAIT.contains(&waited), "{waited:?}");
        assert_eq!(error.retry(), Retry::SameChanges);
        let text = error_chain(&error);
        assert!(text.contains("the lock of iptables") && text.contains("xtables lock"), "{text}");
        assert_eq!(node.saved(IpFamily::V4), before);
        drop(held);
        node.apply([]);
        assert!(node.saved(IpFamily::V4).contains("--to-destination 10.244.1.2:8080"));
        node.assert_sound();
    });
}

#[test]
fn a_lock_released_in_time_only_delays_a_change() {
    portolan_testkit::netns::isolated(|| {
        let (mut node, _) = faulty(Variant::Legacy);
        node.apply(web(1));
        let held = lock();
        node.handle(web(2));
        let start = Instant::now();
        let holder = thread::spawn(move || {
            thread::sleep(Duration::from_secs(1));
            drop(held);
        });
        let report = node.try_apply(IpFamily::V4).unwrap();
        assert!(start.elapsed() >= Duration::from_secs(1));
        assert!(report.operations > 0);
        holder.join().unwrap();
        node.apply([]);
        node.assert_sound();
    });
}

crate::with_both_kinds! {
    a_service_whose_rule_is_rejected_is_named_and_all_others_are_served
    truncated_input_changes_nothing_and_is_repeated
    a_killed_restore_is_completed_by_the_next_apply
}
