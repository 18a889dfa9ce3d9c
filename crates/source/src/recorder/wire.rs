//! Events as the API takes them: `events.k8s.io/v1`.

use std::fs;

use jiff::Timestamp;
use serde::Serialize;

use super::ledger::Entry;
use super::{Regarding, ReportKind};

/// Who reports. Kubernetes' own name, because people filter Events by it.
const CONTROLLER: &str = "kube-proxy";

/// Longest note that a server takes, in bytes (`noteLengthLimit` of its validation).
const NOTE: usize = 1024;

/// Longest name of a reporting instance, in bytes (`reportingInstanceLengthLimit`).
const INSTANCE: usize = 128;

/// Longest name of an object (RFC 1123 subdomain).
const NAME: usize = 253;

/// Where Events about objects without a namespace go (`metav1.NamespaceDefault`).
const DEFAULT_NAMESPACE: &str = "default";

/// Who we are in every Event.
#[derive(Debug)]
pub(super) struct Reporter {
    node: String,
    instance: String,
}

/// A request that makes an Event, or says how often it has happened.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) path: String,
    pub(super) body: Vec<u8>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<'a>,
    event_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    series: Option<Series>,
    reporting_controller: &'static str,
    reporting_instance: &'a str,
    action: &'static str,
    reason: &'static str,
    regarding: Reference<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    note: &'a str,
    #[serde(rename = "type")]
    type_: &'static str,
}

#[derive(Serialize)]
struct Metadata<'a> {
    name: &'a str,
    namespace: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Series {
    count: u32,
    last_observed_time: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reference<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_version: Option<&'static str>,
}

#[derive(Serialize)]
struct Patch {
    series: Series,
}

impl Reporter {
    /// The proxy on the node of this name; it is told from others by the host's name.
    pub(super) fn new(node: &str) -> Self {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = Some(host.trim()).filter(|host| !host.is_empty()).unwrap_or(node);
        let instance = format!("{CONTROLLER}-{host}");
        Self { node: node.to_owned(), instance: cut(&instance, INSTANCE).to_owned() }
    }

    /// What makes an Event of `entry`.
    ///
    /// # Errors
    /// Never, as far as anybody knows: there is nothing in it that JSON lacks.
    pub(super) fn create(&self, entry: &Entry) -> serde_json::Result<Request> {
        let regarding = self.regarding(&entry.report.regarding);
        let namespace = regarding.namespace.unwrap_or(DEFAULT_NAMESPACE);
        let event = Body {
            api_version: "events.k8s.io/v1",
            kind: "Event",
            metadata: Metadata { name: &event_name(regarding.name, entry.stamp), namespace },
            event_time: micro_time(entry.first),
            series: (entry.count > 1).then(|| series(entry)),
            reporting_controller: CONTROLLER,
            reporting_instance: &self.instance,
            action: entry.report.action,
            reason: entry.report.reason,
            note: cut(&entry.report.note, NOTE),
            type_: match entry.report.kind {
                ReportKind::Normal => "Normal",
                ReportKind::Warning => "Warning",
            },
            regarding: self.regarding(&entry.report.regarding),
        };
        Ok(Request { path: collection(namespace), body: serde_json::to_vec(&event)? })
    }

    /// What tells the server how often `entry` has happened.
    ///
    /// # Errors
    /// As for [`Self::create`].
    pub(super) fn count(&self, entry: &Entry) -> serde_json::Result<Request> {
        let regarding = self.regarding(&entry.report.regarding);
        let namespace = regarding.namespace.unwrap_or(DEFAULT_NAMESPACE);
        let path = format!("{}/{}", collection(namespace), event_name(regarding.name, entry.stamp));
        Ok(Request { path, body: serde_json::to_vec(&Patch { series: series(entry) })? })
    }

    fn regarding<'a>(&'a self, regarding: &'a Regarding) -> Reference<'a> {
        match regarding {
            Regarding::Node => {
                Reference { kind: "Node", namespace: None, name: &self.node, api_version: Some("v1") }
            }
            Regarding::Service(service) => Reference {
                kind: "Service",
                namespace: Some(&service.namespace),
                name: &service.name,
                api_version: None,
            },
        }
    }
}

fn collection(namespace: &str) -> String {
    format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events")
}

fn series(entry: &Entry) -> Series {
    Series { count: entry.count, last_observed_time: micro_time(entry.last) }
}

/// A `MicroTime`: always six digits after the point, and what comes after them left out.
fn micro_time(time: Timestamp) -> String {
    let cut = Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time);
    format!("{cut:.6}")
}

/// Name of the Event that `stamp` makes about `object`: the object's and the time's, as in
/// Kubernetes' own clients. An object whose name no Event can have lends none.
fn event_name(object: &str, stamp: i128) -> String {
    let stamp = format!("{stamp:x}");
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    let object = if object.chars().all(allowed) { object } else { CONTROLLER };
    let object = cut(object, NAME - stamp.len() - 1).trim_matches(['-', '.']);
    format!("{object}.{stamp}")
}

/// The start of `text` that has at most `bytes` bytes.
fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}
