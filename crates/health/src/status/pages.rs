//! `/statusz` and `/flagz`: what runs, and with which flags (KEP-4827, KEP-4828).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::http::header::{ACCEPT, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::any;
use jiff::Timestamp;
use serde::Serialize;

use super::Status;
use super::accept::{Encoding, Form, V1ALPHA1, negotiate};
use crate::http::{json, respond, text};

/// The name of the component, by which tools know it.
const COMPONENT: &str = "kube-proxy";

const WARNING: HeaderName = HeaderName::from_static("warning");

/// A `Status` of Kubernetes' API for a client that accepts no format of a page.
const NOT_ACCEPTABLE: &str = concat!(
    r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"only the following media types "#,
    r#"are accepted: application/json, application/yaml, text/plain","reason":"NotAcceptable","code":406}"#,
    "\n"
);

/// The versions on `/statusz`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Statusz {
    /// The compiler of the program.
    pub go_version: String,
    /// The version of Kubernetes whose kube-proxy it replaces: `1.36`.
    pub binary_version: String,
    /// The version of Kubernetes whose behaviour it has: `1.36`.
    pub emulation_version: String,
}

/// The content of `/flagz`.
#[derive(Debug, Clone)]
pub struct Flagz {
    /// All flags with their values.
    pub flags: Vec<(String, String)>,
}

/// The routes of the pages that are enabled.
pub(crate) fn router(status: &Status) -> Router {
    let mut router = Router::new();
    if let Some(statusz) = status.statusz.clone() {
        let (started, paths) = (status.started, paths(status));
        let page = async move |headers: HeaderMap| {
            let content = StatusContent::new(started, &statusz, &paths);
            answer(&headers, "Statusz", &content.text(started), &content)
        };
        router = router.route("/statusz", any(page));
    }
    if let Some(flagz) = &status.flagz {
        let content = Arc::new(FlagContent { flags: flagz.flags.iter().cloned().collect() });
        let page = async move |headers: HeaderMap| answer(&headers, "Flagz", &content.text(), &*content);
        router = router.route("/flagz", any(page));
    }
    router
}

/// The paths that `/statusz` lists.
fn paths(status: &Status) -> Vec<&'static str> {
    let flagz = status.flagz.is_some().then_some("/flagz");
    ["/configz"].into_iter().chain(flagz).chain(["/healthz", "/metrics", "/proxyMode"]).collect()
}

/// The page in the format that the client accepts.
fn answer(headers: &HeaderMap, kind: &'static str, body: &str, content: &impl Serialize) -> Response {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let (encoding, version) = match negotiate(accept, kind) {
        Some(Form::Object(encoding, version)) => (encoding, version),
        Some(Form::Text) => {
            return text(format!(
                "\n{COMPONENT} {}\nWarning: this text is for people, and its layout may change at any time.\n\n{body}",
                kind.to_lowercase()
            ));
        }
        None => return respond(StatusCode::NOT_ACCEPTABLE, "application/json", NOT_ACCEPTABLE),
    };
    let api_version = format!("config.k8s.io/{version}");
    let object = Object { kind, api_version, metadata: Metadata { name: COMPONENT }, content };
    // Strings, numbers, lists and maps with strings as keys always have a JSON and a YAML form.
    let mut response = match encoding {
        Encoding::Json => json(serde_json::to_string(&object).unwrap_or_default() + "\n"),
        Encoding::Yaml => {
            let object = serde_json::to_value(&object).unwrap_or_default();
            let yaml = serde_saphyr::to_string(&object).unwrap_or_default();
            respond(StatusCode::OK, "application/yaml", yaml)
        }
    };
    if version == V1ALPHA1 {
        response.headers_mut().insert(WARNING, deprecation(kind));
    }
    response
}

/// RFC 7234 section 5.5; Kubernetes' clients show such warnings to users.
fn deprecation(kind: &str) -> HeaderValue {
    let text =
        format!("299 - \"config.k8s.io/v1alpha1 {kind} is deprecated; use config.k8s.io/v1beta1 {kind}\"");
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("299 - \"deprecated\""))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Object<'a, T> {
    kind: &'static str,
    api_version: String,
    metadata: Metadata,
    #[serde(flatten)]
    content: &'a T,
}

#[derive(Serialize)]
struct Metadata {
    name: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusContent<'a> {
    start_time: String,
    uptime_seconds: u64,
    #[serde(flatten)]
    versions: &'a Statusz,
    paths: &'a [&'static str],
}

impl<'a> StatusContent<'a> {
    fn new(started: SystemTime, versions: &'a Statusz, paths: &'a [&'static str]) -> Self {
        Self {
            start_time: calendar(started).strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            uptime_seconds: started.elapsed().map_or(0, |uptime| uptime.as_secs()),
            versions,
            paths,
        }
    }

    fn text(&self, started: SystemTime) -> String {
        let Statusz { go_version, binary_version, emulation_version } = self.versions;
        let uptime = self.uptime_seconds;
        format!(
            "Started: {}\nUp: {} hr {:02} min {:02} sec\nGo version: {go_version}\n\
             Binary version: {binary_version}\nEmulation version: {emulation_version}\nPaths: {}\n",
            // `time.UnixDate` of Go.
            calendar(started).strftime("%a %b %e %H:%M:%S UTC %Y"),
            uptime / 3600,
            uptime / 60 % 60,
            uptime % 60,
            self.paths.join(" "),
        )
    }
}

/// Calendar time; years after 9999 have none.
fn calendar(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[derive(Serialize)]
struct FlagContent {
    flags: BTreeMap<String, String>,
}

impl FlagContent {
    fn text(&self) -> String {
        self.flags.iter().fold(String::new(), |mut page, (name, value)| {
            let _infallible = writeln!(page, "{name}: {value}");
            page
        })
    }
}
