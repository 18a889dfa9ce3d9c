//! The kernel's notices of changed tables.

use std::io;
use std::os::fd::AsFd;
use std::task::{Context, Poll, ready};

use portolan_netlink::{Heard, Message, Monitor, Protocol};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::wire::{self, message};
use crate::{Family, NftError};

/// `NFNLGRP_NFTABLES` (7), linux/netfilter/nfnetlink.h, as the bit that joins it.
const GROUP: u32 = 1 << 6;

/// The kernel sends one notice for each rule and element, each of several hundred bytes. Beyond this some are lost,
/// which is reported. The memory is used only while notices wait.
const RECEIVE_BUFFER: usize = 8 << 20;

/// A change of a table, after it was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice<'a> {
    /// The netlink port of the socket that made the change; often the process id of its owner.
    pub port: u32,
    /// The table's family.
    pub family: Family,
    /// The table's name.
    pub table: &'a str,
    /// The object that was added, deleted or changed.
    pub object: Noticed<'a>,
}

/// The object of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noticed<'a> {
    /// The table was added, or already existed.
    Table,
    /// The table was deleted.
    TableGone,
    /// The chain of this name was added, or already existed.
    Chain(&'a str),
    /// The chain of this name was deleted.
    ChainGone(&'a str),
    /// A rule was added to the chain of this name.
    Rule(&'a str),
    /// A rule was deleted from the chain of this name.
    RuleGone(&'a str),
    /// A set, an element or another object was added, deleted or changed.
    Other,
}

/// Receives notices of all changes, this process's included, to the tables of a network namespace: that of the
/// thread that opens it.
#[derive(Debug)]
pub struct Watch {
    monitor: Monitor,
    /// The same socket, once a runtime waits for it: as a datagram socket, which it is. The addresses of that type
    /// are not used.
    readiness: Option<UdpSocket>,
}

impl Watch {
    /// Subscribes; earlier changes are not reported.
    ///
    /// # Errors
    /// The kernel has no netfilter netlink, or the process lacks `CAP_NET_ADMIN`.
    pub fn open() -> Result<Self, NftError> {
        let monitor = Monitor::open(Protocol::Netfilter, GROUP)
            .map_err(|source| NftError::Netlink { action: "subscribe to changes", source })?;
        Ok(Self { monitor: monitor.with_receive_buffer(RECEIVE_BUFFER), readiness: None })
    }

    /// Reads all notices there are by now, of tables of the families this crate knows.
    ///
    /// # Errors
    /// The socket failed and cannot be used any more.
    pub fn listen(&mut self, mut each: impl FnMut(&Notice<'_>)) -> io::Result<Heard> {
        self.monitor.listen(|message| {
            if let Some(notice) = notice(message) {
                each(&notice);
            }
        })
    }

    /// Completes when there may be unread notices; to be followed by [`listen`](Self::listen).
    /// Must be called within a tokio runtime, and always the same.
    ///
    /// # Errors
    /// The runtime cannot wait for the socket.
    pub fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let readiness = match &mut self.readiness {
            Some(readiness) => readiness,
            none => none.insert(UdpSocket::from_std(self.monitor.as_fd().try_clone_to_owned()?.into())?),
        };
        ready!(readiness.poll_recv_ready(context))?;
        // "Would block" clears the readiness, so that only later notices complete the next call.
        let cleared = readiness.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
        debug_assert!(cleared.is_err());
        Poll::Ready(Ok(()))
    }
}

fn notice<'a>(message: &Message<'a>) -> Option<Notice<'a>> {
    /// The number of the attribute with the table's name, of whatever object.
    const TABLE: u16 = 1;
    /// `NFTA_CHAIN_NAME`
    const CHAIN_NAME: u16 = 3;
    /// `NFTA_RULE_CHAIN`
    const RULE_CHAIN: u16 = 2;
    let [subsystem, kind] = message.kind.to_be_bytes();
    if u16::from(subsystem) != wire::SUBSYSTEM {
        return None;
    }
    let family = Family::from_number(*message.payload.first()?)?;
    let attributes = message.attributes(wire::FAMILY_HEADER);
    let text = |kind| attributes.find_kind(kind).and_then(|attribute| attribute.as_str());
    // The notice of a new generation names no table.
    let table = text(TABLE)?;
    let object = match kind {
        message::NEW_TABLE => Noticed::Table,
        message::DEL_TABLE => Noticed::TableGone,
        message::NEW_CHAIN => Noticed::Chain(text(CHAIN_NAME)?),
        message::DEL_CHAIN => Noticed::ChainGone(text(CHAIN_NAME)?),
        message::NEW_RULE => Noticed::Rule(text(RULE_CHAIN)?),
        message::DEL_RULE => Noticed::RuleGone(text(RULE_CHAIN)?),
        _ => Noticed::Other,
    };
    Some(Notice { port: message.port, family, table, object })
}
