//! Notices of the kernel: who changed which table.

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
/// which is told. Memory is taken only while notices wait.
const RECEIVE_BUFFER: usize = 8 << 20;

/// A change of a table, after it was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice<'a> {
    /// The netlink port of the socket that asked for the change; often the process id of its owner.
    pub port: u32,
    /// The table's family.
    pub family: Family,
    /// The table's name.
    pub table: &'a str,
    /// What came, went or changed.
    pub object: Noticed<'a>,
}

/// What a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noticed<'a> {
    /// The table is there, perhaps since now.
    Table,
    /// The table is gone.
    TableGone,
    /// The chain of this name is there, perhaps since now.
    Chain(&'a str),
    /// The chain of this name is gone.
    ChainGone(&'a str),
    /// A rule was added to the chain of this name.
    Rule(&'a str),
    /// A rule was removed from the chain of this name.
    RuleGone(&'a str),
    /// A set, an element or something else came, went or changed.
    Other,
}

/// Listens to the changes that anybody, this process included, makes to the tables of a network namespace: that of
/// the thread that opens it.
#[derive(Debug)]
pub struct Watch {
    monitor: Monitor,
    /// The same socket, once a runtime waits for it: as one for datagrams, which netlink's messages are. What that
    /// type says of addresses is not used.
    readiness: Option<UdpSocket>,
}

impl Watch {
    /// Begins to listen; what came before is not told.
    ///
    /// # Errors
    /// The kernel has no netfilter netlink, or the process may not listen, which takes `CAP_NET_ADMIN`.
    pub fn open() -> Result<Self, NftError> {
        let monitor = Monitor::open(Protocol::Netfilter, GROUP)
            .map_err(|source| NftError::Netlink { action: "listen to changes", source })?;
        Ok(Self { monitor: monitor.with_receive_buffer(RECEIVE_BUFFER), readiness: None })
    }

    /// Takes in all notices that there are by now, of tables of the families this crate knows.
    ///
    /// # Errors
    /// The socket is of no more use.
    pub fn listen(&mut self, mut each: impl FnMut(&Notice<'_>)) -> io::Result<Heard> {
        self.monitor.listen(|message| {
            if let Some(notice) = notice(message) {
                each(&notice);
            }
        })
    }

    /// Completes when there may be notices that have not been taken in; to be followed by [`listen`](Self::listen).
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
        // What comes from here on completes the next call. That it "would block" is what clears the readiness.
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
    // The number of a new generation is told without a table.
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
