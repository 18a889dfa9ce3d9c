//! Files of every make, good and bad.

use super::*;

fn kinds(syntax: Syntax, content: &str) -> Vec<Kind> {
    objects(syntax, content.as_bytes()).unwrap().iter().map(|object| object.kind).collect()
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
    assert_eq!(kinds(Syntax::Yaml, yaml), [Kind::Service, Kind::Node, Kind::Endpoints, Kind::Service]);
    let json = r#"{"items":[{"metadata":{"name":"a"}}],"kind":"ServiceList"} {"kind":"ServiceCIDR"} {"kind":"List","items":null}"#;
    assert_eq!(kinds(Syntax::Json, json), [Kind::Service, Kind::ServiceCidr]);
    assert_eq!(kinds(Syntax::Yaml, ""), []);
}

#[test]
fn kinds_of_other_groups_are_skipped() {
    let yaml = "kind: Service\napiVersion: serving.knative.dev/v1\n---\nkind: Node\napiVersion: v1\n---\n\
        kind: EndpointSlice\napiVersion: discovery.k8s.io/v1\n---\nkind: ServiceCIDR\napiVersion: v1\n---\n{a: 1}\n";
    assert_eq!(kinds(Syntax::Yaml, yaml), [Kind::Node, Kind::EndpointSlice, Kind::ServiceCidr]);
}

#[test]
fn a_syntax_error_names_document_and_line() {
    let broken = objects(Syntax::Yaml, b"kind: Node\n---\nkind: Service\nspec:\n  a: [1, 2\n").unwrap_err();
    assert_eq!(broken.document, 2);
    assert!(broken.reason.contains("line"), "{broken}");
    let broken = objects(Syntax::Json, b"{\"kind\":\"Node\"}\n{\"kind\":").unwrap_err();
    assert_eq!(broken.document, 2);
    assert!(broken.reason.contains("line 2"), "{broken}");
    assert!(objects(Syntax::Yaml, b"- a\n- b\n").is_err());
}

#[test]
fn an_alias_bomb_is_refused() {
    use std::fmt::Write as _;
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let refs = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(bomb, "a{level}: &a{level} [{refs}]").unwrap();
    }
    assert!(objects(Syntax::Yaml, bomb.as_bytes()).is_err());
    let fair = "kind: Service\nmetadata: {name: a, labels: &l {app: web}}\nspec: {selector: *l}\n";
    assert_eq!(kinds(Syntax::Yaml, fair), [Kind::Service]);
}

#[test]
fn a_deep_nest_is_refused() {
    let deep = format!("kind: Service\nspec: {}{}\n", "[".repeat(100_000), "]".repeat(100_000));
    assert!(objects(Syntax::Yaml, deep.as_bytes()).is_err());
    assert!(objects(Syntax::Json, deep.as_bytes()).is_err());
}
