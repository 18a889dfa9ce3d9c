//! Events in the form of the API: `events.k8s.io/v1`.

use std::fs;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use serde_json::json;

use super::cache::Entry;
use super::{Regarding, ReportKind};

/// The reporting controller. kube-proxy's name, because people filter Events by it.
const CONTROLLER: &str = "kube-proxy";

/// Longest note that a server accepts, in bytes (`noteLengthLimit` of its validation).
const MAX_NOTE: usize = 1024;

/// Longest name of a reporting instance, in bytes (`reportingInstanceLengthLimit`).
const MAX_INSTANCE: usize = 128;

/// Longest name of an object (RFC 1123 subdomain).
const MAX_NAME: usize = 253;

/// The namespace of Events about objects without one (`metav1.NamespaceDefault`).
const DEFAULT_NAMESPACE: &str = "default";

/// The reporter of every Event.
#[derive(Debug)]
pub(super) struct Reporter {
    node: String,
    instance: String,
}

impl Reporter {
    /// The proxy on the node of this name; the host's name distinguishes it from others.
    pub(super) fn new(node: &str) -> Self {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = Some(host.trim()).filter(|host| !host.is_empty()).unwrap_or(node);
        let instance = format!("{CONTROLLER}-{host}");
        Self { node: node.to_owned(), instance: cut(&instance, MAX_INSTANCE).to_owned() }
    }

    /// The path and the body that create the Event of `entry`.
    ///
    /// # Errors
    /// A time cannot be formatted.
    pub(super) fn create(&self, entry: &Entry) -> serde_json::Result<(String, Vec<u8>)> {
        let (namespace, name, regarding) = self.place(entry);
        let event = Event {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(entry.first)),
            series: (entry.count > 1).then(|| series(entry)),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            action: Some(entry.report.action.to_owned()),
            reason: Some(entry.report.reason.to_owned()),
            note: Some(cut(&entry.report.note, MAX_NOTE).to_owned()).filter(|note| !note.is_empty()),
            type_: Some(
                match entry.report.kind {
                    ReportKind::Normal => "Normal",
                    ReportKind::Warning => "Warning",
                }
                .to_owned(),
            ),
            regarding: Some(regarding),
            ..Event::default()
        };
        Ok((collection(namespace), serde_json::to_vec(&event)?))
    }

    /// The path and the body that update the count of `entry`.
    ///
    /// # Errors
    /// A time cannot be formatted.
    pub(super) fn count(&self, entry: &Entry) -> serde_json::Result<(String, Vec<u8>)> {
        let (namespace, name, _) = self.place(entry);
        let patch = json!({ "series": serde_json::to_value(series(entry))? });
        Ok((format!("{}/{name}", collection(namespace)), serde_json::to_vec(&patch)?))
    }

    /// Namespace and name of the Event, and the object that it is about.
    fn place<'a>(&self, entry: &'a Entry) -> (&'a str, String, ObjectReference) {
        let (namespace, reference) = match &entry.report.regarding {
            Regarding::Node => {
                let api_version = Some("v1".to_owned());
                let (kind, name) = (Some("Node".to_owned()), Some(self.node.clone()));
                (DEFAULT_NAMESPACE, ObjectReference { api_version, kind, name, ..ObjectReference::default() })
            }
            Regarding::Service(service) => {
                let namespace = Some(service.namespace.to_string());
                let (kind, name) = (Some("Service".to_owned()), Some(service.name.to_string()));
                (&*service.namespace, ObjectReference { kind, name, namespace, ..ObjectReference::default() })
            }
        };
        let name = event_name(reference.name.as_deref().unwrap_or_default(), entry.stamp);
        (namespace, name, reference)
    }
}

fn collection(namespace: &str) -> String {
    format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events")
}

fn series(entry: &Entry) -> EventSeries {
    EventSeries {
        count: entry.count.try_into().unwrap_or(i32::MAX),
        last_observed_time: MicroTime(entry.last),
    }
}

/// Name of the Event with `stamp` about `object`, made from both as in Kubernetes' own clients. The name of an object
/// that an Event cannot have is replaced.
fn event_name(object: &str, stamp: i128) -> String {
    let stamp = format!("{stamp:x}");
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    let object = if object.chars().all(allowed) { object } else { CONTROLLER };
    let object = cut(object, MAX_NAME - stamp.len() - 1).trim_matches(['-', '.']);
    format!("{object}.{stamp}")
}

/// The start of `text` that has at most `bytes` bytes.
fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}
