//! What the kernel refuses is named, and changes nothing.

use std::sync::Arc;

use portolan_nft::{
    Bytes, Chain, ChainKind, Element, Family, Hook, NetlinkTables, NftError, Rule, Selector, Statement,
    Table, TableId, Tables, Transaction, Verdict,
};
use portolan_testkit::netns::isolated;

use crate::layout::{Layout, endpoint, tables, vip_key};

/// The layout loaded for IPv4.
fn loaded() -> (NetlinkTables, TableId, Layout) {
    let [id, _] = tables();
    let layout = Layout::new(id.family);
    let mut tables = NetlinkTables::open().unwrap();
    tables.commit(&layout.load(id.clone())).unwrap();
    (tables, id, layout)
}

fn slot(last: u8, index: u32) -> Bytes {
    *vip_key(Family::Ip, last, 17, 53).push_u32_host(index)
}

#[track_caller]
fn named(error: NftError) -> (&'static str, String, i32) {
    match error {
        NftError::Rejected { verb, object, errno, .. } => (verb, object, errno),
        other => panic!("no step named: {other:?}"),
    }
}

#[test]
fn a_clashing_element_is_named_among_thousands() {
    isolated(|| {
        let (mut tables, id, layout) = loaded();
        let endpoints = layout.set("endpoints");
        let fresh = (100..5100).map(|index| Element::data(slot(200, index), endpoint(Family::Ip, 1, 1)));
        let clash = Element::data(slot(10, 1), endpoint(Family::Ip, 66, 66));
        let mut transaction = Transaction::new(id.clone());
        transaction.add_elements(endpoints, fresh.clone().take(4000).chain([clash]).chain(fresh.skip(4000)));

        let error = tables.commit(&transaction).unwrap_err();

        assert!(error.is_exists() && !error.is_retryable());
        let object = "element 10.96.0.10 . udp . 53 . 1 of map ip portolan endpoints";
        assert_eq!(named(error), ("add", object.into(), libc::EEXIST));
        layout.assert_loaded(&tables.dump(&id).unwrap().unwrap());
    });
}

#[test]
fn a_missing_element_and_a_missing_range_are_named() {
    isolated(|| {
        let (mut tables, id, layout) = loaded();
        let delete = |set: &str, elements: Vec<Element>| {
            let mut transaction = Transaction::new(id.clone());
            transaction.delete_elements(layout.set(set), elements);
            transaction
        };
        let services = [10, 99, 11].map(|last| Element::key(vip_key(Family::Ip, last, 17, 53)));
        let error = tables.commit(&delete("services", services.to_vec())).unwrap_err();
        assert!(error.is_not_found());
        assert_eq!(named(error).1, "element 10.96.0.99 . udp . 53 of map ip portolan services");

        let pods = [244, 245].map(|net| Element::prefix(Bytes::addr([10, net, 0, 0].into()), 16));
        let error = tables.commit(&delete("pod-cidrs", pods.to_vec())).unwrap_err();
        assert_eq!(named(error).1, "element 10.245.0.0/16 of set ip portolan pod-cidrs");
        layout.assert_loaded(&tables.dump(&id).unwrap().unwrap());
    });
}

/// Adds one step to a transaction.
type Step<'a> = &'a dyn Fn(&mut Transaction);

#[test]
fn each_kind_of_step_is_named_with_its_error() {
    isolated(|| {
        let (mut tables, id, layout) = loaded();
        let mut refused = |fill: Step<'_>| {
            let mut transaction = Transaction::new(id.clone());
            fill(&mut transaction);
            let error = tables.commit(&transaction).unwrap_err();
            let (verb, object, errno) = named(error);
            (format!("{verb} {object}"), errno)
        };
        let nowhere = || Rule::new([Statement::Jump("nowhere".into())]);
        let missing_set = || Rule::new([Statement::Vmap { key: vec![Selector::Daddr], map: "none".into() }]);
        let drop = |key| Element::verdict(key, Verdict::Jump("nowhere".into()));
        let cases: [(Step<'_>, &str, i32); 7] = [
            (&|t| drop_of(t.delete_chain("cluster-2")), "delete chain ip portolan cluster-2", libc::EBUSY),
            (&|t| drop_of(t.delete_chain("nowhere")), "delete chain ip portolan nowhere", libc::ENOENT),
            (&|t| drop_of(t.flush_chain("nowhere")), "flush chain ip portolan nowhere", libc::ENOENT),
            (&|t| drop_of(t.delete_set("services")), "delete set ip portolan services", libc::EBUSY),
            (
                &|t| drop_of(t.add_rule("services", nowhere())),
                "add rule \"jump nowhere\" of chain ip portolan services",
                libc::ENOENT,
            ),
            (
                &|t| drop_of(t.add_rule("services", missing_set())),
                "add rule \"ip daddr vmap @none\" of chain ip portolan services",
                libc::ENOENT,
            ),
            (
                &|t| {
                    let element = drop(vip_key(Family::Ip, 77, 6, 80));
                    drop_of(t.add_elements(layout.set("services"), [element]));
                },
                "add element 10.96.0.77 . tcp . 80 of map ip portolan services",
                libc::ENOENT,
            ),
        ];
        for (fill, object, errno) in cases {
            assert_eq!(refused(fill), (object.to_owned(), errno));
        }
        layout.assert_loaded(&tables.dump(&id).unwrap().unwrap());
    });
}

