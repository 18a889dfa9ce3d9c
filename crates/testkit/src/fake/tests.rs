use std::sync::Arc;

use super::*;
use portolan_nft::{
    Bytes, ChainKind, Element, ElementValue, Family, Hook, Selector, Set, Statement, TableFlags, Verdict,
};

mod element;

fn id() -> TableId {
    TableId::new(Family::Ip, "portolan")
}

fn services() -> Arc<Set> {
    Arc::new(Set::verdict_map("services", [Selector::Daddr]))
}

fn ranges() -> Arc<Set> {
    Arc::new(Set::intervals("ranges", [Selector::Saddr]))
}

fn address(last: u8) -> Bytes {
    Bytes::addr([10, 0, 0, last].into())
}

fn goto(chain: &str) -> Verdict {
    Verdict::Goto(chain.into())
}

fn dispatch() -> Rule {
    Rule::new([Statement::Vmap { key: vec![Selector::Daddr], map: "services".into() }])
}

/// `prerouting` dispatches by `services`, which leads to `cluster-1`.
fn loaded() -> FakeTables {
    let mut tables = FakeTables::new();
    change(&mut tables, |t| {
        t.add_table(Table::default())
            .add_chain(Chain::regular("cluster-1"))
            .add_chain(Chain::base("prerouting", ChainKind::Nat, Hook::Prerouting, -100))
            .add_set(services())
            .add_set(ranges())
            .add_rule("prerouting", dispatch())
            .add_elements(&services(), [Element::verdict(address(1), goto("cluster-1"))]);
    })
    .unwrap();
    tables
}

fn change(tables: &mut FakeTables, fill: impl FnOnce(&mut Transaction)) -> Result<Commit, NftError> {
    let mut transaction = Transaction::new(id());
    fill(&mut transaction);
    tables.commit(&transaction)
}

/// The error number a change is refused with; it must leave no trace.
#[track_caller]
fn refused(fill: impl FnOnce(&mut Transaction)) -> i32 {
    let mut tables = loaded();
    let before = (tables.to_nft(), tables.commit_count());
    let error = change(&mut tables, fill).unwrap_err();
    assert_eq!((tables.to_nft(), tables.commit_count()), before);
    error.errno().unwrap()
}

#[test]
fn what_is_there_alike_may_be_added_again() {
    let mut tables = loaded();
    let before = tables.to_nft();
    change(&mut tables, |t| {
        t.add_table(Table::default())
            .add_chain(Chain::regular("cluster-1"))
            .add_chain(Chain::regular("prerouting"))
            .add_set(services())
            .add_elements(&services(), [Element::verdict(address(1), goto("cluster-1"))]);
    })
    .unwrap();
    assert_eq!(tables.to_nft(), before);
}

#[test]
fn what_is_there_in_another_shape_may_not_be_added() {
    let moved = Chain::base("prerouting", ChainKind::Nat, Hook::Prerouting, -99);
    assert_eq!(refused(|t| drop_of(t.add_chain(moved))), libc::EEXIST);
    let wider = Set::verdict_map("services", [Selector::Daddr, Selector::ThDport]);
    assert_eq!(refused(|t| drop_of(t.add_set(wider))), libc::EEXIST);
    let other = Element::verdict(address(1), Verdict::Drop);
    assert_eq!(refused(|t| drop_of(t.add_elements(&services(), [other]))), libc::EEXIST);
}

fn drop_of(_: &mut Transaction) {}

#[test]
fn what_is_missing_can_be_neither_deleted_nor_used() {
    assert_eq!(refused(|t| drop_of(t.delete_chain("none"))), libc::ENOENT);
    assert_eq!(refused(|t| drop_of(t.flush_chain("none"))), libc::ENOENT);
    assert_eq!(refused(|t| drop_of(t.delete_set("none"))), libc::ENOENT);
    assert_eq!(refused(|t| drop_of(t.flush_set("none"))), libc::ENOENT);
    let none = [Element::key(address(9))];
    assert_eq!(refused(|t| drop_of(t.delete_elements(&services(), none))), libc::ENOENT);
    let jump = || Rule::new([Statement::Jump("none".into())]);
    assert_eq!(refused(|t| drop_of(t.add_rule("cluster-1", jump()))), libc::ENOENT);
    assert_eq!(refused(|t| drop_of(t.add_rule("none", Rule::default()))), libc::ENOENT);
    let dangling = Element::verdict(address(2), goto("none"));
    assert_eq!(refused(|t| drop_of(t.add_elements(&services(), [dangling]))), libc::ENOENT);
    let elsewhere = Rule::new([Statement::Vmap { key: vec![Selector::Daddr], map: "none".into() }]);
    assert_eq!(refused(|t| drop_of(t.add_rule("cluster-1", elsewhere))), libc::ENOENT);
}

