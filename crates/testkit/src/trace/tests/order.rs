//! Which chains see a packet, in which order, and where verdicts lead.

use super::*;

/// A table in which every hook has a filter chain of its name that counts.
fn every_hook(t: &mut Transaction, suffix: &str, priority: i32) {
    for hook in [Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting] {
        let name = format!("{}{suffix}", hook.as_str());
        base(t, (&name, ChainKind::Filter, hook, priority), [vec![Statement::Counter]]);
    }
}

/// The chains of a packet through all hooks, and a map that sends port 1 to a pod and port 2 to the node.
fn hooks_on_the_way(packet: &Packet) -> Vec<String> {
    let tables = table(|t| {
        every_hook(t, "", 0);
        add_dnat_map(t, &[(1, pod(1)), (2, at("192.0.2.1:80"))]);
        base(t, ("nat-in", ChainKind::Nat, Hook::Prerouting, -100), [vec![dnat()]]);
        base(t, ("nat-out", ChainKind::Nat, Hook::Output, -100), [vec![dnat()]]);
    });
    chains(&outcome(&tables, packet)).into_iter().map(str::to_owned).collect()
}

#[test]
fn arriving_packets_go_in_or_through_by_their_translated_destination() {
    let pass = ["prerouting", "forward", "postrouting"];
    assert_eq!(hooks_on_the_way(&arriving("198.51.100.1:80")), pass);
    assert_eq!(hooks_on_the_way(&arriving("192.0.2.1:80")), ["prerouting", "input"]);
    let translated = ["nat-in", "prerouting", "forward", "postrouting"];
    assert_eq!(hooks_on_the_way(&arriving("192.0.2.1:1")), translated);
    assert_eq!(hooks_on_the_way(&arriving("10.96.0.1:2")), ["nat-in", "prerouting", "input"]);
}

#[test]
fn sent_packets_leave_or_come_back_by_their_translated_destination() {
    let back = ["output", "postrouting", "prerouting", "input"];
    assert_eq!(hooks_on_the_way(&sent("198.51.100.1:80")), ["output", "postrouting"]);
    assert_eq!(hooks_on_the_way(&sent("127.0.0.1:80")), back);
    assert_eq!(hooks_on_the_way(&sent("127.0.0.1:1")), ["nat-out", "output", "postrouting"]);
    // Translated on the way out, so prerouting's nat chain has nothing left to say.
    let translated = ["nat-out", "output", "postrouting", "prerouting", "input"];
    assert_eq!(hooks_on_the_way(&sent("10.96.0.1:2")), translated);
}

#[test]
fn chains_of_all_tables_run_by_priority() {
    let mut tables = table(|t| {
        for (name, priority) in [("late", 20), ("first", -300), ("middle", 0)] {
            base(t, (name, ChainKind::Filter, Hook::Prerouting, priority), [vec![Statement::Counter]]);
        }
    });
    add_table(&mut tables, TableId::new(Family::Ip, "a"), |t| {
        for (name, priority) in [("last", 30), ("early", -10)] {
            base(t, (name, ChainKind::Filter, Hook::Prerouting, priority), [vec![Statement::Counter]]);
        }
    });
    let order = ["first", "early", "middle", "late", "last"];
    assert_eq!(chains(&outcome(&tables, &arriving(VIP))), order);
}

#[test]
fn nat_chains_run_together_at_conntracks_priority_and_end_with_the_first_that_translates() {
    let mut tables = table(|t| {
        add_dnat_map(t, &[(80, pod(1))]);
        let count = || [vec![Statement::Counter]];
        base(t, ("before", ChainKind::Filter, Hook::Prerouting, -110), count());
        base(t, ("after", ChainKind::Filter, Hook::Prerouting, -90), count());
        base(t, ("nat-a", ChainKind::Nat, Hook::Prerouting, -150), [vec![Statement::Accept]]);
        base(t, ("nat-c", ChainKind::Nat, Hook::Prerouting, -50), [vec![dnat()]]);
        base(t, ("nat-b", ChainKind::Nat, Hook::Prerouting, -140), count());
        base(t, ("nat-d", ChainKind::Nat, Hook::Prerouting, 0), count());
    });
    add_table(&mut tables, TableId::new(Family::Ip, "u"), |t| {
        base(t, ("nat-u", ChainKind::Nat, Hook::Prerouting, -145), [vec![Statement::Counter]]);
    });
    let translated = outcome(&tables, &arriving(VIP));
    assert_eq!(chains(&translated), ["before", "nat-a", "nat-u", "nat-b", "nat-c", "after"]);
    let other = outcome(&tables, &arriving("10.96.0.1:81"));
    assert_eq!(chains(&other), ["before", "nat-a", "nat-u", "nat-b", "nat-d", "after"]);
}

