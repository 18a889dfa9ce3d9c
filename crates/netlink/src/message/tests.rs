use proptest::prelude::*;

use super::*;

#[test]
fn a_written_message_reads_back_with_its_attributes() {
    let mut buffer = Vec::new();
    let mut writer = MessageWriter::new(&mut buffer, 20, flag::REQUEST, 7);
    writer.bytes(&[2, 0, 0, 0]).text(1, "portolan");
    writer.nest(3, |w| {
        w.attribute(1, &[9]).attribute(2, &[8, 7]);
    });
    writer.finish().unwrap();

    let message = MessageIter::new(&buffer).next().unwrap();
    assert_eq!((message.kind, message.flags, message.sequence), (20, flag::REQUEST, 7));
    let attributes: Vec<_> = message.attributes(4).collect();
    assert_eq!(attributes[0].as_str(), Some("portolan"));
    let nested: Vec<_> = attributes[1].nested().map(|a| (a.kind, a.value.to_vec())).collect();
    assert_eq!(nested, [(1, vec![9]), (2, vec![8, 7])]);
}

#[test]
fn messages_follow_each_other_at_multiples_of_four() {
    let mut buffer = Vec::new();
    for sequence in 0..3 {
        let mut writer = MessageWriter::new(&mut buffer, 20, 0, sequence);
        writer.attribute(1, &[1; 5]);
        writer.finish().unwrap();
    }
    let sequences: Vec<_> = MessageIter::new(&buffer).map(|m| m.sequence).collect();
    assert_eq!(sequences, [0, 1, 2]);
}

#[test]
fn an_attribute_beyond_its_length_field_is_refused_and_leaves_no_trace() {
    let mut buffer = vec![1, 2, 3, 4];
    let mut writer = MessageWriter::new(&mut buffer, 20, 0, 0);
    writer.attribute(1, &vec![0; 65_536]);
    assert_eq!(writer.finish(), Err(TooLong));
    assert_eq!(buffer, [1, 2, 3, 4]);
}

#[test]
fn a_length_below_the_header_ends_the_iteration() {
    let mut bytes = [0; 32];
    bytes[0] = 15;
    assert_eq!(MessageIter::new(&bytes).next(), None);
}

proptest! {
    #[test]
    fn any_bytes_can_be_read_without_panic_and_without_end(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let messages = MessageIter::new(&bytes).take(100);
        let attributes: usize = messages.map(|m| m.attributes(4).flat_map(|a| a.nested()).count()).sum();
        prop_assert!(attributes <= bytes.len());
    }
}
