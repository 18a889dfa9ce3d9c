//! Notices of changes that other processes make to our table, where the kernel does not reject them.
//!
//! The kernel rejects others' changes of a table with an owner. Without one, on kernels before 6.9 or where another
//! program created the table, the kernel's notices name each change and the socket that made it. If notices are lost
//! because the receive buffer is full, the integrity check and the hourly full sync find the damage: reading the table
//! after each large change of any table would cost more than the change.

use std::io;
use std::task::{Context, Poll};

use portolan_core::backend::error_chain;
use portolan_nft::{Noticed, TableId, Tables, Watch};

/// Detects changes of one table by other processes.
#[derive(Debug)]
pub(crate) struct ForeignChanges {
    watch: Watch,
    table: TableId,
    /// The netlink port of our own changes.
    own: u32,
    is_damaged: bool,
    /// The socket failed and cannot be used any more.
    has_failed: bool,
}

impl ForeignChanges {
    /// Subscribes to notices, unless the table has an owner.
    pub(crate) fn of(table: &TableId, tables: &mut impl Tables) -> Option<Self> {
        let opened = tables.list().and_then(|list| {
            let is_owned = list.iter().any(|(id, found)| id == table && found.flags.owner);
            if is_owned { Ok(None) } else { tables.watch() }
        });
        match opened {
            Ok(opened) => {
                let (watch, own) = opened?;
                Some(Self { watch, table: table.clone(), own, is_damaged: false, has_failed: false })
            }
            Err(error) => {
                tracing::warn!(%table, err = error_chain(&error), "Cannot subscribe to changes of the table");
                None
            }
        }
    }

    /// Reads all notices there are by now.
    pub(crate) fn listen(&mut self) {
        let Self { watch, table, own, is_damaged, .. } = self;
        let heard = watch.listen(|notice| {
            let is_ours = notice.family == table.family && notice.table == &*table.name;
            // Adding an existing table changes nothing.
            *is_damaged |= is_ours && notice.port != *own && notice.object != Noticed::Table;
        });
        if let Err(error) = heard {
            self.fail(&error);
        }
    }

    fn fail(&mut self, error: &io::Error) {
        self.has_failed = true;
        tracing::warn!(table = %self.table, err = %error, "Cannot receive changes of the table any more");
    }

    /// Discards earlier notices, because the table is read again.
    pub(crate) fn begin_reading(&mut self) {
        self.listen();
        self.is_damaged = false;
    }

    /// Whether another process has changed the table since it was last read.
    pub(crate) fn is_damaged(&mut self) -> bool {
        self.listen();
        self.is_damaged
    }

    /// Completes once when another process has changed the table.
    pub(crate) fn poll_damaged(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while !self.has_failed {
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
