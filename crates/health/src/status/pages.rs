//! `/statusz` and `/flagz`: what runs, and how it was started (KEP-4827, KEP-4828).

mod yaml;

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
use super::accept::{Encoding, Form, Version, negotiate};
use crate::response::{json, respond, text};

/// The name by which tools know the component.
const COMPONENT: &str = "kube-proxy";

const WARNING: HeaderName = HeaderName::from_static("warning");

/// What `/statusz` tells besides what the server knows by itself.
#[derive(Debug, Clone)]
pub struct Statusz {
    /// What the program was built with.
    pub go_version: String,
    /// The version of Kubernetes it stands in for: `1.36`.
    pub binary_version: String,
    /// The version of Kubernetes whose behaviour it follows: `1.36`.
    pub emulation_version: String,
}

/// What `/flagz` tells.
#[derive(Debug, Clone)]
pub struct Flagz {
    /// Every flag with the value bound to it.
    pub flags: Vec<(String, String)>,
}

/// The routes of those pages that are on.
pub(crate) fn router(status: &Status) -> Router {
    let mut router = Router::new();
    if let Some(statusz) = status.statusz.clone() {
        let page = Arc::new(StatusPage { statusz, started: status.started, paths: paths(status) });
        let answer = async move |headers: HeaderMap| page.answer(&headers);
        router = router.route("/statusz", any(answer));
    }
    if let Some(flagz) = &status.flagz {
        let page = Arc::new(FlagPage { flags: flagz.flags.iter().cloned().collect() });
        router = router.route("/flagz", any(async move |headers: HeaderMap| page.answer(&headers)));
    }
    router
}

/// The paths that clients may want to know of, by their first part.
fn paths(status: &Status) -> Vec<&'static str> {
    let flagz = status.flagz.is_some().then_some("/flagz");
    ["/configz"].into_iter().chain(flagz).chain(["/healthz", "/metrics", "/proxyMode"]).collect()
}

/// A page that there is as text and as an object.
trait Page {
    /// Kind of the object.
    const KIND: &str;

    /// What the object holds besides its kind, version and name.
    type Content: Serialize;

    fn text(&self) -> String;

    fn content(&self) -> Self::Content;

    fn answer(&self, headers: &HeaderMap) -> Response {
        let accept = headers.get(ACCEPT).map_or("", |accept| accept.to_str().unwrap_or_default());
        match negotiate(accept, Self::KIND) {
            Some(Form::Text) => text(self.text()),
            Some(Form::Object(encoding, version)) => self.object(encoding, version),
            None => not_acceptable(),
        }
    }

    fn object(&self, encoding: Encoding, version: Version) -> Response {
        let object = Object {
            kind: Self::KIND,
            api_version: format!("config.k8s.io/{}", version.as_str()),
            metadata: Metadata { name: COMPONENT },
            content: self.content(),
        };
        let mut response = match encoding {
            Encoding::Json => json(json_line(&object)),
            Encoding::Yaml => {
                respond(StatusCode::OK, "application/yaml", yaml::document(&json_value(&object)))
            }
        };
        if version == Version::V1Alpha1 {
            response.headers_mut().insert(WARNING, deprecation(Self::KIND));
        }
        response
    }
}

/// RFC 7234 section 5.5; Kubernetes' clients show such warnings to people.
fn deprecation(kind: &str) -> HeaderValue {
    let text =
        format!("299 - \"config.k8s.io/v1alpha1 {kind} is deprecated; use config.k8s.io/v1beta1 {kind}\"");
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("299 - \"deprecated\""))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Object<T> {
    kind: &'static str,
    api_version: String,
    metadata: Metadata,
    #[serde(flatten)]
    content: T,
}

#[derive(Serialize)]
struct Metadata {
    name: &'static str,
}

struct StatusPage {
    statusz: Statusz,
    started: SystemTime,
    paths: Vec<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusContent {
    start_time: String,
    uptime_seconds: u64,
    go_version: String,
    binary_version: String,
    emulation_version: String,
    paths: Vec<&'static str>,
}

impl StatusPage {
    fn uptime(&self) -> u64 {
        self.started.elapsed().map_or(0, |uptime| uptime.as_secs())
    }

    /// Beyond the year 9999 there is no calendar to show.
    fn started(&self) -> Timestamp {
        Timestamp::try_from(self.started).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

impl Page for StatusPage {
    const KIND: &str = "Statusz";

    type Content = StatusContent;

    fn text(&self) -> String {
        let Statusz { go_version, binary_version, emulation_version } = &self.statusz;
        let uptime = self.uptime();
        format!(
            "{}Started: {}\nUp: {} hr {:02} min {:02} sec\nGo version: {go_version}\n\
             Binary version: {binary_version}\nEmulation version: {emulation_version}\nPaths: {}\n",
            heading("statusz"),
            // `time.UnixDate` of Go.
            self.started().strftime("%a %b %e %H:%M:%S UTC %Y"),
            uptime / 3600,
            uptime / 60 % 60,
            uptime % 60,
            self.paths.join(" "),
        )
    }

    fn content(&self) -> StatusContent {
        let Statusz { go_version, binary_version, emulation_version } = self.statusz.clone();
        StatusContent {
            start_time: self.started().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            uptime_seconds: self.uptime(),
            go_version,
            binary_version,
            emulation_version,
            paths: self.paths.clone(),
        }
    }
}

struct FlagPage {
    flags: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct FlagContent {
    flags: BTreeMap<String, String>,
}

impl Page for FlagPage {
    const KIND: &str = "Flagz";

    type Content = FlagContent;

    fn text(&self) -> String {
        self.flags.iter().fold(heading("flagz"), |mut page, (name, value)| {
            let _infallible = writeln!(page, "{name}: {value}");
            page
        })
    }

    fn content(&self) -> FlagContent {
        FlagContent { flags: self.flags.clone() }
    }
}

/// The top of a text.
fn heading(page: &str) -> String {
    format!(
        "\n{COMPONENT} {page}\n\
         Warning: this text is for people, and its layout may change at any time.\n\n"
    )
}

/// A `Status` of Kubernetes' API, as its clients expect with an error.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    kind: &'static str,
    api_version: &'static str,
    metadata: BTreeMap<String, String>,
    status: &'static str,
    message: &'static str,
    reason: &'static str,
    code: u16,
}

fn not_acceptable() -> Response {
    let failure = Failure {
        kind: "Status",
        api_version: "v1",
        metadata: BTreeMap::new(),
        status: "Failure",
        message: "only the following media types are accepted: application/json, application/yaml, text/plain",
        reason: "NotAcceptable",
        code: StatusCode::NOT_ACCEPTABLE.as_u16(),
    };
    respond(StatusCode::NOT_ACCEPTABLE, "application/json", json_line(&failure))
}

/// Strings, numbers, lists and maps with strings as keys always have a JSON form.
fn json_line(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default() + "\n"
}

fn json_value(value: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or_default()
}
