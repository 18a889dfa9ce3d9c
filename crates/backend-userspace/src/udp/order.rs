//! Which session makes way for another.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::session::Session;
use crate::second_chance::{SecondChance, Ticket};

/// The sessions of a place: those whose clients have asked once, and those that went on.
///
/// The first make way before any of the others does. A session is counted among the first until one is looked for
/// that is to go.
#[derive(Debug, Default)]
pub(super) struct Order {
    once: SecondChance<SocketAddr, u64>,
    often: SecondChance<SocketAddr, u64>,
}

impl Order {
    /// A session begins, besides those there are.
    pub(super) fn begin(
        &mut self,
        sessions: &HashMap<SocketAddr, Session>,
        client: SocketAddr,
        now: u64,
    ) -> Ticket {
        for queue in [&mut self.once, &mut self.often] {
            queue.tidy(sessions.len(), |client, ticket| find(sessions, client, ticket).is_some());
        }
        self.once.push(client, now)
    }

    /// Takes out the client whose session is the first to go, if there is one that nobody seems to use.
    pub(super) fn take_silent(&mut self, sessions: &HashMap<SocketAddr, Session>) -> Option<SocketAddr> {
        let Self { once, often } = self;
        let single = once.take_silent(|client, ticket| {
            let session = find(sessions, client, ticket)?;
            if session.is_single() {
                return Some(0);
            }
            often.put(client, ticket, session.last_used());
            None
        });
        single.or_else(|| {
            often.take_silent(|client, ticket| find(sessions, client, ticket).map(Session::last_used))
        })
    }
}

/// The session that a client has, unless it is another than the one with this ticket.
fn find(sessions: &HashMap<SocketAddr, Session>, client: SocketAddr, ticket: Ticket) -> Option<&Session> {
    sessions.get(&client).filter(|session| session.ticket == ticket)
}
