//! Messages that come back as they were written, and what is not ours or not whole.

use portolan_netlink::{MessageIter, flag};

use super::*;

fn local_route(address: &str) -> Vec<u8> {
    let mut buffer = Vec::new();
    let mut message = MessageWriter::new(&mut buffer, kind::NEW_ROUTE, flag::REQUEST, 1);
    write_local_route(&mut message, address.parse().unwrap());
    message.finish().unwrap();
    buffer
}

fn read(bytes: &[u8]) -> Option<IpAddr> {
    read_our_route(&MessageIter::new(bytes).next()?)
}

#[test]
fn our_routes_are_known_by_their_protocol_table_and_type() {
    for address in ["10.96.0.80", "fd00:10:96::80"] {
        let bytes = local_route(address);
        assert_eq!(read(&bytes), Some(address.parse().unwrap()));
        // After the message's header: family, lengths, tos, then table, protocol, scope and type.
        for (field, other) in [(20, 254), (21, 4), (23, 1)] {
            let mut foreign = bytes.clone();
            foreign[field] = other;
            assert_eq!(read(&foreign), None, "byte {field}");
        }
    }
}

#[test]
fn messages_that_are_cut_short_are_read_as_nothing() {
    let bytes = local_route("10.96.0.80");
    for end in 16..bytes.len() {
        let mut short = bytes[..end].to_vec();
        short[..4].copy_from_slice(&u32::try_from(end).unwrap().to_ne_bytes());
        for message in MessageIter::new(&short) {
            // None of them panics, and a route without its attributes is none.
            let (_, _, _) = (read_way(&message), read_address(&message), read_link_name(&message));
            assert!(end > 28 || read_our_route(&message).is_none());
        }
    }
}
