//! Elements: added, met by packets, taken away.

use std::time::Duration;

use super::*;
use portolan_nft::SetTimeout;

#[test]
fn what_is_gone_can_be_destroyed_and_on_older_kernels_only_deleted() {
    let destroy = |t: &mut Transaction| {
        t.destroy_elements(&services(), [1, 9].map(|last| Element::key(address(last))));
    };
    let mut tables = loaded();
    change(&mut tables, destroy).unwrap();
    assert!(tables.table(&id()).unwrap().set("services").unwrap().is_empty());

    let mut old = loaded().with_features(Features::default());
    let error = change(&mut old, destroy).unwrap_err();
    assert!(error.is_not_found());
    assert_eq!(error.to_string(), "kernel refused to delete element 10.0.0.9 of map ip portolan services");
    assert_eq!(old.table(&id()).unwrap().set("services").unwrap().len(), 1);
    assert_eq!(refused(|t| drop_of(t.destroy_elements(&ranges(), [Element::key(address(1))]))), libc::EINVAL);
}

#[test]
fn the_refused_element_is_named_in_the_words_of_its_set() {
    let mut tables = loaded();
    let clash = Element::verdict(address(1), Verdict::Drop);
    let error = change(&mut tables, |t| {
        t.add_elements(&services(), [Element::verdict(address(2), Verdict::Drop), clash]);
    })
    .unwrap_err();
    assert_eq!(error.to_string(), "kernel refused to add element 10.0.0.1 of map ip portolan services");
    assert!(error.is_exists() && !error.is_retryable());
}

#[test]
fn elements_of_the_wrong_length_or_kind_are_refused() {
    let add = |element: Element| refused(move |t| drop_of(t.add_elements(&services(), [element])));
    assert_eq!(add(Element::verdict(Bytes::port(1), Verdict::Drop)), libc::EINVAL);
    assert_eq!(add(Element::key(address(2))), libc::EINVAL);
    assert_eq!(add(Element::data(address(2), address(3))), libc::EINVAL);
    let range = Element { value: ElementValue::Verdict(Verdict::Drop), ..Element::prefix(address(0), 24) };
    assert_eq!(add(range), libc::EINVAL);
}

#[test]
fn ranges_may_not_overlap_and_are_found_by_what_lies_in_them() {
    let mut tables = loaded();
    let range = |a, b| Element::range(address(a), address(b));
    change(&mut tables, |t| drop_of(t.add_elements(&ranges(), [range(10, 19), range(20, 29)]))).unwrap();
    for overlapping in [range(5, 10), range(12, 13), range(29, 40), range(5, 50), Element::key(address(15))] {
        let error = change(&mut tables, |t| drop_of(t.add_elements(&ranges(), [overlapping]))).unwrap_err();
        assert!(error.is_exists());
    }
    let set = tables.table(&id()).unwrap().set("ranges").unwrap();
    let found = |last| set.lookup(&address(last)).map(|element| element.key);
    assert_eq!((found(9), found(10), found(19)), (None, Some(address(10)), Some(address(10))));
    assert_eq!((found(20), found(29), found(30)), (Some(address(20)), Some(address(20)), None));
    let part = range(10, 15);
    assert!(
        change(&mut tables, |t| drop_of(t.delete_elements(&ranges(), [part]))).unwrap_err().is_not_found()
    );
}

#[test]
fn concatenated_ranges_match_in_every_component() {
    let mut tables = loaded();
    let set = Arc::new(Set::intervals("allowed", [Selector::Daddr, Selector::ThDport, Selector::Saddr]));
    let key = |port, last| {
        *Bytes::new().push_addr([10, 9, 9, 9].into()).push_port(port).push_addr([10, 0, 0, last].into())
    };
    change(&mut tables, |t| {
        t.add_set(Arc::clone(&set)).add_elements(&set, [Element::range(key(80, 0), key(80, 99))]);
    })
    .unwrap();
    let allowed = tables.table(&id()).unwrap().set("allowed").unwrap();
    assert!(allowed.lookup(&key(80, 50)).is_some());
    assert!(allowed.lookup(&key(81, 50)).is_none() && allowed.lookup(&key(80, 100)).is_none());
}

