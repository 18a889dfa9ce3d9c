//! Files of every make, good and bad.

use super::*;

fn kinds(syntax: Syntax, content: &str) -> Vec<&'static str> {
    parse(syntax, content.as_bytes()).unwrap().objects.iter().map(|object| object.kind).collect()
}

#[test]
fn file_names_decide_the_syntax() {
    let cases = [
        ("web.yaml", Some(Syntax::Yaml)),
        ("web.yml", Some(Syntax::Yaml)),
        ("web.json", Some(Syntax::Json)),
        (".web.yaml", None),
        (".web.yaml.swp", None),
        ("web.yaml~", None),
        ("#web.yaml#", None),
        (".#web.yaml", None),
        ("web.yaml.bak", None),
        ("README.md", None),
        ("yaml", None),
        ("..data", None),
    ];
    for (name, syntax) in cases {
        assert_eq!(Syntax::of(name), syntax, "{name}");
    }
}

#[test]
fn lists_and_documents_mix() {
    let yaml = "# only a comment\n---\nkind: Service\napiVersion: v1\nmetadata: {name: a}\n---\n---\n\
        apiVersion: v1\nitems:\n- kind: Node\n  metadata: {name: n1}\n- kind: ConfigMap\n- kind: List\n  items:\n  \
        - {kind: Endpoints, metadata: {name: b}}\nkind: List\n---\nkind: ServiceList\nitems: [{metadata: {name: c}}]\n";
    assert_eq!(kinds(Syntax::Yaml, yaml), ["Service", "Node", "Endpoints", "Service"]);
    let json = r#"{"items":[{"metadata":{"name":"a"}}],"kind":"ServiceList"} {"kind":"ServiceCIDR"} {"kind":"List","items":null}"#;
    assert_eq!(kinds(Syntax::Json, json), ["Service", "ServiceCIDR"]);
    assert_eq!(kinds(Syntax::Yaml, ""), [] as [&str; 0]);
}

#[test]
fn kinds_of_other_groups_are_skipped_and_named_with_their_first_place() {
    let yaml = "kind: Service\napiVersion: serving.knative.dev/v1\n---\nkind: Node\napiVersion: v1\n---\n\
        kind: EndpointSlice\napiVersion: discovery.k8s.io/v1\n---\nkind: Servcie\napiVersion: v1\n---\n{a: 1}\n---\n\
        apiVersion: v1\nitems:\n- {kind: Node}\n- {kind: Servcie, apiVersion: v1}\nkind: List\n";
    let parsed = parse(Syntax::Yaml, yaml.as_bytes()).unwrap();
    let kinds: Vec<_> = parsed.objects.iter().map(|object| object.kind).collect();
    assert_eq!(kinds, ["Node", "EndpointSlice", "Node"]);
    let location = |document, line| Location { document, line };
    let others = [
        ("", (location(5, 13), 1)),
        ("serving.knative.dev/v1 Service", (location(1, 1), 1)),
        ("v1 Servcie", (location(4, 10), 2)),
    ];
    assert_eq!(parsed.others, others.map(|(kind, what)| (kind.to_owned(), what)).into());
}

#[test]
fn versions_that_a_kind_does_not_have_are_named() {
    let versions = |yaml: &str| -> Vec<_> {
        let parsed = parse(Syntax::Yaml, yaml.as_bytes()).unwrap();
        parsed.objects.into_iter().map(|object| object.version.map(|(given, _)| given)).collect()
    };
    let yaml = |kind: &str, version: &str| format!("kind: {kind}\napiVersion: {version}\n");
    for right in [
        yaml("Service", "v1"),
        yaml("Node", ""),
        yaml("EndpointSlice", "discovery.k8s.io/v1"),
        yaml("ServiceCIDR", "networking.k8s.io/v1"),
    ] {
        assert_eq!(versions(&right), [None], "{right}");
    }
    for (kind, version) in [
        ("Service", "v2"),
        ("EndpointSlice", "discovery.k8s.io/v1beta1"),
        ("EndpointSlice", "v1"),
        ("ServiceCIDR", "networking.k8s.io/v1alpha1"),
    ] {
        assert_eq!(versions(&yaml(kind, version)), [Some(version.to_owned())]);
    }
}

