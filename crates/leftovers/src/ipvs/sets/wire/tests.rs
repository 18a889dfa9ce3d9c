//! Messages about sets byte by byte.

use portolan_netlink::MessageIter;

use super::*;

fn written(fill: impl FnOnce(&mut MessageWriter<'_>)) -> Vec<u8> {
    let mut buffer = Vec::new();
    let mut writer = MessageWriter::new(&mut buffer, LIST, 0, 1);
    fill(&mut writer);
    writer.finish().unwrap();
    buffer
}

fn payload(fill: impl FnOnce(&mut MessageWriter<'_>)) -> Vec<u8> {
    written(fill).split_off(16)
}

/// `ipset destroy KUBE-A`, but for the protocol's version; on a little-endian machine.
#[test]
fn a_command_has_the_version_and_the_name() {
    let wanted =
        [vec![2, 0, 0, 0], vec![5, 0, 1, 0, 6, 0, 0, 0], [&[11, 0, 2, 0], &b"KUBE-A\0\0"[..]].concat()];
    assert_eq!(payload(|request| write_name(request, IpFamily::V4, "KUBE-A")), wanted.concat());
    assert_eq!((DESTROY, LIST), (0x0603, 0x0607));
}

/// `ipset list -name`
#[test]
fn names_are_asked_for_with_a_flag_in_the_networks_order() {
    let wanted = [vec![0; 4], vec![5, 0, 1, 0, 6, 0, 0, 0], vec![8, 0, 6, 0, 0, 0, 0, 2]];
    assert_eq!(payload(write_names_only), wanted.concat());
}

#[test]
fn entries_have_a_port_and_perhaps_an_address() {
    let bytes = written(|list| {
        list.bytes(&[0; 4]).text(2, "KUBE-NODE-PORT-SCTP-HASH");
        list.nest(8, |entries| {
            entries.nest(7, |data| _ = data.attribute(4, &30080_u16.to_be_bytes()));
            entries.nest(7, |data| {
                data.nest(1, |address| _ = address.attribute(1, &[192, 0, 2, 1]));
                data.attribute(4, &30081_u16.to_be_bytes()).attribute(7, &[132]);
            });
            entries.nest(7, |data| {
                data.nest(1, |address| _ = address.attribute(2, &[0xfd; 16]));
                data.attribute(4, &1_u16.to_be_bytes());
            });
            entries.nest(7, |data| _ = data.attribute(1, &[1]));
        });
    });
    let message = MessageIter::new(&bytes).next().unwrap();
    assert_eq!(set_name(&message).as_deref(), Some("KUBE-NODE-PORT-SCTP-HASH"));
    let at = |address: Option<&str>, port| Entry { address: address.map(|a| a.parse().unwrap()), port };
    let v6 = Ipv6Addr::from([0xfd; 16]).to_string();
    let wanted = [at(None, 30080), at(Some("192.0.2.1"), 30081), at(Some(&v6), 1)];
    assert_eq!(entries(&message), wanted);
}