#[test]
fn what_is_used_cannot_be_deleted_before_its_users() {
    assert_eq!(refused(|t| drop_of(t.delete_chain("cluster-1"))), libc::EBUSY);
    assert_eq!(refused(|t| drop_of(t.delete_set("services"))), libc::EBUSY);
    let mut tables = loaded();
    change(&mut tables, |t| {
        t.delete_elements(&services(), [Element::key(address(1))])
            .delete_chain("cluster-1")
            .flush_chain("prerouting")
            .delete_set("services")
            .delete_chain("prerouting");
    })
    .unwrap();
    assert_eq!(tables.table(&id()).unwrap().chains().count(), 0);
}

#[test]
fn a_chain_that_leads_to_itself_is_in_use_until_it_is_flushed() {
    let circle = |t: &mut Transaction| {
        t.add_chain(Chain::regular("a")).add_rule("a", Rule::new([Statement::Jump("a".into())]));
    };
    let deleted = |t: &mut Transaction| {
        circle(t);
        t.delete_chain("a");
    };
    assert_eq!(refused(deleted), libc::EBUSY);
    change(&mut loaded(), |t| {
        circle(t);
        t.flush_chain("a").delete_chain("a");
    })
    .unwrap();
}

#[test]
fn jumps_may_neither_loop_nor_reach_base_chains() {
    let loop_back = |t: &mut Transaction| {
        t.add_chain(Chain::regular("a"))
            .add_rule("cluster-1", Rule::new([Statement::Goto("a".into())]))
            .add_rule("a", dispatch());
    };
    assert_eq!(refused(loop_back), libc::ELOOP);
    let into_base = Rule::new([Statement::Jump("prerouting".into())]);
    assert_eq!(refused(|t| drop_of(t.add_rule("cluster-1", into_base))), libc::EOPNOTSUPP);
}

#[test]
fn jumps_nest_no_deeper_than_the_kernels_stack() {
    let tower = |height: usize| {
        move |t: &mut Transaction| {
            for floor in (0..height).rev() {
                t.add_chain(Chain::regular(format!("floor-{floor}")));
                if floor + 1 < height {
                    let up = Statement::Jump(format!("floor-{}", floor + 1).into());
                    t.add_rule(format!("floor-{floor}"), Rule::new([up]));
                }
            }
            t.add_rule("cluster-1", Rule::new([Statement::Jump("floor-0".into())]));
        }
    };
    assert_eq!(refused(tower(15)), libc::EMLINK);
    change(&mut loaded(), tower(14)).unwrap();
}

#[test]
fn statements_are_refused_where_their_hook_does_not_allow_them() {
    let masquerade = || Rule::new([Statement::Masquerade { random_fully: true }]);
    assert_eq!(refused(|t| drop_of(t.add_rule("cluster-1", masquerade()))), libc::EOPNOTSUPP);
    let reject = || Rule::new([Statement::Reject]);
    let postrouting = || Chain::base("postrouting", ChainKind::Nat, Hook::Postrouting, 100);
    let rejecting =
        |t: &mut Transaction| drop_of(t.add_chain(postrouting()).add_rule("postrouting", reject()));
    assert_eq!(refused(rejecting), libc::EOPNOTSUPP);
    change(&mut loaded(), |t| {
        t.add_chain(postrouting())
            .add_chain(Chain::base("input", ChainKind::Filter, Hook::Input, 0))
            .add_rule("postrouting", masquerade())
            .add_rule("input", reject());
    })
    .unwrap();
}

#[test]
fn a_refused_step_takes_the_steps_before_it_back() {
    let errno = refused(|t| {
        t.delete_elements(&services(), [Element::key(address(1))])
            .add_elements(&services(), [Element::verdict(address(2), Verdict::Drop)])
            .add_elements(&ranges(), [Element::prefix(address(0), 24)])
            .flush_chain("prerouting")
            .delete_chain("cluster-1")
            .add_chain(Chain::regular("new"))
            .flush_set("ranges")
            .delete_set("services")
            .ensure_table_absent(TableId::new(Family::Ip6, "other"))
            .delete_table()
            .delete_table();
    });
    assert_eq!(errno, libc::ENOENT);
}

