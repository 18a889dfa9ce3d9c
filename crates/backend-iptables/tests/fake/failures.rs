//! Programs that fail, and lines that are rejected.

use portolan_core::Protocol::Tcp;
use portolan_core::backend::{Metric, MetricValue, Retry, error_chain};
use portolan_testkit::objects::{service, slice};

use super::*;
use crate::kernel::{locked, out_of_memory};

fn web(number: u8) -> [Event; 2] {
    let name = format!("shop/web-{number}");
    [
        service(&name, &format!("10.96.1.{number}")).port("http", Tcp, 80).applied(),
        slice(&name, &format!("web-{number}"))
            .port("http", Tcp, 8080)
            .on("n2", &format!("10.244.1.{number}"))
            .applied(),
    ]
}

fn has(node: &mut Node, number: u8) -> bool {
    let rules = node.rules(IpFamily::V4);
    rules.values().flatten().any(|rule| rule.contains(&format!("10.244.1.{number}:8080")))
}

#[test]
fn a_rejected_service_is_left_out_and_named_with_or_without_a_line_number() {
    for is_silent in [false, true] {
        let mut node = Node::new((1..20).flat_map(web));
        {
            let fake = node.fake(IpFamily::V4);
            let mut kernel = fake.kernel();
            kernel.refused = Some("--to-destination 10.244.1.7:8080".into());
            kernel.is_silent = is_silent;
        }
        let error = node.try_apply(IpFamily::V4).unwrap_err();
        assert_eq!(error.retry(), Retry::CompareAll);
        let text = error_chain(&error);
        assert!(text.contains("refused to serve shop/web-7:http tcp"), "{text}");
        assert_eq!(!is_silent, text.contains("by `-A KUBE-SEP-"), "{text}");
        for number in 1..20 {
            assert_eq!(has(&mut node, number), number != 7, "{number}");
        }
        // Others change meanwhile.
        node.handle(web(30)).try_apply(IpFamily::V4).unwrap_err();
        assert!(has(&mut node, 30));
        // And then it is taken.
        node.fake(IpFamily::V4).kernel().refused = None;
        node.apply();
        node.assert_as_from_scratch((1..20).chain([30]).flat_map(web));
    }
}

#[test]
fn several_rejected_services_are_counted() {
    let mut node = Node::new((1..20).flat_map(web));
    node.fake(IpFamily::V4).kernel().refused = Some("--to-destination 10.244.1.1".into());
    let text = error_chain(&node.try_apply(IpFamily::V4).unwrap_err());
    // 1 and 10 to 19.
    assert!(text.contains("and 10 other service ports"), "{text}");
    assert!(has(&mut node, 2) && !has(&mut node, 12));
}

#[test]
fn a_rejected_change_keeps_the_previous_endpoints() {
    let mut node = Node::new(web(1));
    node.apply();
    node.fake(IpFamily::V4).kernel().refused = Some("--to-destination 10.244.1.2:8080".into());
    let other = slice("shop/web-1", "web-1").port("http", Tcp, 8080).on("n2", "10.244.1.2").applied();
    node.handle([other]).try_apply(IpFamily::V4).unwrap_err();
    assert!(has(&mut node, 1), "the endpoint that it had is not taken from it");
}

#[test]
fn a_lack_of_resources_names_no_service() {
    let mut node = Node::new(web(1));
    for (failure, retry) in
        [(locked as fn() -> _, Retry::SameChanges), (out_of_memory as fn() -> _, Retry::Unchanged)]
    {
        // The first that fails is what reads, the second what writes.
        for at in 0..2 {
            let fake = node.fake(IpFamily::V4);
            if at == 0 {
                fake.kernel().failures.push(failure);
            } else {
                fake.kernel().dies_after = Some(0);
            }
            let error = node.try_apply(IpFamily::V4).unwrap_err();
            if at == 0 {
                assert_eq!(error.retry(), retry, "{error:?}");
            }
            assert!(!error_chain(&error).contains("shop/web"), "{}", error_chain(&error));
            fake.kernel().dies_after = None;
        }
    }
    node.apply();
    assert!(has(&mut node, 1));
}

#[test]
fn failed_restores_are_counted_and_those_of_changes_twice() {
    let counts = |metrics: &[Metric]| {
        ["restore", "partial_restore"].map(|of| {
            let name = format!("kubeproxy_sync_proxy_rules_iptables_{of}_failures_total");
            metrics.iter().find(|metric| metric.name == name).unwrap().value
        })
    };
    let counted = |restores, partial| [restores, partial].map(MetricValue::Increment);
    let mut node = Node::new(web(1));
    node.fake(IpFamily::V4).kernel().failures.push(locked);
    assert_eq!(counts(node.try_apply(IpFamily::V4).unwrap_err().metrics()), counted(1, 0));
    assert_eq!(counts(&node.try_apply(IpFamily::V4).unwrap().metrics), counted(0, 0));
    node.fake(IpFamily::V4).kernel().failures.push(locked);
    let error = node.handle(web(2)).try_apply(IpFamily::V4).unwrap_err();
    assert_eq!(counts(error.metrics()), counted(1, 1));
}

#[test]
fn a_change_on_damaged_rules_causes_a_full_sync() {
    let mut node = Node::new((1..4).flat_map(web));
    node.apply();
    node.fake(IpFamily::V4).kernel().tables.get_mut("nat").unwrap().get_mut("KUBE-SERVICES").unwrap().clear();
    let gone = Event::Service(Change::Deleted(portolan_core::ObjectName::new("shop", "web-2")));
    let report = node.handle([gone]).apply();
    assert_eq!(report.scope, portolan_core::backend::Scope::Full);
    node.assert_as_from_scratch([1, 3].into_iter().flat_map(web));
}

#[test]
fn counters_that_the_programs_do_not_know_are_left_out() {
    use portolan_backend_iptables::options::{Counters, Options};

    let mut node = Node::new(web(1));
    let fake = node.fake(IpFamily::V4);
    let counters = Counters { invalid_dropped: true, localhost_accepted: true };
    *node.backend(IpFamily::V4) =
        IptablesBackend::new(IpFamily::V4, fake.clone(), Options { counters, ..Options::default() });
    fake.kernel().refused = Some("--nfacct-name".into());
    node.apply();
    assert!(has(&mut node, 1));
    node.assert_as_from_scratch(web(1));
}

#[test]
fn changes_are_written_while_the_tables_cannot_be_read() {
    let mut node = Node::new(web(1));
    node.apply();
    let fake = node.fake(IpFamily::V4);
    fake.kernel().failures.push(out_of_memory);
    let everything = portolan_core::ChangeSet::complete();
    let compared =
        node.try_apply_by(IpFamily::V4, |backend, plan, _| block_on(backend.apply(plan, &everything)));
    assert_eq!(compared.unwrap_err().retry(), Retry::Unchanged);
    let report = node.handle(web(2)).apply();
    assert_eq!(report.scope, portolan_core::backend::Scope::Partial);
    assert!(has(&mut node, 1) && has(&mut node, 2));
}
