//! A transaction byte by byte, and the way back from a refusal.

use std::collections::BTreeMap;

use portolan_netlink::MessageIter;

use super::*;

fn removal() -> Removal<u64> {
    Removal {
        table: "nat".to_owned(),
        jumps: vec![("OUTPUT".to_owned(), 258)],
        chains: vec!["KUBE-A".to_owned()],
        kept: BTreeMap::new(),
    }
}

fn text(kind: u8, text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len() + 5).unwrap();
    let mut bytes = [&[length, 0, kind, 0], text.as_bytes(), &[0]].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// As `nft --debug=netlink,mnl` shows for `delete rule ip nat OUTPUT handle 258; flush chain ip nat KUBE-A;
/// delete chain ip nat KUBE-A` (numbers of a little-endian machine).
#[test]
fn a_removal_is_one_batch_of_rules_before_chains() {
    let written = write(IpFamily::V4, &[removal()], Batch::new(7)).unwrap();
    let bytes: Vec<u8> = written.batch.pages().flatten().copied().collect();
    let messages: Vec<_> = MessageIter::new(&bytes).map(|m| (m.kind, m.flags, m.payload.to_vec())).collect();
    let header = vec![2, 0, 0, 0];
    let handle = vec![12, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 2];
    let bracket = vec![0, 0, 0, 10];
    let wanted = [
        (16, 1, bracket.clone()),
        (0x0a08, 1, [header.clone(), text(1, "nat"), text(2, "OUTPUT"), handle].concat()),
        (0x0a08, 1, [header.clone(), text(1, "nat"), text(2, "KUBE-A")].concat()),
        (0x0a05, 1 | 4, [header, text(1, "nat"), text(3, "KUBE-A")].concat()),
        (17, 1, bracket),
    ];
    assert_eq!(messages, wanted);
    assert_eq!(written.asked, 10);
}

#[test]
fn a_refused_message_leads_back_to_its_step() {
    let removals = [removal(), Removal { table: "filter".to_owned(), ..removal() }];
    let written = write(IpFamily::V6, &removals, Batch::new(u32::MAX)).unwrap();
    assert_eq!(written.step(&removals, u32::MAX), None);
    let second = Step::Rules { table: "nat", chain: "KUBE-A" };
    assert_eq!(written.step(&removals, 1), Some(second));
    assert_eq!(written.step(&removals, 5), Some(Step::Chain { table: "filter", chain: "KUBE-A" }));
    assert_eq!(written.step(&removals, 6), None);
}
