//! Configuration files that we hand out, read by the real binary.

use std::fs;

use portolan_testkit::netns::{Portolan, Program};
use serde_json::Value;

use crate::files::{document, documents, string, text};

/// What the binary makes of a configuration file: the effective one, or why it does not take it.
fn effective(configuration: &str) -> Result<Value, String> {
    let folder = tempfile::tempdir().unwrap();
    let (file, written) = (folder.path().join("config.yaml"), folder.path().join("effective.yaml"));
    fs::write(&file, configuration).unwrap();
    let mut program = Program::new(Portolan::binary().unwrap());
    for (flag, path) in [("--config", &file), ("--write-config-to", &written)] {
        program = program.args([flag]).args([path]);
    }
    program.run().map_err(|error| error.to_string())?;
    Ok(documents(&fs::read_to_string(written).unwrap()).remove(0))
}

/// The part of the effective configuration that a file sets by itself.
fn set_by(file: &Value, effective: &Value) -> Value {
    match file {
        Value::Object(fields) => {
            let part = |(key, value): (&String, &Value)| (key.clone(), set_by(value, &effective[key]));
            fields.iter().map(part).collect()
        }
        _ => effective.clone(),
    }
}

#[test]
fn the_config_map_is_taken_and_means_the_defaults() {
    let config_map = document("deploy/kubernetes/components/config-map/config-map.yaml");

    let effective = effective(string(&config_map, "/data/config.conf")).unwrap();

    assert_eq!(effective["clusterCIDR"], "10.244.0.0/16");
    assert_eq!(effective["metricsBindAddress"], "127.0.0.1:10249");
    assert_eq!(effective["healthzBindAddress"], "0.0.0.0:10256");
    assert_eq!(effective["conntrack"]["maxPerCore"], 32768);
    assert_eq!(effective["clientConnection"]["kubeconfig"], "/var/lib/kube-proxy/kubeconfig.conf");
}

#[test]
fn the_config_of_the_unit_is_taken_as_it_is_and_finds_its_credential() {
    let file = text("deploy/systemd/config.yaml");

    let effective = effective(&file).unwrap();

    assert_eq!(set_by(&documents(&file)[0], &effective), documents(&file)[0]);
    let unit = text("deploy/systemd/portolan.service");
    let credential = string(&effective, "/clientConnection/kubeconfig").rsplit('/').next().unwrap();
    assert!(unit.contains(&format!("\nLoadCredential={credential}:")), "{credential}");
}

#[test]
fn a_configuration_that_is_wrong_is_not_taken() {
    let file = text("deploy/systemd/config.yaml").replace("mode: nftables", "mode: nftable");

    let reason = effective(&file).unwrap_err();

    assert!(reason.contains("nftable"), "{reason}");
}

/// The one setting that deploy/monitoring/README.md asks for.
#[test]
fn the_setting_that_shows_metrics_to_others_is_taken() {
    let readme = text("deploy/monitoring/README.md");
    let setting = readme.lines().find(|line| line.starts_with("metricsBindAddress: ")).unwrap();
    let config_map = document("deploy/kubernetes/components/config-map/config-map.yaml");
    let file = string(&config_map, "/data/config.conf").replace("metricsBindAddress: \"\"", setting);

    let effective = effective(&file).unwrap();

    assert_eq!(effective["metricsBindAddress"], "0.0.0.0:10249");
}