#[test]
fn injected_failures_come_in_order_and_change_nothing() {
    let mut tables = loaded();
    tables.fail_next(libc::EPERM);
    tables.fail_next(libc::EAGAIN);
    let add = |t: &mut Transaction| drop_of(t.add_chain(Chain::regular("new")));
    assert!(change(&mut tables, add).unwrap_err().is_not_permitted());
    assert!(change(&mut tables, add).unwrap_err().is_retryable());
    assert!(tables.table(&id()).unwrap().chain("new").is_none());
    change(&mut tables, add).unwrap();
    assert!(tables.table(&id()).unwrap().chain("new").is_some());
}

#[test]
fn commits_and_steps_are_counted_and_empty_transactions_are_not() {
    let mut tables = loaded();
    let (commits, messages) = (tables.commit_count(), tables.message_count());
    assert_eq!(change(&mut tables, |_| ()).unwrap(), Commit::default());
    change(&mut tables, |t| {
        let drops = [5, 6].map(|last| Element::verdict(address(last), Verdict::Drop));
        t.add_elements(&services(), drops).add_chain(Chain::regular("new"));
    })
    .unwrap();
    assert_eq!((tables.commit_count(), tables.message_count()), (commits + 1, messages + 4));
}

#[test]
fn commit_reports_the_messages_and_bytes_that_the_kernel_would_get() {
    let mut tables = loaded();
    let add = |count: u8| {
        let elements = (0..count).map(|last| Element::verdict(address(100 + last), Verdict::Drop));
        let mut transaction = Transaction::new(id());
        transaction.add_elements(&services(), elements);
        transaction
    };
    let [one, three] = [1, 3].map(|count| tables.clone().commit(&add(count)).unwrap());
    assert_eq!((one.messages, three.messages), (1, 1), "elements of one set share a message");
    // An element is its nest (4), a key of 4 in two nests (12) and a verdict of one number in three (16).
    assert_eq!(three.bytes - one.bytes, 2 * (4 + 12 + 16));
    assert_eq!(tables.commit(&Transaction::new(id())).unwrap(), Commit::default());
}

#[test]
fn tables_can_be_owned_only_from_the_start_and_only_where_the_kernel_can() {
    let owned = || Table { flags: TableFlags::OWNED, comment: None };
    assert_eq!(refused(|t| drop_of(t.add_table(owned()))), libc::EOPNOTSUPP);
    let mut old = FakeTables::new().with_features(Features::default());
    assert!(change(&mut old, |t| drop_of(t.add_table(owned()))).unwrap_err().is_unsupported());
    let mut new = FakeTables::new();
    change(&mut new, |t| drop_of(t.add_table(owned()))).unwrap();
    assert_eq!(new.dump(&id()).unwrap().unwrap().owner, Owner::Us);
}

#[test]
fn the_listing_is_in_nfts_words_and_sorted() {
    let mut tables = loaded();
    change(&mut tables, |t| {
        let later = Element::verdict(address(3), Verdict::Drop).with_comment("default/web");
        t.add_elements(&services(), [later, Element::verdict(address(2), goto("cluster-1"))])
            .add_rule("cluster-1", Rule::new([Statement::MarkOr(0x4000)]).with_comment("all of it"));
    })
    .unwrap();
    let wanted = "\
table ip portolan {
	set ranges {
		typeof ip saddr
		flags interval
	}

	map services {
		typeof ip daddr : verdict
		elements = { 10.0.0.1 : goto cluster-1,
			     10.0.0.2 : goto cluster-1,
			     10.0.0.3 comment \"default/web\" : drop }
	}

	chain cluster-1 {
		meta mark set meta mark | 0x00004000 comment \"all of it\"
	}

	chain prerouting {
		type nat hook prerouting priority -100; policy accept;
		ip daddr vmap @services
	}

}
";
    assert_eq!(tables.to_nft(), wanted);
}

#[test]
fn base_chains_are_given_in_the_order_packets_meet_them() {
    let mut tables = loaded();
    change(&mut tables, |t| {
        t.add_chain(Chain::base("later", ChainKind::Filter, Hook::Prerouting, 0))
            .add_chain(Chain::base("first", ChainKind::Filter, Hook::Prerouting, -110))
            .add_chain(Chain::base("elsewhere", ChainKind::Filter, Hook::Input, -200));
    })
    .unwrap();
    let table = tables.table(&id()).unwrap();
    let names: Vec<&str> = table.hooked(Hook::Prerouting).iter().map(|chain| &*chain.chain().name).collect();
    assert_eq!(names, ["first", "prerouting", "later"]);
}
