//! Notices of changes that other processes make to our table, where the kernel does not keep them from it.
//!
//! A table with an owner needs no guard: the kernel refuses others' changes. Without one, on kernels before 6.9 or
//! where another program made the table, the kernel's notices tell of each change and whose it is. Where more come
//! than the socket has room for, what got lost is left to the look for the canary and to the hourly comparison: to
//! read the table after each large change of whatever table would cost more than the change.

use std::io;
use std::task::{Context, Poll};

use portolan_core::backend::error_chain;
use portolan_nft::{Noticed, TableId, Tables, Watch};

/// Listens to changes of one table.
#[derive(Debug)]
pub(crate) struct Guard {
    watch: Watch,
    table: TableId,
    /// The netlink port of our own changes.
    own: u32,
    is_damaged: bool,
    /// The socket is of no more use.
    is_deaf: bool,
}

impl Guard {
    /// Begins to listen, where the kernel tells and others may change the table.
    pub(crate) fn of(table: &TableId, tables: &mut impl Tables) -> Option<Self> {
        let opened = tables.list().and_then(|list| {
            let is_owned = list.iter().any(|(id, found)| id == table && found.flags.owner);
            if is_owned { Ok(None) } else { tables.watch() }
        });
        match opened {
            Ok(opened) => {
                let (watch, own) = opened?;
                Some(Self { watch, table: table.clone(), own, is_damaged: false, is_deaf: false })
            }
            Err(error) => {
                tracing::warn!(%table, err = error_chain(&error), "Cannot listen to changes of the table by others");
                None
            }
        }
    }

    /// Takes in what was told so far.
    pub(crate) fn listen(&mut self) {
        let Self { watch, table, own, is_damaged, .. } = self;
        let heard = watch.listen(|notice| {
            let is_ours = notice.family == table.family && notice.table == &*table.name;
            // A table that is added again stays what it is.
            *is_damaged |= is_ours && notice.port != *own && notice.object != Noticed::Table;
        });
        if let Err(error) = heard {
            self.fail(&error);
        }
    }

    fn fail(&mut self, error: &io::Error) {
        self.is_deaf = true;
        tracing::warn!(table = %self.table, err = %error, "Cannot listen to changes of the table any more");
    }

    /// All is read from here on, so what was told before has no more meaning.
    pub(crate) fn begin_reading(&mut self) {
        self.listen();
        self.is_damaged = false;
    }

    /// Whether others have changed the table since it was last read.
    pub(crate) fn is_damaged(&mut self) -> bool {
        self.listen();
        self.is_damaged
    }

    /// Completes once when others have changed the table.
    pub(crate) fn poll_damaged(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while !self.is_deaf {
            match self.watch.poll_readable(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => self.fail(&error),
                Poll::Ready(Ok(())) => {
                    let was_damaged = self.is_damaged;
                    self.listen();
                    if self.is_damaged && !was_damaged {
                        return Poll::Ready(());
                    }
                }
            }
        }
        Poll::Pending
    }
}
