//! The kernel's tables, over one netlink socket.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portolan_netlink::{Nack, NetlinkSocket, Protocol};

use crate::element::Ranges;
use crate::encode::{Encoded, encode};
use crate::{
    Bytes, Commit, DumpedSet, Element, Family, Features, NftError, Operation, Selector, Set, Table,
    TableDump, TableFlags, TableId, Tables, Transaction, Watch, parse,
};

mod reading;

/// The kernel's tables.
///
/// Tables made with [`TableFlags::OWNED`] belong to the socket: keep this value
/// as long as they are to stay protected.
#[derive(Debug)]
pub struct NetlinkTables {
    socket: NetlinkSocket,
    features: Option<Features>,
}

impl NetlinkTables {
    /// The number of attempts to commit, while the kernel requests a repetition, and to read a table that
    /// changes meanwhile.
    pub const ATTEMPTS: usize = 10;
    /// How long to wait before each repetition of a transaction.
    const PAUSE: Duration = Duration::from_millis(5);

    /// Opens the socket.
    ///
    /// # Errors
    /// The kernel has no netfilter netlink, or the process may not open sockets. A missing
    /// privilege to change tables causes an error only with the first change.
    pub fn open() -> Result<Self, NftError> {
        let socket = NetlinkSocket::open(Protocol::Netfilter)
            .map_err(|source| NftError::Netlink { action: "open", source })?;
        Ok(Self { socket, features: None })
    }

    /// The most bytes one transaction can have, after growing the send buffer towards `wanted`.
    ///
    /// Without `CAP_NET_ADMIN` in the initial user namespace this is twice
    /// `net.core.wmem_max`, some 400 KB by default.
    ///
    /// # Errors
    /// The socket's options cannot be read.
    pub fn grow_send_buffer(&mut self, wanted: usize) -> Result<usize, NftError> {
        self.socket
            .grow_send_buffer(wanted)
            .map_err(|source| NftError::Netlink { action: "grow the send buffer", source })
    }

    /// The port number by which the kernel knows the owner of this value's tables.
    pub fn port(&self) -> u32 {
        self.socket.port()
    }

    fn try_commit(&mut self, transaction: &Transaction, features: Features) -> Result<Commit, NftError> {
        let started = Instant::now();
        let encoded = encode(transaction, features, self.socket.new_batch())?;
        let sent = Instant::now();
        let nacks = self
            .socket
            .send_batch(&encoded.batch, encoded.asked)
            .map_err(|source| NftError::Netlink { action: "commit", source })?;
        if !nacks.is_empty() {
            return Err(rejected(transaction, &encoded, nacks));
        }
        Ok(Commit {
            messages: encoded.messages(),
            bytes: encoded.batch.size(),
            encode: sent.duration_since(started),
            kernel: sent.elapsed(),
        })
    }
}

impl NetlinkTables {
    fn commit_for(&mut self, transaction: &Transaction, features: Features) -> Result<Commit, NftError> {
        let mut attempt = 1;
        loop {
            match self.try_commit(transaction, features) {
                Err(error) if attempt < Self::ATTEMPTS && requests_repetition(&error) => attempt += 1,
                result => return result,
            }
            std::thread::sleep(Self::PAUSE);
        }
    }
}

impl Tables for NetlinkTables {
    fn commit(&mut self, transaction: &Transaction) -> Result<Commit, NftError> {
        if transaction.is_empty() {
            return Ok(Commit::default());
        }
        let destroys = |operation: &Operation| matches!(operation, Operation::DestroyElements(..));
        // Other steps are the same for every kernel, and probing takes a commit.
        let depends = transaction.operations().iter().any(destroys);
        let features = if depends { self.features()? } else { Features::default() };
        self.commit_for(transaction, features)
    }

    fn dump(&mut self, table: &TableId) -> Result<Option<TableDump>, NftError> {
        self.read_table(table)
    }

    fn dump_set(&mut self, table: &TableId, set: &str) -> Result<Option<DumpedSet>, NftError> {
        self.read_set(table, set)
    }

    fn count_rules(&mut self, table: &TableId, base_chain: &str) -> Result<Option<usize>, NftError> {
        self.read_chain_use(table, base_chain)
    }

    fn list(&mut self) -> Result<Vec<(TableId, Table)>, NftError> {
        self.read_list()
    }

    fn features(&mut self) -> Result<Features, NftError> {
        if let Some(features) = self.features {
            return Ok(features);
        }
        let features = Features {
            owner_persist: self.accepts(|probe| {
                probe.add_table(Table { flags: TableFlags::OWNED, comment: None });
            })?,
            destroy_elements: self.accepts(|probe| {
                let set = Arc::new(Set::new("probe", [Selector::Daddr]));
                let absent = Element::key(Bytes::addr(Ipv4Addr::UNSPECIFIED.into()));
                probe.add_table(Table::default()).add_set(Arc::clone(&set)).destroy_elements(&set, [absent]);
            })?,
        };
        Ok(*self.features.insert(features))
    }

    fn watch(&mut self) -> Result<Option<(Watch, u32)>, NftError> {
        Ok(Some((Watch::open()?, self.port())))
    }
}

impl NetlinkTables {
    /// Whether the kernel accepts a transaction, which must begin with its table.
    fn accepts(&mut self, fill: impl FnOnce(&mut Transaction)) -> Result<bool, NftError> {
        // A table that is created and deleted within one transaction is never visible.
        let name = format!("portolan-probe-{}", self.socket.port());
        let mut probe = Transaction::new(TableId::new(Family::Ip, name));
        fill(&mut probe);
        probe.delete_table();
        match self.commit_for(&probe, Features { destroy_elements: true, ..Features::default() }) {
            Ok(_) => Ok(true),
            // Unknown messages are the first. Unknown flags are that before Linux 5.13, then the second.
            Err(error) if error.errno() == Some(libc::EINVAL) || error.is_unsupported() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn requests_repetition(error: &NftError) -> bool {
    matches!(error.errno(), Some(libc::EAGAIN | libc::EINTR | libc::ERESTART))
        && matches!(error, NftError::Batch { .. } | NftError::Rejected { .. })
}

/// The error for a batch of which the kernel rejected at least one message.
///
/// The first error counts: later ones are often its consequences, such as
/// rules for a chain that could not be created.
fn rejected(transaction: &Transaction, encoded: &Encoded, nacks: Vec<Nack>) -> NftError {
    let further = nacks.len().saturating_sub(1);
    let named = nacks.iter().position(|nack| encoded.origin(nack.sequence).is_some());
    let Some(nack) = nacks.into_iter().nth(named.unwrap_or(0)) else {
        return NftError::Malformed { what: "error message" };
    };
    let source = io::Error::from_raw_os_error(nack.errno);
    let step = encoded.origin(nack.sequence).and_then(|step| transaction.operations().get(step));
    let Some(operation) = step else {
        return NftError::Batch {
            table: transaction.table().to_string(),
            errno: nack.errno,
            message: nack.message,
            source,
        };
    };
    NftError::Rejected {
        verb: operation.verb(),
        object: element(transaction.table(), encoded, &nack, operation)
            .unwrap_or_else(|| operation.object(transaction.table())),
        errno: nack.errno,
        message: nack.message,
        further,
        source,
    }
}

/// The element at the place in the message that the kernel points at.
fn element(table: &TableId, encoded: &Encoded, nack: &Nack, operation: &Operation) -> Option<String> {
    let (set, _) = operation.elements()?;
    let message = encoded.batch.message(nack.sequence)?;
    let found = parse::element_at(message, nack.offset?, Ranges::of(set))?;
    Some(found.describe(set, table))
}
