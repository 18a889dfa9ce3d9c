//! The socket against the kernel, as far as that needs no privilege: links are listed, odd requests refused.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use portolan_netlink::{Message, MessageWriter, NetlinkError, NetlinkSocket, Protocol, flag};

/// `RTM_GETLINK` and `RTM_NEWLINK`, linux/rtnetlink.h.
const GET_LINK: u16 = 18;
const NEW_LINK: u16 = 16;
/// The length of `struct ifinfomsg`, linux/rtnetlink.h; the link's number is at 4.
const LINK_HEADER: usize = 16;
/// `IFLA_IFNAME`, linux/if_link.h.
const NAME: u16 = 3;

fn link_request(index: u32) -> impl Fn(&mut MessageWriter<'_>) {
    move |message| {
        let mut header = [0; LINK_HEADER];
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        message.bytes(&header);
    }
}

fn names(names: &mut Vec<String>, message: &Message<'_>) {
    let name = message.attributes(LINK_HEADER).find_kind(NAME).unwrap();
    names.push(name.as_str().unwrap().to_owned());
}

#[test]
fn a_dump_brings_every_object_and_its_end() {
    let mut socket = NetlinkSocket::open(Protocol::Route).unwrap();
    for _ in 0..3 {
        let found = socket.dump(GET_LINK, link_request(0), names).unwrap();
        assert!(found.contains(&"lo".to_owned()), "{found:?}");
    }
}

#[test]
fn a_request_brings_its_answer_before_the_acknowledgement() {
    let mut socket = NetlinkSocket::open(Protocol::Route).unwrap();
    let found = socket.request(GET_LINK, flag::ACK, link_request(1), names).unwrap();
    assert_eq!(found.len(), 1);
}

#[test]
fn a_refused_request_carries_the_kernels_error_and_leaves_the_socket_usable() {
    let mut socket = NetlinkSocket::open(Protocol::Route).unwrap();
    let error = socket.request(GET_LINK, flag::ACK, link_request(u32::MAX / 2), names).unwrap_err();
    assert_eq!(error.errno(), Some(libc::ENODEV));
    assert!(!error.is_retryable());
    assert_eq!(socket.request(GET_LINK, flag::ACK, link_request(1), names).unwrap().len(), 1);
}

/// Route messages of one call are taken one by one; each has an answer of its own.
#[test]
fn a_batch_collects_every_refusal_up_to_the_last_answer() {
    let mut socket = NetlinkSocket::open(Protocol::Route).unwrap();
    // The first message's refusal ends a batch, so a harmless one goes first.
    let mut batch = socket.new_batch();
    batch.add(GET_LINK, flag::REQUEST | flag::ACK, link_request(1)).unwrap();
    for index in [u32::MAX / 2, u32::MAX / 2 - 1, 1] {
        batch.add(GET_LINK, flag::REQUEST | flag::ACK, link_request(index)).unwrap();
    }
    let nacks = socket.send_batch(&batch, batch.last().unwrap()).unwrap();
    let refused: Vec<_> = nacks.iter().map(|r| (r.sequence.wrapping_sub(batch.first()), r.errno)).collect();
    assert_eq!(refused, [(1, libc::ENODEV), (2, libc::ENODEV)]);
}

#[test]
fn messages_that_stand_for_themselves_are_all_answered_for_though_the_first_is_refused() {
    let mut socket = NetlinkSocket::open(Protocol::Route).unwrap();
    let mut batch = socket.new_batch();
    for index in [u32::MAX / 2, 1, u32::MAX / 2 - 1] {
        batch.add(GET_LINK, flag::REQUEST | flag::ACK, link_request(index)).unwrap();
    }
    let nacks = socket.send_each(&batch).unwrap();
    let refused: Vec<_> = nacks.iter().map(|r| (r.sequence.wrapping_sub(batch.first()), r.errno)).collect();
    assert_eq!(refused, [(0, libc::ENODEV), (2, libc::ENODEV)]);
    assert_eq!(socket.send_each(&socket.new_batch()).unwrap(), []);
}

#[test]
fn answers_left_unread_do_not_reach_the_next_exchange() {
    let mut socket = NetlinkSocket::open(Protocol::Route).unwrap();
    let mut batch = socket.new_batch();
    for index in [u32::MAX / 2, 1, 1, 1] {
        batch.add(GET_LINK, flag::REQUEST | flag::ACK, link_request(index)).unwrap();
    }
    // Ends with the refusal of the first message; the answers to the others stay behind.
    let nacks = socket.send_batch(&batch, batch.last().unwrap()).unwrap();
    assert_eq!(nacks.len(), 1);
    let found = socket.dump(GET_LINK, link_request(0), names).unwrap();
    let again = socket.dump(GET_LINK, link_request(0), names).unwrap();
    assert_eq!(found, again);
}

#[test]
fn a_batch_beyond_the_send_buffer_is_refused_with_both_sizes_or_sent() {
    let mut socket = NetlinkSocket::open(Protocol::Route).unwrap();
    let mut batch = socket.new_batch();
    // Without `REQUEST` the kernel skips a message; only the last one counts.
    let filling = vec![0; 60_000];
    for _ in 0..300 {
        let fill = |message: &mut MessageWriter<'_>| {
            message.bytes(&filling);
        };
        batch.add(NEW_LINK, 0, fill).unwrap();
    }
    let last = batch.add(GET_LINK, flag::REQUEST | flag::ACK, link_request(1)).unwrap();
    match socket.send_batch(&batch, last) {
        Ok(nacks) => assert_eq!(nacks, []),
        Err(NetlinkError::TooLarge { size, limit }) => assert!(size > 17_000_000 && limit < size),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn two_sockets_have_two_ports() {
    let sockets = [Protocol::Route, Protocol::Route].map(|protocol| NetlinkSocket::open(protocol).unwrap());
    assert_ne!(sockets[0].port(), sockets[1].port());
}