fn drop_of(_: &mut Transaction) {}

#[test]
fn a_jump_back_to_where_it_came_from_is_refused() {
    isolated(|| {
        let (mut tables, id, layout) = loaded();
        let mut transaction = Transaction::new(id.clone());
        transaction.add_rule("cluster-2", Rule::new([Statement::Jump("services".into())]));
        let (verb, object, errno) = named(tables.commit(&transaction).unwrap_err());
        assert_eq!(verb, "add");
        assert_eq!(object, "rule \"jump services\" of chain ip portolan cluster-2");
        // Newer kernels only count how deep jumps nest.
        assert!([libc::ELOOP, libc::EMLINK].contains(&errno), "{errno}");
        layout.assert_loaded(&tables.dump(&id).unwrap().unwrap());
    });
}

#[test]
fn a_base_chain_cannot_move_to_another_priority() {
    isolated(|| {
        let (mut tables, id, layout) = loaded();
        let mut transaction = Transaction::new(id.clone());
        transaction.add_chain(Chain::base("nat-output", ChainKind::Nat, Hook::Output, 7));
        let error = tables.commit(&transaction).unwrap_err();
        // The second since Linux 6.4.
        assert!(error.is_exists() || error.is_unsupported(), "{error:?}");
        assert_eq!(named(error).1, "chain ip portolan nat-output");
        layout.assert_loaded(&tables.dump(&id).unwrap().unwrap());
    });
}

#[test]
fn the_first_refusal_is_named_and_the_others_are_counted() {
    isolated(|| {
        let (mut tables, id, _) = loaded();
        let mut transaction = Transaction::new(id);
        for index in 0..5 {
            transaction.delete_chain(format!("missing-{index}"));
        }
        let error = tables.commit(&transaction).unwrap_err();
        let text = error.to_string();
        assert_eq!(text, "kernel refused to delete chain ip portolan missing-0 (and 4 steps more)");
    });
}

#[test]
fn refusals_beyond_the_receive_buffer_neither_block_nor_spoil_the_next_commit() {
    isolated(|| {
        let (mut tables, id, layout) = loaded();
        let mut transaction = Transaction::new(id.clone());
        // Some 350 KB: more nacks than any receive buffer holds, in a batch that needs no privilege.
        for index in 0..8_000 {
            transaction.delete_chain(format!("missing-{index}"));
        }
        let error = tables.commit(&transaction).unwrap_err();
        assert!(named(error).1.starts_with("chain ip portolan missing-"));

        layout.assert_loaded(&tables.dump(&id).unwrap().unwrap());
        let mut next = Transaction::new(id.clone());
        next.add_chain(Chain::regular("next"));
        tables.commit(&next).unwrap();
        assert!(tables.dump(&id).unwrap().unwrap().chain("next").is_some());
    });
}

#[test]
fn mistakes_of_the_caller_are_named_without_asking_the_kernel() {
    isolated(|| {
        let (mut tables, id, layout) = loaded();
        let mut invalid = |fill: Step<'_>| {
            let mut transaction = Transaction::new(id.clone());
            fill(&mut transaction);
            tables.commit(&transaction).unwrap_err().to_string()
        };
        let services = layout.set("services");
        let short = Element::verdict(Bytes::port(80), Verdict::Drop);
        assert!(
            invalid(&|t| drop_of(t.add_elements(services, [short.clone()]))).contains("length of the set")
        );
        let valueless = Element::data(vip_key(Family::Ip, 1, 6, 1), Bytes::port(1));
        assert!(invalid(&|t| drop_of(t.add_elements(services, [valueless.clone()]))).contains("its value"));
        assert!(invalid(&|t| drop_of(t.delete_chain(""))).contains("1 to 255 bytes"));
        let long = Rule::new([Statement::Drop]).with_comment("x".repeat(129));
        assert!(invalid(&|t| drop_of(t.add_rule("services", long.clone()))).contains("comment"));
    });
}

#[test]
fn tables_go_with_all_they_hold_and_others_with_them() {
    isolated(|| {
        let (mut tables, id, _) = loaded();
        let other = TableId::new(Family::Ip6, "kube-proxy");
        let mut make = Transaction::new(other.clone());
        make.add_table(Table::default()).add_chain(Chain::regular("theirs"));
        tables.commit(&make).unwrap();

        let mut transaction = Transaction::new(id);
        transaction
            .delete_table()
            .ensure_table_absent(other)
            .ensure_table_absent(TableId::new(Family::Ip, "no"));
        tables.commit(&transaction).unwrap();

        assert_eq!(tables.list().unwrap(), []);
    });
}

/// Chains, sets and elements may be taken away in the transaction that takes their users away.
#[test]
fn order_within_a_transaction_decides_what_is_in_use() {
    isolated(|| {
        let (mut tables, id, layout) = loaded();
        let services = layout.set("services");
        let mut transaction = Transaction::new(id.clone());
        transaction
            .flush_set(Arc::clone(&services.name))
            .delete_chain("cluster-2")
            .flush_chain("services")
            .flush_chain("every-match")
            .delete_set(Arc::clone(&services.name));
        tables.commit(&transaction).unwrap();

        let dump = tables.dump(&id).unwrap().unwrap();
        assert!(dump.chain("cluster-2").is_none() && dump.set("services").is_none());
    });
}
