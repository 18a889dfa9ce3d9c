//! What is committed is what is read back, by us and by nft.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use portolan_nft::{
    DumpedSet, Family, NetlinkTables, Rule, Selector, Set, Statement, Table, TableId, Tables, Transaction,
};
use portolan_testkit::fake::FakeTables;
use portolan_testkit::netns::{Namespace, isolated, list_ruleset, load_ruleset};

use crate::layout::{Layout, many_endpoints, tables};

#[test]
fn a_dump_equals_what_was_committed() {
    isolated(|| {
        let mut tables_ = NetlinkTables::open().unwrap();
        for id in tables() {
            let layout = Layout::new(id.family);
            let commit = tables_.commit(&layout.load(id.clone())).unwrap();
            assert!(commit.messages > 50 && commit.bytes > 4000, "{commit:?}");

            let dump = tables_.dump(&id).unwrap().unwrap();
            layout.assert_loaded(&dump);
            assert_eq!(dump.table.comment.as_deref(), Some("service proxy"));
        }
        let listed: Vec<TableId> = tables_.list().unwrap().into_iter().map(|(id, _)| id).collect();
        assert_eq!(listed, tables());
    });
}

#[test]
fn an_absent_table_has_no_dump_and_an_absent_set_neither() {
    isolated(|| {
        let mut tables_ = NetlinkTables::open().unwrap();
        let [id, _] = tables();
        assert_eq!(tables_.dump(&id).unwrap(), None);
        assert_eq!(tables_.dump_set(&id, "services").unwrap(), None);
        tables_.commit(&Layout::new(Family::Ip).load(id.clone())).unwrap();
        assert_eq!(tables_.dump_set(&id, "nothing").unwrap(), None);
        assert_eq!(tables_.dump_set(&id, "services").unwrap().unwrap().elements.len(), 3);
    });
}

#[test]
fn each_set_read_by_itself_is_as_in_the_dump_of_its_table() {
    isolated(|| {
        let mut tables_ = NetlinkTables::open().unwrap();
        // Another table of the first family has sets of the same names, which hold nothing.
        let namesake = TableId::new(Family::Ip, "portolan-2");
        for id in tables() {
            tables_.commit(&Layout::new(id.family).load(id.clone())).unwrap();
        }
        let mut empty = Transaction::new(namesake.clone());
        empty.add_table(Table::default());
        for (set, _) in Layout::new(Family::Ip).sets {
            empty.add_set(set);
        }
        tables_.commit(&empty).unwrap();

        let mut read = 0;
        for id in tables().into_iter().chain([namesake]) {
            for wanted in tables_.dump(&id).unwrap().unwrap().sets {
                let name = wanted.name.to_string();
                let found = tables_.dump_set(&id, &name).unwrap().unwrap();
                assert_eq!(
                    (&found.name, found.handle, &found.set),
                    (&wanted.name, wanted.handle, &wanted.set)
                );
                assert!(found.set.is_some(), "{id} {name}");
                let keys =
                    |set: &DumpedSet| set.elements.iter().map(|element| element.key).collect::<Vec<_>>();
                assert_eq!(keys(&found), keys(&wanted), "{id} {name}");
                read += 1;
            }
        }
        assert!(read > 20, "{read} sets");
    });
}

/// Found in a list of all sets, each would cost as much as all of them.
#[test]
fn reading_sets_one_by_one_costs_little_more_than_reading_all_at_once() {
    isolated(|| {
        let [id, _] = tables();
        let mut tables_ = NetlinkTables::open().unwrap();
        let sets: Vec<_> =
            (0..1_000).map(|number| Arc::new(Set::new(format!("s{number}"), [Selector::Daddr]))).collect();
        let mut load = Transaction::new(id.clone());
        load.add_table(Table::default());
        for set in &sets {
            load.add_set(Arc::clone(set));
        }
        tables_.commit(&load).unwrap();

        let began = Instant::now();
        assert_eq!(tables_.dump(&id).unwrap().unwrap().sets.len(), sets.len());
        let at_once = began.elapsed();
        let began = Instant::now();
        for set in &sets {
            assert_eq!(tables_.dump_set(&id, &set.name).unwrap().unwrap().set.as_ref(), Some(set));
        }
        let one_by_one = began.elapsed();
        assert!(one_by_one < at_once * 200, "{one_by_one:?} one by one, {at_once:?} at once");
    });
}

/// What nft lists must load into an empty namespace and be the same there.
#[test]
fn the_ruleset_as_nft_lists_it_loads_elsewhere_and_is_the_same() {
    isolated(|| {
        let here = Namespace::create("here").unwrap();
        let there = Namespace::create("there").unwrap();
        let [id, _] = tables();
        let layout = Layout::new(id.family);
        here.run(|| NetlinkTables::open().unwrap().commit(&layout.load(id.clone())).unwrap()).unwrap();

        let listing = list_ruleset(&here).unwrap();
        load_ruleset(&there, &listing).unwrap_or_else(|error| panic!("{error}\n{listing}"));

        let dump = there.run(|| NetlinkTables::open().unwrap().dump(&id).unwrap().unwrap()).unwrap();
        layout.assert_loaded(&dump);
    });
}

