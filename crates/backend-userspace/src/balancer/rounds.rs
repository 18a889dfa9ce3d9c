//! Round-robin, with an order of its own for each round.
//!
//! Every endpoint has its turn once in a round. The order is drawn anew, so that the proxies of a cluster
//! do not walk the same list in step, and clients that open connections in pairs do not always get the same
//! two endpoints.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

/// Turns among so many.
#[derive(Debug)]
pub(super) struct Rounds {
    count: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The rest of this round, last first.
    rest: Vec<u32>,
    random: u64,
}

impl Rounds {
    /// Turns among `count`.
    pub(super) fn new(count: usize) -> Self {
        Self { count, state: Mutex::new(State::default()) }
    }

    /// Whose turn it is; nobody's where there is nobody.
    pub(super) fn next(&self) -> Option<usize> {
        match self.count {
            0 => None,
            1 => Some(0),
            count => {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                if state.rest.is_empty() {
                    state.shuffle(count);
                }
                state.rest.pop().and_then(|index| usize::try_from(index).ok())
            }
        }
    }
}

impl State {
    /// Draws an order (Fisher and Yates).
    fn shuffle(&mut self, count: usize) {
        self.rest = (0..).take(count).collect();
        for last in (1..count).rev() {
            let bound = u64::try_from(last + 1).unwrap_or(u64::MAX);
            let other = usize::try_from(self.draw() % bound).unwrap_or_default();
            self.rest.swap(last, other);
        }
    }

    /// Numbers that nobody has to be unable to guess (xorshift64, Marsaglia 2003), begun with one that the
    /// standard library draws for its hash maps.
    fn draw(&mut self) -> u64 {
        while self.random == 0 {
            self.random = RandomState::new().hash_one(());
        }
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn round(rounds: &Rounds, length: usize) -> Vec<usize> {
        (0..length).map(|_| rounds.next().unwrap()).collect()
    }

    #[test]
    fn everybody_has_one_turn_in_each_round() {
        let rounds = Rounds::new(7);
        for _ in 0..20 {
            let turns: HashSet<_> = round(&rounds, 7).into_iter().collect();
            assert_eq!(turns.len(), 7);
        }
    }

    #[test]
    fn rounds_differ_in_their_order() {
        let rounds = Rounds::new(10);
        let orders: HashSet<_> = (0..50).map(|_| round(&rounds, 10)).collect();
        assert!(orders.len() > 45, "{}", orders.len());
    }

    #[test]
    fn nobody_has_no_turn_and_one_has_all() {
        assert_eq!(Rounds::new(0).next(), None);
        assert_eq!(round(&Rounds::new(1), 3), [0, 0, 0]);
    }
}