#[test]
fn source_nat_has_a_priority_of_its_own_and_ends_with_the_first_chain_that_masquerades() {
    let tables = table(|t| {
        let count = || [vec![Statement::Counter]];
        base(t, ("before", ChainKind::Filter, Hook::Postrouting, 99), count());
        base(t, ("after", ChainKind::Filter, Hook::Postrouting, 101), count());
        let masquerade = vec![to_port(80), Statement::Masquerade { random_fully: false }];
        base(t, ("nat-a", ChainKind::Nat, Hook::Postrouting, 0), [masquerade]);
        base(t, ("nat-b", ChainKind::Nat, Hook::Postrouting, 1), count());
    });
    assert_eq!(chains(&outcome(&tables, &arriving(VIP))), ["before", "nat-a", "after"]);
    assert_eq!(chains(&outcome(&tables, &arriving("10.96.0.1:81"))), ["before", "nat-b", "after"]);
}

#[test]
fn the_nat_chain_of_input_sees_what_arrives_but_not_what_the_node_sends_itself() {
    let tables = table(|t| {
        base(t, ("nat-input", ChainKind::Nat, Hook::Input, 100), [vec![Statement::Counter]]);
    });
    assert_eq!(chains(&outcome(&tables, &arriving("192.0.2.1:80"))), ["nat-input"]);
    assert_eq!(chains(&outcome(&tables, &sent("192.0.2.1:80"))), [""; 0]);
}

#[test]
fn accept_ends_its_base_chain_and_drop_ends_everything() {
    let with = |statement: Statement| {
        let tables = table(|t| {
            regular(t, "inner", [vec![statement], vec![Statement::MarkOr(1)]]);
            let rules = [vec![Statement::Jump("inner".into())], vec![Statement::MarkOr(2)]];
            base(t, ("one", ChainKind::Filter, Hook::Prerouting, 0), rules);
            base(t, ("two", ChainKind::Filter, Hook::Prerouting, 10), [vec![Statement::MarkOr(4)]]);
        });
        outcome(&tables, &arriving(VIP)).fate
    };
    assert!(matches!(with(Statement::Accept), Fate::Delivered { mark: 0b100, .. }));
    assert!(matches!(with(Statement::Return), Fate::Delivered { mark: 0b110, .. }));
    assert!(matches!(with(Statement::Counter), Fate::Delivered { mark: 0b111, .. }));
    assert_eq!(with(Statement::Drop), Fate::Dropped);
    assert_eq!(with(Statement::Reject), Fate::Refused(Refusal::Icmp));
}

#[test]
fn a_drop_in_a_nat_chain_drops() {
    let tables = table(|t| {
        base(t, ("nat", ChainKind::Nat, Hook::Prerouting, -100), [vec![to_port(80), Statement::Drop]]);
    });
    assert!(trace(&tables, &arriving(VIP)).is_dropped());
    assert!(trace(&tables, &arriving("10.96.0.1:81")).is_untouched());
}

