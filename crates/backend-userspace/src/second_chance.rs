//! Who has been silent for longest, roughly, without looking at everybody.
//!
//! A queue in the order of arrival. Whoever comes to its head and has been active since it was put there gets a second
//! chance at its end; the first that has not is the one to go. So an entry costs O(1), and those that came once and
//! never again go before those that are in use.

use std::collections::VecDeque;

/// How many second chances are given before nobody is found.
const CHANCES: usize = 16;
/// Entries whose owners are gone are let be up to this many.
const FEW: usize = 64;

/// Marks one stay in the queue: who leaves and comes back has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

/// Keys in the order in which they were last put here, each with the time of that.
#[derive(Debug)]
pub(crate) struct SecondChance<K, T> {
    entries: VecDeque<(K, Ticket, T)>,
    next: u64,
}

impl<K, T> Default for SecondChance<K, T> {
    fn default() -> Self {
        Self { entries: VecDeque::new(), next: 0 }
    }
}

impl<K: Copy, T: Copy + PartialOrd> SecondChance<K, T> {
    /// Puts a key at the end.
    pub(crate) fn push(&mut self, key: K, now: T) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        self.put(key, ticket, now);
        ticket
    }

    /// Puts a key at the end that has its ticket from another queue.
    pub(crate) fn put(&mut self, key: K, ticket: Ticket, now: T) {
        self.entries.push_back((key, ticket, now));
    }

    /// Takes one out that was not active since it was put here. `last_active` tells when somebody was, and nothing of
    /// those who are gone.
    pub(crate) fn take_silent(&mut self, mut last_active: impl FnMut(K, Ticket) -> Option<T>) -> Option<K> {
        let mut chances = CHANCES;
        while chances > 0 {
            let (key, ticket, since) = self.entries.pop_front()?;
            match last_active(key, ticket) {
                None => {}
                Some(last) if last > since => {
                    self.entries.push_back((key, ticket, last));
                    chances -= 1;
                }
                Some(_) => return Some(key),
            }
        }
        None
    }

    /// Forgets those who are gone, if they have become more than the `present` ones.
    pub(crate) fn tidy(&mut self, present: usize, is_present: impl Fn(K, Ticket) -> bool) {
        if self.entries.len() > 2 * present + FEW {
            self.entries.retain(|(key, ticket, _)| is_present(*key, *ticket));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_came_once_go_first_and_in_the_order_they_came() {
        let mut queue = SecondChance::default();
        for key in 0..4 {
            queue.push(key, key);
        }
        // The first two were active later.
        let last_active = |key, _| Some(if key < 2 { 10 } else { key });
        let taken: Vec<_> = std::iter::repeat_with(|| queue.take_silent(last_active)).take(5).collect();
        assert_eq!(taken, [Some(2), Some(3), Some(0), Some(1), None]);
    }

    #[test]
    fn nobody_is_found_where_all_are_busy() {
        let mut queue = SecondChance::default();
        for key in 0..100 {
            queue.push(key, 0);
        }
        let clock = std::cell::Cell::new(0);
        let busy = |_, _| {
            clock.set(clock.get() + 1);
            Some(clock.get())
        };
        assert_eq!(queue.take_silent(busy), None);
        assert_eq!(clock.get(), CHANCES);
    }

    #[test]
    fn those_who_are_gone_do_not_pile_up_and_one_who_came_back_stands_once() {
        let mut queue = SecondChance::default();
        let mut latest = queue.push(7, 0);
        for now in 1..10_000 {
            latest = queue.push(7, now);
            queue.tidy(1, |_, ticket| ticket == latest);
        }
        assert!(queue.entries.len() <= 2 + FEW, "{}", queue.entries.len());
        let last_active = |_, ticket| (ticket == latest).then_some(0);
        assert_eq!(queue.take_silent(last_active), Some(7));
        assert_eq!(queue.take_silent(last_active), None);
    }
}
