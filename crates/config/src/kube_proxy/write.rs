//! The configuration as YAML and JSON, as kube-proxy writes its own.

use std::net::Ipv4Addr;

use serde::Serialize;
use serde_json::Value;

use super::KubeProxyConfiguration;

/// The only key of the object at `/configz`.
const CONFIGZ_KEY: &str = "kubeproxy.config.k8s.io";

impl KubeProxyConfiguration {
    /// The configuration as a file, with its keys in alphabetical order.
    pub(crate) fn to_yaml(&self) -> String {
        let mut document = self.document().to_json();
        document.sort_all_objects();
        let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
        // String keys and plain values always have a YAML form.
        let yaml = serde_saphyr::to_string_with_options(&document, options).unwrap_or_default();
        // By the letter of YAML 1.1 an IPv4 address is a float; kube-proxy's writer does not quote it.
        match self.bind_address.parse::<Ipv4Addr>() {
            Ok(ip) => yaml.replacen(&format!("bindAddress: \"{ip}\""), &format!("bindAddress: {ip}"), 1),
            Err(_) => yaml,
        }
    }

    /// The object at `/configz`, its fields in the order of the file.
    pub(crate) fn to_configz(&self) -> String {
        // String keys and plain values always have a JSON form.
        let body = serde_json::to_string(&self.document()).unwrap_or_default();
        format!("{{\"{CONFIGZ_KEY}\":{body}}}")
    }
}

/// Any value as JSON.
pub(crate) trait ToJson {
    fn to_json(&self) -> Value;
}

impl<T: Serialize> ToJson for T {
    fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}
