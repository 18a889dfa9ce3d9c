//! YAML in, values out, with the lines that they are on.

use super::*;

fn string(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn first(yaml: &str) -> Value {
    parse(yaml).unwrap_or_else(|error| panic!("{error}: {yaml}")).first.value
}

#[test]
fn plain_scalars_have_the_type_that_kube_proxy_reads() {
    let cases = [
        ("", Value::Null),
        ("~", Value::Null),
        ("null", Value::Null),
        ("true", Value::Bool(true)),
        ("Yes", Value::Bool(true)),
        ("off", Value::Bool(false)),
        ("14", Value::Int(14)),
        ("-999", Value::Int(-999)),
        ("+5", Value::Int(5)),
        ("0", Value::Int(0)),
        ("0x1f", Value::Int(31)),
        ("0o17", Value::Int(15)),
        ("017", Value::Int(15)),
        ("0b101", Value::Int(5)),
        ("1_000", Value::Int(1000)),
        ("1.5", Value::Float(1.5)),
        (".5", Value::Float(0.5)),
        ("1e3", Value::Int(1000)),
        ("089", Value::Int(89)),
        ("99999999999999999999", Value::Float(1e20)),
    ];
    for (word, expected) in cases {
        let Value::Map(pairs) = first(&format!("a: {word}")) else { panic!("{word:?}") };
        assert_eq!(pairs[0].1.value, expected, "{word:?}");
    }
    for word in
        ["nftables", "30s", "0.0.0.0", "::1", "0x", "1-2", "e5", "infinity", "nan", "_1", "10.0.0.0/8", "--1"]
    {
        assert_eq!(first(word), string(word), "{word:?}");
    }
}

#[test]
fn quotes_and_tags_make_strings_of_other_types() {
    for (yaml, expected) in [
        ("5", Value::Int(5)),
        ("'5'", string("5")),
        ("\"5\"", string("5")),
        ("!!str 5", string("5")),
        ("|\n  5\n", string("5\n")),
        ("yes", Value::Bool(true)),
        ("'yes'", string("yes")),
        ("", Value::Null),
        ("''", string("")),
        ("~", Value::Null),
        ("::1", string("::1")),
        ("\"\\u00e9\\/\"", string("\u{e9}/")),
    ] {
        assert_eq!(first(yaml), expected, "{yaml:?}");
    }
}

#[test]
fn mappings_keep_their_order_their_lines_and_duplicate_keys() {
    let Value::Map(pairs) = first("a: 1\nb:\n  - x\na: 2\n5: z\n") else { panic!() };
    let lines: Vec<_> = pairs.iter().map(|(key, node)| (key.as_str(), node.defined.line())).collect();
    assert_eq!(lines, [("a", 1), ("b", 3), ("a", 4), ("5", 5)]);
    let Value::List(items) = &pairs[1].1.value else { panic!() };
    assert_eq!((items[0].defined.line(), &items[0].value), (3, &string("x")));
    assert_eq!((&pairs[0].1.value, &pairs[2].1.value), (&Value::Int(1), &Value::Int(2)));
}

#[test]
fn aliases_and_merges_are_expanded() {
    let Value::Map(pairs) = first("base: &b {x: 1, w: 2}\nown: {w: 3, <<: *b}\nboth: {<<: [{z: 9}, *b]}\n")
    else {
        panic!()
    };
    let keys = |index: usize| match &pairs[index].1.value {
        Value::Map(inside) => {
            inside.iter().map(|(key, node)| format!("{key}={:?}", node.value)).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(keys(1), ["w=Int(3)", "x=Int(1)"], "a key of the mapping itself wins");
    assert_eq!(keys(2), ["z=Int(9)", "x=Int(1)", "w=Int(2)"]);
    assert!(parse("a: {<<: 5}").is_err());
    assert!(parse("? [a]\n: 1").is_err(), "JSON has no such key");
}

#[test]
fn documents_after_the_first_are_noticed() {
    for (yaml, more) in [
        ("a: 1", false),
        ("---\na: 1\n...\n", false),
        ("a: 1\n---\nb: 2", true),
        ("---\n---\n", false),
        ("", false),
    ] {
        assert_eq!(parse(yaml).map(|documents| documents.more), Ok(more), "{yaml:?}");
    }
}
