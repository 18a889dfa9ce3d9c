//! YAML in, trees out, with the lines that things are on.

use super::*;

fn node(line: usize, value: Value) -> Node {
    Node { line, value }
}

fn text(words: &str) -> Value {
    Value::Text(words.to_owned())
}

fn first(yaml: &str) -> Value {
    parse(yaml).unwrap_or_else(|error| panic!("{error}: {yaml}")).first.value
}

#[test]
fn quotes_and_tags_make_text_of_what_would_be_something_else() {
    for (yaml, expected) in [
        ("5", Value::Int(5)),
        ("'5'", text("5")),
        ("\"5\"", text("5")),
        ("!!str 5", text("5")),
        ("|\n  5\n", text("5\n")),
        ("yes", Value::Bool(true)),
        ("'yes'", text("yes")),
        ("", Value::Null),
        ("''", text("")),
        ("~", Value::Null),
        ("::1", text("::1")),
        ("\"\\u00e9\\/\"", text("\u{e9}/")),
    ] {
        assert_eq!(first(yaml), expected, "{yaml:?}");
    }
}

#[test]
fn mappings_keep_their_order_their_lines_and_keys_that_stand_twice() {
    let found = first("a: 1\nb:\n  - x\na: 2\n5: z\n");
    let list = Value::List(vec![node(3, text("x"))]);
    assert_eq!(
        found,
        Value::Map(vec![
            ("a".into(), node(1, Value::Int(1))),
            ("b".into(), node(3, list)),
            ("a".into(), node(4, Value::Int(2))),
            ("5".into(), node(5, text("z"))),
        ])
    );
}

#[test]
fn aliases_and_merges_stand_for_what_they_name() {
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
    assert_eq!(keys(1), ["w=Int(3)", "x=Int(1)"], "what stands there itself counts");
    assert_eq!(keys(2), ["z=Int(9)", "x=Int(1)", "w=Int(2)"]);
    assert!(parse("a: {<<: 5}").is_err());
    assert!(parse("? [a]\n: 1").is_err(), "JSON has no such key");
}

#[test]
fn documents_behind_the_first_are_seen() {
    for (yaml, more) in [
        ("a: 1", false),
        ("---\na: 1\n...\n", false),
        ("a: 1\n---\nb: 2", true),
        ("---\n---\n", true),
        ("", false),
    ] {
        assert_eq!(parse(yaml).map(|documents| documents.more), Ok(more), "{yaml:?}");
    }
}
