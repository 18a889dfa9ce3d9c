//! Profiles, read by an independent decoder.

use std::collections::HashMap;

use super::*;

/// A field of a message.
#[derive(Debug, Clone, PartialEq)]
enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

impl Field {
    fn number(&self) -> u64 {
        match self {
            Self::Number(number) => *number,
            Self::Bytes(_) => panic!("{self:?} is not a number"),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(_) => panic!("{self:?} has no length"),
        }
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().expect("an unfinished number has a next byte");
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return value;
        }
    }
    panic!("a number has no end");
}

/// The fields of a message, by number.
fn decode(mut bytes: &[u8]) -> HashMap<u64, Vec<Field>> {
    let mut fields = HashMap::<_, Vec<_>>::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let value = varint(&mut bytes);
        let field = match tag & 7 {
            0 => Field::Number(value),
            2 => {
                let (content, rest) = bytes.split_at(usize::try_from(value).unwrap());
                bytes = rest;
                Field::Bytes(content.to_vec())
            }
            other => panic!("wire type {other}"),
        };
        fields.entry(tag >> 3).or_default().push(field);
    }
    fields
}

/// Of each sample the name of its function, the number of its thread, and its value.
fn samples(profile: &HashMap<u64, Vec<Field>>) -> Vec<(String, u64, u64)> {
    let parts = |field| profile.get(&field).into_iter().flatten().map(|part: &Field| decode(part.bytes()));
    let strings: Vec<_> =
        profile[&6].iter().map(|text| String::from_utf8(text.bytes().into()).unwrap()).collect();
    let text = |number: u64| strings[usize::try_from(number).unwrap()].clone();
    let names: HashMap<_, _> =
        parts(5).map(|function| (function[&1][0].number(), function[&2][0].number())).collect();
    let functions: HashMap<_, _> = parts(4)
        .map(|location| {
            let line = decode(location[&4][0].bytes());
            (location[&1][0].number(), names[&line[&1][0].number()])
        })
        .collect();
    let sample = |sample: HashMap<u64, Vec<Field>>| {
        let label = decode(sample[&3][0].bytes());
        assert_eq!(text(label[&1][0].number()), "thread");
        (text(functions[&sample[&1][0].number()]), label[&3][0].number(), sample[&2][0].number())
    };
    parts(2).map(sample).collect()
}

fn usage(name: &str, first: u64, last: u64) -> Usage {
    Usage { name: name.into(), first, last }
}

#[test]
fn cpu_time_is_a_function_for_each_name_and_a_label_for_each_thread() {
    let profile = Profile {
        started: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        took: Duration::from_secs(2),
        threads: [
            (7, usage("main", 1_000, 301_000)),
            (8, usage("worker", 0, 5_000_000_000)),
            (9, usage("worker", 10, 30)),
            (10, usage("idle", 77, 77)),
        ]
        .into(),
    };
    let decoded = decode(&profile.encode());
    let expected = [("main", 7, 300_000), ("worker", 8, 5_000_000_000), ("worker", 9, 20)]
        .map(|(name, thread, used)| (name.to_owned(), thread, used));
    assert_eq!(samples(&decoded), expected);
    assert_eq!(decoded[&6][0].bytes(), b"", "the first string must be empty");
    let numbers = [9, 10, 12].map(|field| decoded[&field][0].number());
    assert_eq!(numbers, [1_700_000_000_000_000_000, 2_000_000_000, 1]);
    for field in [1, 11] {
        let kind = decode(decoded[&field][0].bytes());
        let text = |number: u64| decoded[&6][usize::try_from(number).unwrap()].bytes();
        assert_eq!(
            (text(kind[&1][0].number()), text(kind[&2][0].number())),
            (&b"cpu"[..], &b"nanoseconds"[..])
        );
    }
}

#[test]
fn a_later_thread_counts_from_its_start_and_a_renamed_one_by_its_new_name() {
    let thread = |id, name: &str, cpu| Thread { id, name: name.into(), state: 'R', cpu };
    let mut profile = Profile { started: UNIX_EPOCH, took: Duration::ZERO, threads: BTreeMap::new() };
    profile.threads.insert(1, usage("main", 100, 100));
    profile.add(vec![thread(1, "main", 150), thread(2, "portolan", 30)]);
    profile.add(vec![thread(1, "main", 160), thread(2, "sync", 40)]);
    profile.add(vec![thread(1, "main", 170)]);
    assert_eq!(profile.threads, [(1, usage("main", 100, 170)), (2, usage("sync", 0, 40))].into());
}

#[tokio::test]
async fn a_busy_thread_is_in_the_profile_of_this_process() {
    let spin = std::thread::Builder::new().name("busy".into()).spawn(|| {
        let end = std::time::Instant::now() + Duration::from_millis(600);
        while std::time::Instant::now() < end {
            std::hint::spin_loop();
        }
    });
    let profile = Profile::take(Path::new("/proc"), Duration::from_millis(400)).await;
    spin.unwrap().join().unwrap();
    let samples = samples(&decode(&profile.encode()));
    let used = samples.iter().find(|(name, _, _)| name == "busy").map(|(_, _, used)| *used);
    // On a machine with other things to do it gets less than all of the 400 ms.
    assert!(used.is_some_and(|used| (1_000_000..=700_000_000).contains(&used)), "{samples:?}");
}
