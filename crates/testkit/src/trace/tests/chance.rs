//! Draws: all of them, each as likely as it is.

use super::*;

fn draw(modulus: u32) -> Selector {
    Selector::NumgenRandom { modulus }
}

fn half() -> Statement {
    is(draw(2), Bytes::u32_host(0))
}

fn filter(rules: impl IntoIterator<Item = Vec<Statement>>) -> FakeTables {
    table(|t| base(t, ("chain", ChainKind::Filter, Hook::Prerouting, 0), rules))
}

/// A map of the first `filled` slots, and rules that draw from it one after the other.
fn slots(filled: u16, moduli: &[u32]) -> FakeTables {
    let map = Arc::new(Set::map("slots", [draw(2)], [Selector::Daddr, Selector::ThDport]));
    table(|t| {
        let element = |slot: u16| Element::data(Bytes::u32_host(slot.into()), socket(pod(slot)));
        t.add_set(Arc::clone(&map)).add_elements(&map, (0..filled).map(element));
        let rule =
            |modulus: &u32| vec![Statement::DnatMap { key: vec![draw(*modulus)], map: "slots".into() }];
        base(t, ("nat", ChainKind::Nat, Hook::Prerouting, -100), moduli.iter().map(rule));
    })
}

fn chance(outcomes: &Outcomes, to: SocketAddr) -> String {
    outcomes.probability(|outcome| outcome.endpoint() == Some(to)).unwrap().to_string()
}

#[track_caller]
fn assert_complete(outcomes: &Outcomes) {
    assert_eq!(outcomes.probability(|_| true).unwrap(), Probability::ONE);
}

#[test]
fn every_slot_is_an_outcome_of_its_own_and_equally_likely() {
    let outcomes = trace(&slots(3, &[3]), &arriving(VIP));
    assert_eq!(outcomes.endpoints(), [pod(0), pod(1), pod(2)].into());
    assert_eq!(
        outcomes.iter().map(|outcome| outcome.probability.to_string()).collect::<Vec<_>>(),
        ["1/3"; 3]
    );
    assert_complete(&outcomes);
}

#[test]
fn a_slot_that_is_missing_leaves_its_share_to_the_next_rule() {
    let outcomes = trace(&slots(3, &[4, 2]), &arriving(VIP));
    assert_eq!([0, 1, 2].map(|n| chance(&outcomes, pod(n))), ["3/8", "3/8", "1/4"]);
    let outcomes = trace(&slots(3, &[4]), &arriving(VIP));
    assert_eq!(chance(&outcomes, at(VIP)), "1/4");
    assert!(!outcomes.is_untouched());
    assert_complete(&outcomes);
}

#[test]
fn the_same_outcome_by_several_ways_is_one_outcome() {
    let outcomes = trace(&slots(1, &[7, 1]), &arriving(VIP));
    assert_eq!(
        outcomes.only().map(|only| (only.endpoint(), only.probability)),
        Some((Some(pod(0)), Probability::ONE))
    );
}

#[test]
fn conditions_on_draws_match_in_their_share() {
    let matching = |op| {
        let third = Statement::Match { selector: draw(3), op, value: Bytes::u32_host(1) };
        let outcomes = trace(&filter([vec![third, Statement::Drop]]), &arriving(VIP));
        assert_complete(&outcomes);
        outcomes.probability(|outcome| outcome.fate == Fate::Dropped).unwrap().to_string()
    };
    assert_eq!((matching(MatchOp::Eq), matching(MatchOp::Ne)), ("1/3".into(), "2/3".into()));
    let widest = is(draw(1 << 16), Bytes::u32_host(65_535));
    let outcomes = trace(&filter([vec![widest, Statement::Drop]]), &arriving(VIP));
    let dropped = outcomes.probability(|outcome| outcome.fate == Fate::Dropped);
    assert_eq!(dropped.unwrap().to_string(), "1/65536");
    let outcomes = trace(&filter([vec![half(), half(), Statement::Drop]]), &arriving(VIP));
    assert_eq!(outcomes.probability(|outcome| outcome.fate == Fate::Dropped).unwrap().to_string(), "1/4");
}

#[test]
fn two_draws_in_one_key_are_independent() {
    let set = Arc::new(Set::new("pairs", [draw(2), draw(2)]));
    let tables = table(|t| {
        let pair = |a: u32, b: u32| Element::key(*Bytes::new().push_u32_host(a).push_u32_host(b));
        t.add_set(Arc::clone(&set)).add_elements(&set, [pair(0, 0), pair(0, 2), pair(1, 1)]);
        let key = vec![draw(2), draw(3)];
        let found = Statement::InSet { key, op: MatchOp::Eq, set: "pairs".into() };
        base(t, ("chain", ChainKind::Filter, Hook::Prerouting, 0), [vec![found, Statement::Drop]]);
    });
    let outcomes = trace(&tables, &arriving(VIP));
    assert_eq!(outcomes.probability(|outcome| outcome.fate == Fate::Dropped).unwrap().to_string(), "1/2");
    assert_complete(&outcomes);
}

#[test]
fn draws_that_change_nothing_do_not_multiply() {
    // Two to the sixtieth ways, and one outcome.
    let outcomes = trace(&filter((0..60).map(|_| vec![half(), Statement::Counter])), &arriving(VIP));
    assert_eq!(outcomes.only().map(|only| only.probability), Some(Probability::ONE));
    let outcomes = trace(&filter([vec![half(); 60]]), &arriving(VIP));
    assert_eq!(outcomes.only().map(|only| only.probability), Some(Probability::ONE));
}

#[test]
fn draws_that_leave_a_difference_are_distinguished() {
    let rules = (0..5).map(|bit| vec![half(), Statement::MarkOr(1 << bit)]);
    let outcomes = trace(&filter(rules), &arriving(VIP));
    assert_eq!(outcomes.iter().count(), 32);
    assert!(outcomes.iter().all(|outcome| outcome.probability == Probability::of(1, 32).unwrap()));
    assert_complete(&outcomes);
}

#[test]
fn thousands_of_slots_are_all_tried() {
    let outcomes = trace(&slots(5000, &[5001, 4999]), &arriving(VIP));
    assert_eq!(outcomes.endpoints().len(), 5000);
    assert_complete(&outcomes);
    // 1/5001 + 1/5001 * 1/4999
    assert_eq!(chance(&outcomes, pod(3)), Probability::of(5000, 5001 * 4999).unwrap().to_string());
}

#[test]
fn chances_beyond_64_bits_are_an_error() {
    let prime = |modulus: u32| vec![is(draw(modulus), Bytes::u32_host(0)), Statement::MarkOr(modulus)];
    let rules = [65_521, 65_519, 65_497, 65_479, 65_449].map(prime);
    let tables = filter(rules);
    assert_eq!(Tracer::new(&tables, &host()).trace(&arriving(VIP)), Err(TraceError::TooFine));
}
