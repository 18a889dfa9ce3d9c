use portolan_netlink::MessageIter;
use proptest::prelude::*;

use super::*;

/// What Linux 6.18 shows of an entry in zone 7, by
/// `conntrack -I -p udp --orig-src 10.1.1.1 --orig-dst 10.96.0.10 --sport 1000 --dport 53
/// --reply-src 10.244.0.1 --reply-dst 10.1.1.1 --reply-port-src 5353 --reply-port-dst 1000 -w 7 -t 600`,
/// one attribute a line.
const SHOWN: &[&[u8]] = &[
    b"\xc8\x00\x00\x00\x00\x01\x22\x00\x0c\x00\x00\x00\x88\x32\x00\x00",
    b"\x02\x00\x00\x00",
    b"\x34\x00\x01\x80\x14\x00\x01\x80\x08\x00\x01\x00\x0a\x01\x01\x01\x08\x00\x02\x00\x0a\x60\x00\x0a",
    b"\x1c\x00\x02\x80\x05\x00\x01\x00\x11\x00\x00\x00\x06\x00\x02\x00\x03\xe8\x00\x00\x06\x00\x03\x00\x00\x35\x00\x00",
    b"\x34\x00\x02\x80\x14\x00\x01\x80\x08\x00\x01\x00\x0a\xf4\x00\x01\x08\x00\x02\x00\x0a\x01\x01\x01",
    b"\x1c\x00\x02\x80\x05\x00\x01\x00\x11\x00\x00\x00\x06\x00\x02\x00\x14\xe9\x00\x00\x06\x00\x03\x00\x03\xe8\x00\x00",
    b"\x06\x00\x12\x00\x00\x07\x00\x00",
    b"\x08\x00\x03\x00\x00\x00\x00\x08",
    b"\x08\x00\x08\x00\x00\x00\x00\x00",
    b"\x08\x00\x0c\x00\x02\x4d\x7c\x34",
    b"\x08\x00\x0b\x00\x00\x00\x00\x01",
    b"\x08\x00\x07\x00\x00\x00\x02\x57",
    b"\x1c\x00\x18\x80\x08\x00\x01\x00\x00\x00\x00\x00\x08\x00\x02\x00\x00\x00\x00\x00\x08\x00\x03\x00\x00\x00\x00\x00",
];

/// Where the protocol is in the original tuple of [`SHOWN`], and the last byte of the reply's ports.
const PROTOCOL_AT: usize = 52;
const REPLY_END: usize = 124;

fn parse(bytes: &[u8]) -> Option<Entry<'_>> {
    MessageIter::new(bytes).next().as_ref().and_then(Entry::parse)
}

#[test]
fn what_the_kernel_shows_is_a_flow_and_its_handle() {
    let bytes = SHOWN.concat();
    let entry = parse(&bytes).unwrap();
    let [source, destination, reply_source, reply_destination] =
        ["10.1.1.1:1000", "10.96.0.10:53", "10.244.0.1:5353", "10.1.1.1:1000"]
            .map(|text| text.parse().unwrap());
    assert_eq!(entry.flow, Flow { source, destination, reply_source, reply_destination });

    let wanted: Vec<u8> = [SHOWN[2], SHOWN[3], SHOWN[6], SHOWN[9]].concat();
    assert_eq!(*entry.handle(), wanted, "the kernel's own bytes");
}

#[test]
fn what_is_not_udp_is_no_flow() {
    for protocol in [1, 6, 132] {
        let mut bytes = SHOWN.concat();
        assert_eq!(bytes[PROTOCOL_AT], protocol::UDP);
        bytes[PROTOCOL_AT] = protocol;
        assert_eq!(parse(&bytes), None);
    }
}

#[test]
fn an_entry_without_its_number_or_half_a_tuple_is_left_alone() {
    let without = |line: usize| {
        let kept: Vec<&[u8]> =
            SHOWN.iter().enumerate().filter(|(at, _)| *at != line).map(|(_, bytes)| *bytes).collect();
        let mut bytes = kept.concat();
        let length = u32::try_from(bytes.len()).unwrap();
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        bytes
    };
    assert_eq!(parse(&without(9)), None, "no number");
    assert_eq!(parse(&without(3)), None, "a tuple that says it is longer than it is");
    assert!(parse(&without(6)).is_some(), "no zone");
    for end in 0..REPLY_END {
        let mut bytes = SHOWN.concat();
        bytes.truncate(end);
        if let Some(length) = bytes.get_mut(..4) {
            length.copy_from_slice(&u32::try_from(end).unwrap().to_ne_bytes());
        }
        assert_eq!(parse(&bytes), None, "cut after {end} bytes");
    }
}

proptest! {
    #[test]
    fn no_bytes_are_too_strange_to_read(payload in proptest::collection::vec(any::<u8>(), 0..300)) {
        let message = Message { kind: message::NEW, flags: 0, sequence: 1, port: 0, payload: &payload };
        let _ = Entry::parse(&message);
    }

    #[test]
    fn no_change_of_real_bytes_is_too_strange_to_read(
        changes in proptest::collection::vec((16_usize..200, any::<u8>()), 1..8),
    ) {
        let mut bytes = SHOWN.concat();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        let _ = parse(&bytes);
    }
}
