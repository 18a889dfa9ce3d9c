//! Objects as they will be sent, and the log of what happened to them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::selector::Features;

/// A kind of object that the server has.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// As in `kind`.
    pub(super) name: &'static str,
    pub(super) api_version: &'static str,
    /// Plural name, as in paths.
    pub(super) resource: &'static str,
    /// Path of the group and version.
    pub(super) path: &'static str,
}

/// All kinds of objects that the server has.
pub(super) const KINDS: [Kind; 4] = [
    Kind { name: "Service", api_version: "v1", resource: "services", path: "/api/v1" },
    Kind {
        name: "EndpointSlice",
        api_version: "discovery.k8s.io/v1",
        resource: "endpointslices",
        path: "/apis/discovery.k8s.io/v1",
    },
    Kind { name: "Node", api_version: "v1", resource: "nodes", path: "/api/v1" },
    Kind {
        name: "ServiceCIDR",
        api_version: "networking.k8s.io/v1",
        resource: "servicecidrs",
        path: "/apis/networking.k8s.io/v1",
    },
];

fn kind_named(kind: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|known| known.name == kind)
}

/// An object at one version.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) version: u64,
    pub(super) features: Features,
    /// JSON without `kind` and `apiVersion`, as in the items of a list.
    pub(super) json: Bytes,
}

impl Stored {
    /// JSON of the whole object, as a watch sends it, at another version if need be.
    pub(super) fn full(&self, kind: &Kind, version: u64) -> Vec<u8> {
        let head = format!("{{\"kind\":\"{}\",\"apiVersion\":\"{}\",", kind.name, kind.api_version);
        let mut full = head.into_bytes();
        if version == self.version {
            full.extend_from_slice(&self.json[1..]);
        } else {
            let mut object: Value = serde_json::from_slice(&self.json).unwrap_or_default();
            object["metadata"]["resourceVersion"] = json!(version.to_string());
            full.extend_from_slice(&object.to_string().as_bytes()[1..]);
        }
        full
    }
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub(super) enum WatchEvent {
    /// An object came, changed or went.
    Change { kind: &'static Kind, before: Option<Arc<Stored>>, after: Option<Arc<Stored>> },
    /// A line that a test wants its watchers to get.
    Line { resource: String, line: Bytes },
    /// Watches end here with a 410.
    Expiry,
}

/// A list as it was when its first page was sent.
pub(super) type Snapshot = Arc<(u64, Vec<Arc<Stored>>)>;

#[derive(Debug)]
pub(super) struct Store {
    version: u64,
    objects: HashMap<&'static str, BTreeMap<(String, String), Arc<Stored>>>,
    log: VecDeque<(u64, WatchEvent)>,
    /// Everything up to here is forgotten.
    compacted: u64,
    snapshots: HashMap<u64, Snapshot>,
    next_snapshot: u64,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            // A server is never at 0, which clients use for "any version".
            version: 100,
            objects: HashMap::new(),
            log: VecDeque::new(),
            compacted: 100,
            snapshots: HashMap::new(),
            next_snapshot: 1,
        }
    }
}

impl Store {
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    fn record(&mut self, happening: WatchEvent) -> u64 {
        self.log.push_back((self.version, happening));
        self.version
    }

    pub(super) fn apply(&mut self, object: Value) -> Option<u64> {
        let Value::Object(mut object) = object else { return None };
        let kind = kind_named(object.remove("kind")?.as_str()?)?;
        object.remove("apiVersion");
        let metadata = object.get_mut("metadata")?.as_object_mut()?;
        let key = key_of(metadata)?;
        let version = self.version + 1;
        metadata.insert("resourceVersion".into(), json!(version.to_string()));
        let stored = Arc::new(Stored {
            version,
            features: features(&object),
            json: Value::Object(object).to_string().into_bytes().into(),
        });
        self.version = version;
        let before = self.objects.entry(kind.name).or_default().insert(key, Arc::clone(&stored));
        Some(self.record(WatchEvent::Change { kind, before, after: Some(stored) }))
    }

    pub(super) fn delete(&mut self, kind: &str, namespace: &str, name: &str) -> Option<u64> {
        let kind = kind_named(kind)?;
        let key = (namespace.to_owned(), name.to_owned());
        let before = self.objects.get_mut(kind.name)?.remove(&key)?;
        self.version += 1;
        Some(self.record(WatchEvent::Change { kind, before: Some(before), after: None }))
    }

    pub(super) fn inject(&mut self, resource: &str, line: &str) -> u64 {
        let line = Bytes::from(format!("{line}\n"));
        self.version += 1;
        self.record(WatchEvent::Line { resource: resource.to_owned(), line })
    }

    pub(super) fn objects(&self, kind: &str) -> Vec<Value> {
        let objects = self.objects.get(kind).into_iter().flatten();
        objects.filter_map(|(_, stored)| serde_json::from_slice(&stored.json).ok()).collect()
    }

    pub(super) fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Option<Arc<Stored>> {
        self.objects.get(kind.name)?.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// Objects of a kind in the order of their names, at the present version.
    pub(super) fn select(&self, kind: &Kind, wanted: impl Fn(&Features) -> bool) -> Vec<Arc<Stored>> {
        let objects = self.objects.get(kind.name).into_iter().flatten();
        objects.map(|(_, stored)| stored).filter(|stored| wanted(&stored.features)).cloned().collect()
    }

    /// Keeps a list for its later pages; the token's number.
    pub(super) fn keep(&mut self, snapshot: Snapshot) -> u64 {
        let token = self.next_snapshot;
        self.next_snapshot += 1;
        self.snapshots.insert(token, snapshot);
        token
    }

    pub(super) fn snapshot(&self, token: u64) -> Option<Snapshot> {
        self.snapshots.get(&token).cloned()
    }

    pub(super) fn expire_tokens(&mut self) {
        self.snapshots.clear();
    }

    /// What happened after `version`; nothing when that is no longer known.
    pub(super) fn since(&self, version: u64) -> Option<Vec<(u64, WatchEvent)>> {
        if version < self.compacted {
            return None;
        }
        let start = self.log.partition_point(|(at, _)| *at <= version);
        Some(self.log.range(start..).cloned().collect())
    }

    pub(super) fn compact(&mut self) -> u64 {
        self.log.clear();
        self.compacted = self.version;
        self.version
    }

    pub(super) fn expire_watches(&mut self) -> u64 {
        self.version += 1;
        self.record(WatchEvent::Expiry);
        // Watches that start from now on must not meet it.
        self.version += 1;
        self.compacted = self.version - 2;
        self.log.retain(|(_, happening)| matches!(happening, WatchEvent::Expiry));
        self.version
    }
}

fn key_of(metadata: &Map<String, Value>) -> Option<(String, String)> {
    let text = |field: &str| metadata.get(field).and_then(Value::as_str).map(str::to_owned);
    Some((text("namespace").unwrap_or_default(), text("name")?))
}

fn features(object: &Map<String, Value>) -> Features {
    let at = |path: [&str; 2]| object.get(path[0])?.get(path[1])?.as_str().map(str::to_owned);
    let labels = object["metadata"].get("labels").and_then(Value::as_object).into_iter().flatten();
    let labels = labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
    let paths = [
        ("metadata.name", ["metadata", "name"]),
        ("metadata.namespace", ["metadata", "namespace"]),
        ("spec.clusterIP", ["spec", "clusterIP"]),
        ("spec.type", ["spec", "type"]),
    ];
    let fields = paths.into_iter().filter_map(|(name, path)| Some((name, at(path)?))).collect();
    Features { labels, fields }
}
