//! Lists of every shape, with chunks that end anywhere.

use super::*;
use portolan_testkit::fixtures;
use proptest::prelude::*;
use serde_json::{Value, json};

fn cut(list: &str, sizes: &mut dyn Iterator<Item = usize>) -> (Vec<String>, Result<ListMeta, Failure>) {
    let mut parser = ListParser::default();
    let mut elements = Vec::new();
    let mut rest = list.as_bytes();
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(sizes.next().unwrap_or(1).clamp(1, rest.len()));
        let take = |element: &[u8]| {
            elements.push(String::from_utf8(element.to_vec()).unwrap());
            Ok(())
        };
        parser.feed(chunk, take).unwrap();
        rest = after;
    }
    (elements, parser.finish())
}

fn whole(list: &str) -> (Vec<String>, Result<ListMeta, Failure>) {
    cut(list, &mut std::iter::repeat(usize::MAX))
}

#[test]
fn real_pages_are_cut_into_their_objects_wherever_the_chunks_end() {
    for page in [fixtures::LIST_PAGE_1, fixtures::LIST_PAGE_2] {
        let parsed: Value = serde_json::from_str(page).unwrap();
        for size in [1, 2, 3, 7, 64, 1000, usize::MAX] {
            let (elements, meta) = cut(page, &mut std::iter::repeat(size));
            let elements: Vec<Value> =
                elements.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
            assert_eq!(&elements, parsed["items"].as_array().unwrap(), "chunks of {size}");
            let meta = meta.unwrap();
            assert_eq!(meta.resource_version.as_deref(), Some("31101"));
            assert_eq!(meta.continue_.as_deref(), parsed["metadata"]["continue"].as_str());
        }
    }
}

#[test]
fn odd_lists_are_cut_right() {
    let cases: [(&str, &[&str]); 9] = [
        (r#"{"items":[]}"#, &[]),
        (r#"{"items":null}"#, &[]),
        (r#"{"kind":"items","x":[1],"items":[{}]}"#, &["{}"]),
        (r#"{"x":{"items":[1,2]},"items":[{"items":[3]}]}"#, &[r#"{"items":[3]}"#]),
        (r#"{"items" : [ {"a":"]}\"\\"} , {} ] }"#, &[r#"{"a":"]}\"\\"}"#, "{}"]),
        (r#"{"items":[1,null,"a,]",[2]]}"#, &["1", "null", "\"a,]\"", "[2]"]),
        (r#"{"items":[true]}"#, &["true"]),
        (r#"{"a\"b":["x"],"metadata":{"resourceVersion":"1"},"items":[{}]}"#, &["{}"]),
        (r#"{"items":["",{}]}"#, &["\"\"", "{}"]),
    ];
    for (list, expected) in cases {
        for size in [1, 2, 5, usize::MAX] {
            let (elements, meta) = cut(list, &mut std::iter::repeat(size));
            assert_eq!(elements, expected, "{list} in chunks of {size}");
            assert!(meta.is_ok(), "{list}: {meta:?}");
        }
    }
}

#[test]
fn a_list_that_breaks_off_is_an_error() {
    let page = fixtures::LIST_PAGE_1.trim_end();
    for end in 0..page.len() {
        assert!(whole(&page[..end]).1.is_err(), "{end}");
    }
    assert!(whole("<html>").1.is_err());
}

#[test]
fn an_answer_without_items_is_no_empty_list() {
    let error = whole(r#"{"kind":"Status","metadata":{"resourceVersion":"1"}}"#).1.unwrap_err();
    assert!(error.to_string().contains("missing field `items`"), "{error}");
    assert!(whole(r#"{"items":null,"metadata":{"resourceVersion":"1"}}"#).1.is_ok());
}

#[test]
fn a_list_with_too_much_text_around_its_items_is_rejected() {
    let mut parser = ListParser::default();
    let endless = vec![b' '; MAX_ENVELOPE + 1];
    assert!(parser.feed(&endless, |_| panic!("no element")).is_err());
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        r#"[a-z"\\\[\]{},: é]{0,8}"#.prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("items|[a-z\"]{0,3}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_list_is_cut_as_a_parser_would(
        items in proptest::collection::vec(any_json(), 0..5),
        before in any_json(),
        after in any_json(),
        pretty in any::<bool>(),
        sizes in proptest::collection::vec(1_usize..40, 1..20),
    ) {
        let list = json!({"a": before, "items": items, "z": after});
        let text = if pretty { serde_json::to_string_pretty(&list) } else { serde_json::to_string(&list) }.unwrap();
        let (elements, meta) = cut(&text, &mut sizes.into_iter().cycle());
        let elements: Vec<Value> = elements.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        prop_assert_eq!(elements, items);
        prop_assert!(meta.is_ok());
    }
}