#[test]
fn a_jump_comes_back_to_the_next_rule_and_a_goto_to_the_callers_caller() {
    let count = || vec![Statement::Counter];
    let jump = |chain: &str| vec![Statement::Jump(chain.into())];
    let goto = |chain: &str| vec![Statement::Goto(chain.into())];
    let tables = table(|t| {
        regular(t, "leaf", [count()]);
        regular(t, "goes", [goto("leaf"), count()]);
        regular(t, "jumps", [jump("goes"), count()]);
        regular(t, "going", [goto("jumps"), count()]);
        base(t, ("base", ChainKind::Filter, Hook::Prerouting, 0), [jump("going"), goto("goes"), count()]);
        base(t, ("next", ChainKind::Filter, Hook::Prerouting, 1), [count()]);
    });
    let way = [
        // The jump to `going`: `jumps` takes its place, and what `goes` leaves ends in `jumps`.
        "base", "going", "jumps", "goes", "leaf", "jumps",
        // The goto to `goes`: back from there means the end of the base chain.
        "base", "goes", "leaf", "next",
    ];
    assert_eq!(chains(&outcome(&tables, &arriving(VIP))), way);
}

#[test]
fn a_return_ends_its_own_chain_alone_and_in_a_base_chain_means_accept() {
    let tables = table(|t| {
        regular(t, "inner", [vec![Statement::Return], vec![Statement::MarkOr(1)]]);
        regular(t, "outer", [vec![Statement::Jump("inner".into())], vec![Statement::MarkOr(2)]]);
        let rules = [
            vec![Statement::Jump("outer".into())],
            vec![Statement::MarkOr(4)],
            vec![Statement::Return],
            vec![Statement::Drop],
        ];
        base(t, ("base", ChainKind::Filter, Hook::Prerouting, 0), rules);
    });
    assert!(matches!(outcome(&tables, &arriving(VIP)).fate, Fate::Delivered { mark: 6, .. }));
}

#[test]
fn dormant_tables_do_nothing() {
    let mut tables = FakeTables::new();
    let mut transaction = Transaction::new(id());
    let flags = portolan_nft::TableFlags { dormant: true, ..portolan_nft::TableFlags::NONE };
    transaction.add_table(Table { flags, ..Table::default() });
    base(&mut transaction, ("all", ChainKind::Filter, Hook::Prerouting, 0), [vec![Statement::Drop]]);
    tables.commit(&transaction).unwrap();
    assert!(trace(&tables, &arriving(VIP)).is_untouched());
}

#[test]
fn routing_drops_what_cannot_have_come_from_elsewhere() {
    let mut tables = table(|t| every_hook(t, "", 0));
    add_table(&mut tables, TableId::new(Family::Ip6, "t"), |t| every_hook(t, "6", 0));
    let way = |source: &str, destination: &str| {
        let packet = Packet::arriving(Protocol::Udp, at(source), at(destination));
        let found = outcome(&tables, &packet);
        assert_eq!(found.fate, Fate::Dropped);
        chains(&found).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let (destination, source) =
        ("a loopback destination from elsewhere", "the node's own address as a source from elsewhere");
    assert_eq!(way(CLIENT, "127.0.0.1:80"), ["prerouting", destination]);
    assert_eq!(way("127.0.0.1:1", VIP), ["prerouting", source]);
    assert_eq!(way("192.0.2.1:1", VIP), ["prerouting", source]);
    assert_eq!(way("[2001:db8::9]:1", "[::1]:80"), [destination]);
    assert_eq!(way("[::1]:1", "[2001:db8::1]:80"), [source]);
}

#[test]
fn routing_looks_at_the_destination_that_translation_left() {
    let mut tables = table(|t| {
        add_dnat_map(t, &[(1, pod(1)), (2, at("127.0.0.1:80"))]);
        base(t, ("nat", ChainKind::Nat, Hook::Prerouting, -100), [vec![dnat()]]);
    });
    assert_eq!(trace(&tables, &arriving("127.0.0.1:1")).endpoints(), [pod(1)].into());
    assert!(trace(&tables, &arriving("10.96.0.1:2")).is_dropped());
    add_table(&mut tables, TableId::new(Family::Ip6, "t"), |t| {
        add_dnat_map(t, &[(2, at("[::1]:80"))]);
        base(t, ("nat6", ChainKind::Nat, Hook::Prerouting, -100), [vec![dnat()]]);
    });
    let packet = Packet::arriving(Protocol::Udp, at("[2001:db8::9]:1"), at("[fd00:96::1]:2"));
    let dropped = outcome(&tables, &packet);
    assert_eq!(chains(&dropped), ["nat6", "a loopback destination from elsewhere"]);
}
