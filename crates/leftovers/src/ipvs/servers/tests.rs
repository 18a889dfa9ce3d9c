//! Messages about virtual servers byte by byte.

use portolan_netlink::MessageIter;

use super::*;

fn message(fill: impl FnOnce(&mut MessageWriter<'_>)) -> Vec<u8> {
    let mut buffer = Vec::new();
    let mut writer = MessageWriter::new(&mut buffer, 30, 0, 1);
    fill(&mut writer);
    writer.finish().unwrap();
    buffer
}

fn web() -> Server {
    Server { protocol: 6, address: "10.96.0.10".parse().unwrap(), port: 80 }
}

/// `IPVS_CMD_DEL_SERVICE` as `ipvsadm -D -t 10.96.0.10:80` sends it, without the fields that only make a
/// virtual server; on a little-endian machine.
#[test]
fn a_deletion_names_family_protocol_address_and_port() {
    let bytes = message(|request| write_deletion(request, &web())).split_off(16);
    let wanted = [
        vec![3, 1, 0, 0],
        vec![48, 0, 1, 0x80],
        vec![6, 0, 1, 0, 2, 0, 0, 0],
        vec![6, 0, 2, 0, 6, 0, 0, 0],
        [vec![20, 0, 3, 0, 10, 96, 0, 10], vec![0; 12]].concat(),
        vec![6, 0, 4, 0, 0, 80, 0, 0],
    ];
    assert_eq!(bytes, wanted.concat());
}

/// What the kernel answers to `IPVS_CMD_GET_SERVICE`, with some of the fields that do not matter here.
#[test]
fn a_listed_server_reads_back_what_its_deletion_names() {
    for address in ["10.96.0.10", "fd00:10:96::10"] {
        let listed = Server { address: address.parse().unwrap(), ..web() };
        let family = IpFamily::of(listed.address);
        let bytes = message(|answer| write_deletion(answer, &listed));
        let read = |family| server(&MessageIter::new(&bytes).next().unwrap(), family);
        assert_eq!(read(family), Some(listed));
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
    assert_eq!(server(&MessageIter::new(&bytes).next().unwrap(), IpFamily::V4), None);
}

#[test]
fn a_server_shows_as_socket_address_and_protocol() {
    let server = Server { address: "fd00::1".parse().unwrap(), ..web() };
    assert_eq!(server.to_string(), "[fd00::1]:80 of protocol 6");
}