/// nft 1.0.6 aborts when it is given an `update` of a map whose data is an IPv6 address and a
/// port; it lists one as it should.
#[test]
fn the_ip6_ruleset_is_listed_whole_and_loads_elsewhere_but_for_what_nft_cannot_read() {
    isolated(|| {
        let here = Namespace::create("here").unwrap();
        let there = Namespace::create("there").unwrap();
        let [_, id] = tables();
        let layout = Layout::new(id.family);
        here.run(|| NetlinkTables::open().unwrap().commit(&layout.load(id.clone())).unwrap()).unwrap();

        let listing = list_ruleset(&here).unwrap();
        let update = "update @affinity { ct original ip6 saddr : ip6 daddr . tcp dport }";
        assert!(listing.contains(update), "{listing}");
        let readable: Vec<&str> = listing.lines().filter(|line| !line.contains(update)).collect();
        load_ruleset(&there, &readable.join("\n")).unwrap_or_else(|error| panic!("{error}\n{listing}"));

        let mut dump = there.run(|| NetlinkTables::open().unwrap().dump(&id).unwrap().unwrap()).unwrap();
        let mut wanted = layout;
        let (_, rules) = wanted.chains.iter_mut().find(|(chain, _)| &*chain.name == "learn").unwrap();
        rules.remove(0);
        // Without its rule nft keeps the set, so only the one rule is missing.
        dump.sets.retain(|set| &*set.name != "affinity");
        wanted.sets.retain(|(set, _)| &*set.name != "affinity");
        wanted.assert_loaded(&dump);
    });
}

/// Our own listing is nft's language, too.
#[test]
fn the_fakes_listing_loads_and_is_what_the_kernel_would_have_got() {
    isolated(|| {
        let [id, _] = tables();
        let layout = Layout::new(id.family);
        let mut fake = FakeTables::new();
        fake.commit(&layout.load(id.clone())).unwrap();
        let there = Namespace::create("there").unwrap();
        load_ruleset(&there, &fake.to_nft()).unwrap_or_else(|error| panic!("{error}\n{}", fake.to_nft()));

        let dump = there.run(|| NetlinkTables::open().unwrap().dump(&id).unwrap().unwrap()).unwrap();
        layout.assert_loaded(&dump);
    });
}

#[test]
fn the_fake_dumps_what_the_kernel_dumps() {
    isolated(|| {
        for id in tables() {
            let layout = Layout::new(id.family);
            let mut fake = FakeTables::new();
            fake.commit(&layout.load(id.clone())).unwrap();
            let mut kernel = NetlinkTables::open().unwrap();
            kernel.commit(&layout.load(id.clone())).unwrap();

            layout.assert_loaded(&fake.dump(&id).unwrap().unwrap());
            layout.assert_loaded(&kernel.dump(&id).unwrap().unwrap());
        }
    });
}

#[test]
fn a_table_of_another_make_is_read_as_foreign_where_it_is() {
    isolated(|| {
        let here = Namespace::create("here").unwrap();
        let text = "table ip portolan {
            set plain { type ipv4_addr; elements = { 192.0.2.1 } }
            chain in { type filter hook input priority 0; policy drop; tcp flags syn log prefix \"x\"; }
            chain route { type route hook output priority 0; }
        }";
        load_ruleset(&here, text).unwrap();
        let [id, _] = tables();

        let dump = here.run(|| NetlinkTables::open().unwrap().dump(&id).unwrap().unwrap()).unwrap();

        let plain = dump.set("plain").unwrap();
        assert_eq!((plain.set.as_ref(), plain.elements.len()), (None, 1));
        assert!(dump.chain("in").unwrap().foreign && dump.chain("route").unwrap().foreign);
        let rule = &dump.chain("in").unwrap().rules[0];
        let names: Vec<_> = rule.expressions.iter().map(|expression| expression.name().to_owned()).collect();
        assert!(names.iter().any(|name| name == "log"), "{names:?}");
        let without = Rule::new([Statement::Counter]);
        assert!(!rule.is(&without, id.family), "a rule with an expression that this crate does not write");
    });
}

/// Others' commits count as disturbance to the kernel, yet must not keep us from reading our table.
#[test]
fn a_table_is_read_while_another_changes_all_the_time() {
    isolated(|| {
        let [id, _] = tables();
        let layout = Layout::new(id.family);
        let mut ours = NetlinkTables::open().unwrap();
        ours.commit(&many_endpoints(&layout, &id, 8_000)).unwrap();
        let done = AtomicBool::new(false);
        let churn = || {
            let mut theirs = NetlinkTables::open().unwrap();
            let mut commits = 0;
            while !done.load(Ordering::Relaxed) {
                let mut change = Transaction::new(TableId::new(Family::Ip, "theirs"));
                change.add_table(Table::default()).delete_table();
                theirs.commit(&change).unwrap();
                commits += 1;
            }
            commits
        };
        thread::scope(|scope| {
            let busy = scope.spawn(churn);
            let read = ours.dump(&id);
            let set = ours.dump_set(&id, "endpoints");
            done.store(true, Ordering::Relaxed);
            assert_eq!(read.unwrap().unwrap().set("endpoints").unwrap().elements.len(), 8_002);
            assert_eq!(set.unwrap().unwrap().elements.len(), 8_002);
            let commits = busy.join().unwrap();
            assert!(commits > 10, "{commits} commits are no disturbance");
        });
    });
}