#[test]
fn a_full_set_takes_no_more() {
    let small = Arc::new(Set { size: Some(1), ..Set::new("small", [Selector::Daddr]) });
    let errno = refused(|t| {
        t.add_set(Arc::clone(&small)).add_elements(&small, [1, 2].map(|last| Element::key(address(last))));
    });
    assert_eq!(errno, libc::ENFILE);
}

#[test]
fn thousands_of_ranges_are_each_met_by_their_own_heads_packets_alone() {
    let set = Arc::new(Set::intervals("allowed", [Selector::Daddr, Selector::Saddr]));
    let vip = |index: u16| {
        let [high, low] = index.to_be_bytes();
        *Bytes::new().push_addr([10, 96, high, low].into())
    };
    let net = |part: u8| std::net::IpAddr::from([192, 0, part, 0]);
    let all = (0..3000).flat_map(|index| (0..3).map(move |part| (index, part)));
    let mut tables = FakeTables::new();
    change(&mut tables, |t| {
        t.add_table(Table::default()).add_set(Arc::clone(&set));
        t.add_elements(&set, all.map(|(index, part)| Element::key_with_prefix(vip(index), net(part), 24)));
    })
    .unwrap();
    let allowed = tables.table(&id()).unwrap().set("allowed").unwrap();
    assert_eq!(allowed.len(), 9000);
    for index in [0, 1499, 2999] {
        let met = |third: u8| allowed.lookup(vip(index).push_addr([192, 0, third, 7].into()));
        let found = met(2).and_then(|element| element.split_prefix(Family::Ip));
        assert_eq!(found, Some((vip(index), net(2), 24)));
        assert!(met(3).is_none());
    }
}

#[test]
fn a_range_before_the_last_component_is_met_by_every_head_in_it() {
    let set = Arc::new(Set::intervals("allowed", [Selector::ThDport, Selector::Saddr]));
    let key = |port, last| *Bytes::new().push_port(port).push_addr([10, 0, 0, last].into());
    let mut tables = FakeTables::new();
    change(&mut tables, |t| {
        t.add_table(Table::default()).add_set(Arc::clone(&set));
        t.add_elements(&set, [Element::range(key(80, 0), key(90, 9)), Element::key(key(85, 20))]);
    })
    .unwrap();
    let overlapping = Element::range(key(85, 5), key(85, 30));
    assert!(change(&mut tables, |t| drop_of(t.add_elements(&set, [overlapping]))).unwrap_err().is_exists());
    let allowed = tables.table(&id()).unwrap().set("allowed").unwrap();
    let meets = |port, last| allowed.lookup(&key(port, last)).is_some();
    assert!(meets(80, 9) && meets(88, 0) && meets(85, 20) && !meets(91, 5) && !meets(88, 10));
}

#[test]
fn no_element_lives_longer_than_a_set_with_a_time_out_says() {
    let minute = Duration::from_secs(60);
    let outcome = |timeout, expires| {
        let set = Arc::new(Set { timeout, ..Set::new("timed", [Selector::Daddr]) });
        let element = Element { expires: Some(expires), ..Element::key(address(1)) };
        let mut tables = FakeTables::new();
        change(&mut tables, |t| {
            t.add_table(Table::default()).add_set(Arc::clone(&set)).add_elements(&set, [element]);
        })
        .map(drop)
        .map_err(|error| error.errno().unwrap())
    };
    assert_eq!(outcome(SetTimeout::None, minute), Err(libc::EINVAL));
    assert_eq!(outcome(SetTimeout::PerElement, minute), Ok(()));
    assert_eq!(outcome(SetTimeout::Default(minute), minute), Ok(()));
    assert_eq!(outcome(SetTimeout::Default(minute), 2 * minute), Err(libc::ERANGE));
}
