//! Every rule of the conversion, one row each.

use std::sync::{Arc, Mutex};

use portolan_core::event::{EndpointSlice, Service};
use portolan_core::name::{Interner, Name};
use serde_json::{Value, json};

use super::{Converted, Converter, Origin, Resource as _};
use crate::decode::object_from_json;
use crate::wire;

mod endpoints;
mod node;
mod service;
mod slice;

fn converter(origin: Origin) -> Converter {
    Converter::new(origin, Arc::new(Mutex::new(Interner::default())))
}

/// Lays `patch` over `base`: objects merge, `null` removes, anything else replaces.
fn merged(base: &Value, patch: &Value) -> Value {
    match (base, patch) {
        (Value::Object(base), Value::Object(patch)) => {
            let mut result = base.clone();
            for (key, value) in patch {
                let old = result.remove(key).unwrap_or(Value::Null);
                if !value.is_null() {
                    result.insert(key.clone(), merged(&old, value));
                }
            }
            Value::Object(result)
        }
        (Value::Null, Value::Object(_)) => merged(&json!({}), patch),
        _ => patch.clone(),
    }
}

fn web(patch: &Value) -> Vec<u8> {
    let base = json!({
        "metadata": {"namespace": "shop", "name": "web"},
        "spec": {
            "type": "ClusterIP", "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "ipFamilies": ["IPv4"],
            "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": "http"}],
        },
    });
    serde_json::to_vec(&merged(&base, patch)).unwrap()
}

fn service_from(origin: Origin, patch: &Value) -> (Converted<Service>, Vec<String>) {
    let json = web(patch);
    let wire: wire::Service<'_> = object_from_json("Service", &json).unwrap();
    let mut converter = converter(origin);
    let object = Service::convert(&mut converter, &wire).unwrap();
    (object, converter.take_problems().iter().map(ToString::to_string).collect())
}

fn proxied(patch: &Value) -> (Service, Vec<String>) {
    match service_from(Origin::Api, patch) {
        (Converted::Proxied(service), problems) => (service, problems),
        (Converted::NotProxied(_), problems) => panic!("{patch} is not proxied: {problems:?}"),
    }
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

fn slice_json(patch: &Value) -> Vec<u8> {
    let base = json!({
        "metadata": {"namespace": "shop", "name": "web-abc", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
        "endpoints": [{"addresses": ["10.244.1.5"]}],
    });
    serde_json::to_vec(&merged(&base, patch)).unwrap()
}

fn slice_from(origin: Origin, patch: &Value) -> (Converted<EndpointSlice>, Vec<String>) {
    let json = slice_json(patch);
    let wire: wire::EndpointSlice<'_> = object_from_json("EndpointSlice", &json).unwrap();
    let mut converter = converter(origin);
    let object = EndpointSlice::convert(&mut converter, &wire).unwrap();
    (object, converter.take_problems().iter().map(ToString::to_string).collect())
}

fn proxied_slice(patch: &Value) -> (EndpointSlice, Vec<String>) {
    match slice_from(Origin::Api, patch) {
        (Converted::Proxied(slice), problems) => (slice, problems),
        (Converted::NotProxied(_), problems) => panic!("{patch} is not proxied: {problems:?}"),
    }
}

#[test]
fn names_are_shared_between_converters_of_one_interner() {
    let interner = Arc::new(Mutex::new(Interner::default()));
    let [mut services, mut slices] = [(); 2].map(|()| Converter::new(Origin::Api, Arc::clone(&interner)));
    let (service_json, slice_json) = (web(&json!({})), slice_json(&json!({})));
    let Converted::Proxied(service) =
        Service::convert(&mut services, &object_from_json("Service", &service_json).unwrap()).unwrap()
    else {
        panic!()
    };
    let wire = object_from_json("EndpointSlice", &slice_json).unwrap();
    let Converted::Proxied(slice) = EndpointSlice::convert(&mut slices, &wire).unwrap() else { panic!() };
    assert!(Name::ptr_eq(&service.name.namespace, &slice.name.namespace));
    assert!(Name::ptr_eq(&service.name.name, &slice.service));
}