#[test]
fn objects_are_found_with_document_and_line() {
    let locations = |syntax, content: &str| -> Vec<_> {
        let parsed = parse(syntax, content.as_bytes()).unwrap();
        parsed.objects.iter().map(|object| (object.location.document, object.location.line)).collect()
    };
    let yaml = "# a comment\n---\nkind: Service\nmetadata:\n  name: a\n---\n\nkind: List\nitems:\n- kind: Node\n  \
        metadata: {}\n-\n  kind: Node\n---\nitems:\n- {}\n- metadata: {}\nkind: ServiceList\n";
    assert_eq!(locations(Syntax::Yaml, yaml), [(1, 3), (2, 10), (2, 13), (3, 16), (3, 17)]);
    let json = "{\"kind\": \"Node\"}\n\n{\"items\": [\n  {\"kind\": \"Node\"},\n  {}, {}\n], \"kind\": \"ServiceList\"}\n{\"kind\": \"Node\"}";
    assert_eq!(locations(Syntax::Json, json), [(1, 1), (2, 4), (2, 5), (2, 5), (3, 7)]);
}

#[test]
fn errors_have_document_and_line_and_no_parser_types_or_advice() {
    let duplicate = "duplicate mapping key: kind not allowed here";
    let tab = "while scanning a plain scalar, found a tab";
    let no_object = "invalid type: sequence, expected a Kubernetes object";
    let cases: [(_, &[u8], _, _); 10] = [
        (
            Syntax::Yaml,
            b"kind: Node\n---\nkind: Service\nspec:\n  a: [1, 2\n",
            (2, 5),
            "unclosed bracket '['",
        ),
        (Syntax::Yaml, b"- a\n- b\n", (1, 1), "expected a Kubernetes object"),
        (Syntax::Yaml, b"kind: Node\n---\nkind: Node\nkind: Service\n", (2, 4), duplicate),
        (Syntax::Yaml, b"kind: List\nitems: 7\n", (1, 2), "expected a list"),
        (Syntax::Yaml, b"kind: Node\nspec: *nothing\n", (1, 2), "reference to unknown value"),
        (Syntax::Yaml, b"kind: Node\n\tspec: 1\n", (1, 1), tab),
        (Syntax::Yaml, b"kind: Node\nspec: \"\xff\"\n", (1, 2), "is not valid UTF-8"),
        (Syntax::Json, b"{\"kind\":\"Node\"}\n{\"kind\":", (2, 2), "EOF while parsing a value"),
        (Syntax::Json, b"{\"kind\":\"Node\"}\n\n[\n1]", (2, 3), no_object),
        (Syntax::Json, b"\n{\"items\":\n7}", (1, 3), "invalid type: integer `7`, expected a list"),
    ];
    for (syntax, content, location, reason) in cases {
        let broken = parse(syntax, content).unwrap_err();
        assert_eq!((broken.location.document, broken.location.line), location, "{broken:?}");
        assert_eq!(broken.reason, reason);
    }
    let deep = format!("kind: Service\nspec: {}{}\n", "[".repeat(100), "]".repeat(100));
    assert_eq!(parse(Syntax::Yaml, deep.as_bytes()).unwrap_err().reason, "is nested too deeply or too large");
}

#[test]
fn an_alias_bomb_is_rejected() {
    use std::fmt::Write as _;
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let refs = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(bomb, "a{level}: &a{level} [{refs}]").unwrap();
    }
    assert!(parse(Syntax::Yaml, bomb.as_bytes()).is_err());
    let fair = "kind: Service\nmetadata: {name: a, labels: &l {app: web}}\nspec: {selector: *l}\n";
    assert_eq!(kinds(Syntax::Yaml, fair), ["Service"]);
}

#[test]
fn too_deep_nesting_is_rejected() {
    let deep = format!("kind: Service\nspec: {}{}\n", "[".repeat(100_000), "]".repeat(100_000));
    assert!(parse(Syntax::Yaml, deep.as_bytes()).is_err());
    assert!(parse(Syntax::Json, deep.as_bytes()).is_err());
}
