//! What a request asks for.

use std::collections::BTreeMap;
use std::time::Instant;

use http::request::Parts;
use http::{Method, header};

use super::selector::{Features, Selector};
use super::store::{KINDS, Kind};

/// What a request wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Read a collection.
    List,
    /// Follow a collection.
    Watch,
    /// Read one object.
    Get,
    /// Make an object.
    Create,
    /// Change some fields of an object.
    Patch,
    /// Anything else.
    Other,
}

/// A request, as remembered for assertions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedRequest {
    /// When it had come in; the answer begins right after.
    pub at: Instant,
    /// What it wanted done.
    pub verb: Verb,
    /// Plural name of the resource, such as `endpointslices`; the path when it is none.
    pub resource: String,
    /// Parameters of the query, decoded.
    pub query: BTreeMap<String, String>,
    /// Header `user-agent`.
    pub user_agent: String,
    /// Header `accept`.
    pub accept: String,
    /// Header `authorization`.
    pub authorization: String,
    /// Client whose certificate the connection showed; empty without one.
    pub client: String,
}

/// A place in the API.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// All objects of a kind, or those of one namespace.
    Collection { kind: &'static Kind, namespace: Option<String> },
    /// One object.
    Object { kind: &'static Kind, namespace: String, name: String },
    /// Events of one namespace, or one of them.
    Events(EventPlace),
    /// No place that the server has.
    Nowhere,
}

/// Where Events are.
#[derive(Debug, Clone)]
pub(super) struct EventPlace {
    pub(super) namespace: String,
    pub(super) name: Option<String>,
}

impl EventPlace {
    fn of(path: &str) -> Option<Self> {
        let rest = path.strip_prefix("/apis/events.k8s.io/v1/namespaces/")?;
        let (namespace, name) = match rest.split('/').collect::<Vec<_>>()[..] {
            [namespace, "events"] => (namespace, None),
            [namespace, "events", name] => (namespace, Some(name.to_owned())),
            _ => return None,
        };
        Some(Self { namespace: namespace.to_owned(), name })
    }
}

impl Target {
    pub(super) fn of(path: &str) -> Self {
        let path = path.trim_end_matches('/');
        if let Some(place) = EventPlace::of(path) {
            return Self::Events(place);
        }
        for kind in &KINDS {
            let Some(rest) = path.strip_prefix(kind.path) else { continue };
            let parts: Vec<&str> = rest.trim_start_matches('/').split('/').collect();
            let owned = |text: &str| text.to_owned();
            match parts[..] {
                [resource] if resource == kind.resource => return Self::Collection { kind, namespace: None },
                [resource, name] if resource == kind.resource => {
                    return Self::Object { kind, namespace: String::new(), name: owned(name) };
                }
                ["namespaces", namespace, resource] if resource == kind.resource => {
                    return Self::Collection { kind, namespace: Some(owned(namespace)) };
                }
                ["namespaces", namespace, resource, name] if resource == kind.resource => {
                    return Self::Object { kind, namespace: owned(namespace), name: owned(name) };
                }
                _ => {}
            }
        }
        Self::Nowhere
    }

    fn resource(&self, path: &str) -> String {
        match self {
            Self::Collection { kind, .. } | Self::Object { kind, .. } => kind.resource.to_owned(),
            Self::Events(_) => "events".to_owned(),
            Self::Nowhere => path.to_owned(),
        }
    }
}

/// What a request asks for, taken apart.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) target: Target,
    pub(super) request: WatchedRequest,
}

impl Query {
    /// `client` is whose certificate the connection showed.
    pub(super) fn of(parts: &Parts, client: &str) -> Self {
        let path = parts.uri.path();
        let query = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        let query: BTreeMap<String, String> = query.into_owned().collect();
        let target = Target::of(path);
        let watch = query.get("watch").is_some_and(|value| value == "true" || value == "1");
        let verb = match (&parts.method, &target) {
            (&Method::GET, Target::Collection { .. }) if watch => Verb::Watch,
            (&Method::GET, Target::Collection { .. }) => Verb::List,
            (&Method::GET, Target::Object { .. }) => Verb::Get,
            (&Method::POST, _) => Verb::Create,
            (&Method::PATCH, _) => Verb::Patch,
            _ => Verb::Other,
        };
        let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let request = WatchedRequest {
            // By the runtime's clock, which a test may have paused.
            at: tokio::time::Instant::now().into_std(),
            verb,
            resource: target.resource(path),
            user_agent: header(header::USER_AGENT).to_owned(),
            accept: header(header::ACCEPT).to_owned(),
            authorization: header(header::AUTHORIZATION).to_owned(),
            client: client.to_owned(),
            query,
        };
        Self { target, request }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.request.query.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        matches!(self.get(name), Some("true" | "1"))
    }
}

/// Which objects of a collection a request is about.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    labels: Selector,
    fields: Selector,
    namespace: Option<String>,
}

impl Filter {
    /// Reads the selectors of a request.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub(super) fn of(query: &Query, namespace: Option<String>) -> Result<Self, String> {
        let parse = |name: &str| {
            let text = query.get(name).unwrap_or_default();
            Selector::parse(text).ok_or_else(|| format!("unable to parse {name} {text:?}"))
        };
        let (labels, fields) = (parse("labelSelector")?, parse("fieldSelector")?);
        if let Some(field) = fields.unknown_field() {
            return Err(format!("field label not supported: {field}"));
        }
        Ok(Self { labels, fields, namespace })
    }

    pub(super) fn selects(&self, features: &Features) -> bool {
        let namespace = features.fields.get("metadata.namespace").map_or("", String::as_str);
        self.namespace.as_deref().is_none_or(|wanted| wanted == namespace)
            && self.labels.selects_labels(features)
            && self.fields.selects_fields(features)
    }
}
