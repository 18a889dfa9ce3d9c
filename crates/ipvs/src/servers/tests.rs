//! Messages about virtual servers byte by byte.

use std::time::Duration;

use portolan_core::Protocol::{Sctp, Tcp};
use portolan_netlink::{MessageIter, MessageWriter};

use super::*;
use crate::sent::Request;

fn message(fill: impl FnOnce(&mut MessageWriter<'_>)) -> Vec<u8> {
    let mut buffer = Vec::new();
    let mut writer = MessageWriter::new(&mut buffer, 30, 0, 1);
    fill(&mut writer);
    writer.finish().unwrap();
    buffer
}

fn web() -> ServerKey {
    ServerKey { protocol: Tcp, address: "10.96.0.10".parse().unwrap(), port: 80 }
}

/// The fields that name the server, on a little-endian machine.
fn web_fields() -> Vec<u8> {
    let wanted = [
        vec![6, 0, 1, 0, 2, 0, 0, 0],
        vec![6, 0, 2, 0, 6, 0, 0, 0],
        [vec![20, 0, 3, 0, 10, 96, 0, 10], vec![0; 12]].concat(),
        vec![6, 0, 4, 0, 0, 80, 0, 0],
    ];
    wanted.concat()
}

/// `IPVS_CMD_DEL_SERVICE` as `ipvsadm -D -t 10.96.0.10:80` sends it, without the fields that only make a
/// virtual server.
#[test]
fn a_deletion_names_family_protocol_address_and_port() {
    let bytes = message(|request| ServerChange::Remove(web()).write(request)).split_off(16);
    assert_eq!(bytes, [vec![3, 1, 0, 0], vec![48, 0, 1, 0x80], web_fields()].concat());
}

/// `ipvsadm -A -t 10.96.0.10:80 -s rr -p 10800`.
#[test]
fn a_new_server_has_scheduler_flags_timeout_and_mask() {
    let settings = ServerSettings {
        scheduler: "rr".into(),
        flags: server_flag::PERSISTENT,
        timeout: Duration::from_secs(10_800),
    };
    let bytes = message(|request| ServerChange::Add(web(), settings).write(request)).split_off(16);
    let made = [
        vec![7, 0, 6, 0, b'r', b'r', 0, 0],
        vec![12, 0, 7, 0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
        vec![8, 0, 8, 0, 0x30, 0x2a, 0, 0],
        vec![8, 0, 9, 0, 0xff, 0xff, 0xff, 0xff],
    ];
    assert_eq!(bytes, [vec![1, 1, 0, 0], vec![84, 0, 1, 0x80], web_fields(), made.concat()].concat());
}

/// `ipvsadm -a -t 10.96.0.10:80 -r 10.244.0.11:8080 -m`.
#[test]
fn a_destination_is_translated_to_and_has_a_weight() {
    let change = ServerChange::AddDestination(web(), "10.244.0.11:8080".parse().unwrap(), 1);
    let bytes = message(|request| change.write(request)).split_off(16 + 4 + 4 + web_fields().len());
    let wanted = [
        vec![72, 0, 2, 0x80],
        [vec![20, 0, 1, 0, 10, 244, 0, 11], vec![0; 12]].concat(),
        vec![6, 0, 2, 0, 0x1f, 0x90, 0, 0],
        vec![6, 0, 11, 0, 2, 0, 0, 0],
        vec![8, 0, 3, 0, 0, 0, 0, 0],
        vec![8, 0, 4, 0, 1, 0, 0, 0],
        vec![8, 0, 5, 0, 0, 0, 0, 0],
        vec![8, 0, 6, 0, 0, 0, 0, 0],
    ];
    assert_eq!(bytes, wanted.concat());
}

#[test]
fn a_listed_server_reads_back_as_it_was_made() {
    for address in ["10.96.0.10", "fd00:10:96::10"] {
        let key = ServerKey { protocol: Sctp, address: address.parse().unwrap(), port: 80 };
        // The kernel adds a note of its own.
        let flags = server_flag::PERSISTENT | server_flag::HASHED;
        let settings = ServerSettings { scheduler: "mh".into(), flags, timeout: Duration::from_secs(10_800) };
        let bytes = message(|answer| ServerChange::Add(key, settings.clone()).write(answer));
        let read = |family| wire::server(&MessageIter::new(&bytes).next().unwrap(), family);
        let family = IpFamily::of(key.address);
        let settings = ServerSettings { flags: server_flag::PERSISTENT, ..settings };
        assert_eq!(read(family), Some(Server { key, settings }));
        let other = if family == IpFamily::V4 { IpFamily::V6 } else { IpFamily::V4 };
        assert_eq!(read(other), None);
    }
}

#[test]
fn a_server_that_is_known_by_a_mark_is_none_of_ours() {
    let bytes = message(|answer| {
        answer.bytes(&[1, 1, 0, 0]).nest(1, |fields| {
            // IPVS_SVC_ATTR_AF and IPVS_SVC_ATTR_FWMARK.
            fields.attribute(1, &2_u16.to_ne_bytes()).attribute(5, &7_u32.to_ne_bytes());
        });
    });
    assert_eq!(wire::server(&MessageIter::new(&bytes).next().unwrap(), IpFamily::V4), None);
}

#[test]
fn a_server_shows_as_protocol_and_socket_address() {
    let server = ServerKey { address: "fd00::1".parse().unwrap(), ..web() };
    assert_eq!(server.to_string(), "tcp [fd00::1]:80");
}
