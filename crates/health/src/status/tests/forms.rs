//! `/statusz` and `/flagz` in each of their forms.

use super::*;

async fn get_as(path: &str, accept: &str) -> (Answer, HeaderMap) {
    let request = Request::builder().uri(path).header("accept", accept).body(Body::empty()).unwrap();
    ask_for(&full_router(), request).await
}

fn object(kind: &str, encoding: &str, version: &str) -> String {
    format!("application/{encoding};v={version};g=config.k8s.io;as={kind}")
}

/// The text below its heading, which ends with an empty line.
fn below_heading<'a>(page: &'a Answer, heading: &str) -> &'a str {
    assert_eq!((page.status, page.content_type.as_str(), page.nosniff), (200, TEXT, true));
    let (top, text) = page.body[1..].split_once("\n\n").unwrap();
    assert!(page.body.starts_with(&format!("\n{heading}\nWarning: ")), "{top}");
    text
}

#[tokio::test]
async fn statusz_is_text_for_people() {
    for accept in ["", "text/plain", "*/*", "application/json, */*"] {
        let (page, _) = get_as("/statusz", accept).await;
        let text = below_heading(&page, "kube-proxy statusz");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "Started: Tue Nov 14 22:13:20 UTC 2023");
        let up: Vec<_> = lines[1].split(' ').collect();
        assert_eq!((up[0], up[2], up[4], up[6]), ("Up:", "hr", "min", "sec"), "{}", lines[1]);
        assert_eq!((up[3].len(), up[5].len()), (2, 2), "{}", lines[1]);
        assert_eq!(
            lines[2..],
            [
                "Go version: rustc 1.2.3",
                "Binary version: 1.36",
                "Emulation version: 1.35",
                "Paths: /configz /flagz /healthz /metrics /proxyMode",
            ]
        );
    }
}

#[tokio::test]
async fn statusz_is_an_object_for_programs() {
    let (page, headers) = get_as("/statusz", &object("Statusz", "json", "v1beta1")).await;
    assert_eq!((page.status, page.content_type.as_str(), page.nosniff), (200, "application/json", true));
    assert!(!headers.contains_key("warning"), "{headers:?}");
    let mut value: serde_json::Value = serde_json::from_str(&page.body).unwrap();
    let uptime = value.as_object_mut().unwrap().remove("uptimeSeconds").unwrap();
    assert!(uptime.as_u64().unwrap() > 90_000_000, "{uptime} seconds since 2023");
    let expected = serde_json::json!({
        "kind": "Statusz",
        "apiVersion": "config.k8s.io/v1beta1",
        "metadata": {"name": "kube-proxy"},
        "startTime": "2023-11-14T22:13:20Z",
        "goVersion": "rustc 1.2.3",
        "binaryVersion": "1.36",
        "emulationVersion": "1.35",
        "paths": ["/configz", "/flagz", "/healthz", "/metrics", "/proxyMode"],
    });
    assert_eq!(value, expected);
}

#[tokio::test]
async fn flagz_lists_flags_in_order_and_as_an_object() {
    let (page, _) = get_as("/flagz", "text/plain").await;
    assert_eq!(below_heading(&page, "kube-proxy flagz"), "bind-address: 0.0.0.0\nhelp: false\nv: 4\n");
    let (page, _) = get_as("/flagz", &object("Flagz", "json", "v1beta1")).await;
    let expected = "{\"kind\":\"Flagz\",\"apiVersion\":\"config.k8s.io/v1beta1\",\"metadata\":{\"name\":\"kube-proxy\"},\
                    \"flags\":{\"bind-address\":\"0.0.0.0\",\"help\":\"false\",\"v\":\"4\"}}\n";
    assert_eq!(page, answer(200, "application/json", expected));
}

#[tokio::test]
async fn the_older_version_warns_and_yaml_is_the_same_object() {
    let (page, headers) = get_as("/flagz", &object("Flagz", "yaml", "v1alpha1")).await;
    let expected = "apiVersion: config.k8s.io/v1alpha1\n\
                    flags:\n  bind-address: \"0.0.0.0\"\n  help: \"false\"\n  v: \"4\"\n\
                    kind: Flagz\nmetadata:\n  name: kube-proxy\n";
    assert_eq!(page, answer(200, "application/yaml", expected));
    let warning = headers["warning"].to_str().unwrap();
    assert!(warning.starts_with("299 - \"config.k8s.io/v1alpha1 Flagz is deprecated"), "{warning}");
    let (_, headers) = get_as("/flagz", &object("Flagz", "yaml", "v1beta1")).await;
    assert!(!headers.contains_key("warning"), "{headers:?}");
}

#[tokio::test]
async fn no_accepted_format_is_an_api_error() {
    for accept in ["application/json", "image/png", &object("Statusz", "json", "v1beta1")] {
        let (page, _) = get_as("/flagz", accept).await;
        let expected = "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":\"only the \
                        following media types are accepted: application/json, application/yaml, text/plain\",\
                        \"reason\":\"NotAcceptable\",\"code\":406}\n";
        assert_eq!(page, answer(406, "application/json", expected), "{accept}");
    }
}

#[tokio::test]
async fn statusz_does_not_list_flagz_if_that_is_disabled() {
    let status = Status { flagz: None, ..everything(&Arc::default()) };
    let page = get(&router(status), "/statusz").await;
    assert!(page.body.ends_with("\nPaths: /configz /healthz /metrics /proxyMode\n"), "{}", page.body);
}
