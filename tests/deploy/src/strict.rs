//! Every configuration and command line that we hand out, decoded by Portolan, which must have nothing to say of it.
//!
//! An unknown field or a setting that is not followed does not keep a node from having a proxy, so it is a line in
//! the log and no error. In what we ship it is a mistake. What is checked is found by its form, so that whatever is
//! written later is checked as well: objects in `deploy/`, blocks and `inline code` on pages and in comments.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use portolan_config::{Config, Environment, Invocation};
use portolan_testkit::netns::{Namespace, Portolan, isolated};
use serde_json::Value;

use crate::files::{all_files, deployed, document, documents, list, repository, string, text};
use crate::kustomize::{daemon_set, overlay, overlays};
use crate::node::PATIENCE;

const HEAD: &str = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";
const KIND: &str = "KubeProxyConfiguration";
const CONFIG_MAP: &str = "deploy/kubernetes/components/config-map/config-map.yaml";

/// First keys of snippets that Portolan does not read. All others must be its own.
const KEYS_OF_OTHERS: [&str; 9] = [
    "allowPrivilegeEscalation",
    "capabilities",
    "components",
    "externalTrafficPolicy",
    "interactiveMode",
    "resources",
    "runAsUser",
    "scrape_configs",
    "sessionAffinity",
];

/// Names that pages and manifests give to a configuration file.
const FILES: [&str; 4] =
    ["FILE", "config.conf", "/var/lib/kube-proxy/config.conf", "/etc/portolan/config.yaml"];

/// What is found on a page or in a manifest, with its place.
type Found = (String, String);

/// What Portolan has to say of a command line: why it does not take it, or what it would log.
fn complaints(arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Vec<String> {
    let arguments = std::iter::once("portolan".into()).chain(arguments.into_iter().map(Into::into));
    let said = |config: Box<Config>| config.notes.iter().map(ToString::to_string).collect();
    match portolan_config::parse(arguments, &Environment { hostname: &|| Ok("node1".into()), modes: &[] }) {
        Ok(Invocation::Run(config) | Invocation::InitOnly(config) | Invocation::Cleanup(config)) => {
            said(config)
        }
        Ok(other) => panic!("these flags only print something: {other:?}"),
        Err(error) => vec![format!("{error:?}")],
    }
}

/// What Portolan has to say of a configuration, or of some of its fields.
fn complaints_about(configuration: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    let head = if documents(configuration)[0].get("kind").is_none() { HEAD } else { "" };
    fs::write(&file, format!("{head}{configuration}")).unwrap();
    complaints([OsString::from("--config"), file.into()])
}

/// The same for a command line with the names of files that we know. What `--write-config-to` prints is the
/// configuration that would run, so the flag is left out.
fn complaints_about_command(words: &[&str]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.conf");
    fs::write(&file, string(&document(CONFIG_MAP), "/data/config.conf")).unwrap();
    let file = file.to_str().unwrap();
    let mut rest = words.iter();
    let mut arguments = Vec::new();
    while let Some(word) = rest.next() {
        match word.split_once('=') {
            _ if *word == "--write-config-to" => drop(rest.next()),
            Some(("--config", path)) if FILES.contains(&path) => arguments.push(format!("--config={file}")),
            None if FILES.contains(word) => arguments.push(file.to_owned()),
            _ => arguments.push(word.replace("$(NODE_NAME)", "node1")),
        }
    }
    complaints(arguments)
}

/// What we hand out to be read: pages, and everything in `deploy/`, whose comments have snippets as well.
fn pages() -> Vec<Found> {
    let docs = fs::read_dir(repository().join("docs")).unwrap().map(|entry| entry.unwrap().file_name());
    let docs = docs.map(|name| format!("docs/{}", name.to_str().unwrap())).filter(|path| is_page(path));
    let deploy = all_files("").into_iter().map(|file| format!("deploy/{file}"));
    let all = docs.chain(deploy).chain(["README.md".to_owned()]);
    all.map(|path| (path.clone(), text(&path))).collect()
}

fn is_page(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "md")
}

/// The fenced blocks of YAML on all pages.
fn blocks() -> Vec<Found> {
    let mut found = Vec::new();
    for (path, page) in pages().into_iter().filter(|(path, _)| is_page(path)) {
        for block in page.split("```yaml\n").skip(1) {
            found.push((path.clone(), block.split("```").next().unwrap().to_owned()));
        }
    }
    found
}

/// All `inline code`, of text and of comments.
fn inline() -> Vec<Found> {
    let mut found = Vec::new();
    for (path, page) in pages() {
        for line in page.lines().filter(|line| !line.trim_start().starts_with("```")) {
            found.extend(line.split('`').skip(1).step_by(2).map(|code| (path.clone(), code.to_owned())));
        }
    }
    found
}

/// Whether `code` is a field with its value, as a configuration would have it.
fn is_field(code: &str) -> bool {
    let name = |key: &str| key.starts_with(|first: char| first.is_ascii_lowercase());
    let plain = |key: &str| key.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '.');
    code.split_once(": ").is_some_and(|(key, value)| name(key) && plain(key) && !value.is_empty())
}

/// A field by its path, `conntrack.maxPerCore: 0`, as a file has it.
fn nested(code: &str) -> String {
    let (path, value) = code.split_once(": ").unwrap();
    let mut keys = path.split('.').rev();
    let field = format!("{}: {value}", keys.next().unwrap());
    keys.fold(field, |field, key| format!("{key}: {{{field}}}"))
}

fn is_read_by_others(snippet: &str) -> bool {
    KEYS_OF_OTHERS.iter().any(|key| snippet.trim_start().starts_with(&format!("{key}:")))
}

/// The words of all commands that start Portolan, from blocks and from inline code.
fn commands() -> Vec<Found> {
    let mut found = inline();
    for (path, page) in pages() {
        found.extend(page.lines().map(|line| (path.clone(), line.trim().to_owned())));
    }
    let is_command = |code: &str| code.strip_prefix("portolan ").is_some_and(|flags| flags.starts_with("--"));
    found.retain(|(_, code)| is_command(code));
    for (_, code) in &mut found {
        let end = code.find(" #").unwrap_or(code.len());
        code.truncate(end);
    }
    found
}

/// The configurations in the ConfigMaps of all overlays and of kubeadm.
fn configurations_of_objects() -> Vec<Found> {
    let mut found = Vec::new();
    let mut take = |place: &str, object: &Value| {
        let data = object["data"].as_object().into_iter().flatten();
        let texts = data.filter_map(|(key, value)| Some((key, value.as_str()?)));
        for (key, text) in texts.filter(|(_, text)| text.contains(KIND)) {
            found.push((format!("{place}: {key}"), text.to_owned()));
        }
    };
    for name in overlays() {
        for object in overlay(name) {
            take(name, &object);
        }
    }
    let kubeadm = "tests/deploy/testdata/kubeadm.yaml";
    for object in documents(&text(kubeadm)) {
        take(kubeadm, &object);
    }
    found
}

#[test]
fn every_configuration_of_a_manifest_and_of_the_unit_is_decoded_strictly() {
    let mut found = configurations_of_objects();
    let files = all_files("").into_iter().map(|file| format!("deploy/{file}"));
    let configurations = files.map(|path| (path.clone(), text(&path)));
    found.extend(configurations.filter(|(_, text)| text.contains(&format!("\nkind: {KIND}\n"))));

    assert!(found.len() >= 3, "{found:?}");
    for (place, configuration) in found {
        assert_eq!(complaints_about(&configuration), Vec::<String>::new(), "{place}");
    }
}

#[test]
fn every_configuration_on_a_page_is_decoded_strictly() {
    let fields = inline().into_iter().filter(|(_, code)| is_field(code));
    let mut found: Vec<Found> = fields.map(|(path, code)| (path, nested(&code))).chain(blocks()).collect();
    found.retain(|(_, snippet)| !is_read_by_others(snippet));

    assert!(found.len() >= 10, "{found:?}");
    for (place, snippet) in found {
        assert_eq!(complaints_about(&snippet), Vec::<String>::new(), "{place}: {snippet}");
    }
}

#[test]
fn every_command_line_on_a_page_is_decoded_strictly() {
    let found = commands();
    assert!(found.len() >= 6, "{found:?}");
    for (place, command) in found {
        let words: Vec<&str> = command.split_whitespace().skip(1).collect();
        assert_eq!(complaints_about_command(&words), Vec::<String>::new(), "{place}: {command}");
    }
}

#[test]
fn every_command_line_of_a_container_and_of_the_unit_is_decoded_strictly() {
    let mut found = Vec::new();
    let init = document("deploy/kubernetes/components/privileged-init/daemon-set.yaml");
    for object in overlays().map(|name| daemon_set(&overlay(name)).clone()).chain([init]) {
        let pod = object.pointer("/spec/template/spec").unwrap();
        for kind in ["containers", "initContainers"] {
            for container in
                pod[kind].as_array().into_iter().flatten().filter(|one| one["command"].is_array())
            {
                let words = list(container, "/command").iter().map(|word| word.as_str().unwrap().to_owned());
                found.push(words.collect::<Vec<_>>());
            }
        }
    }
    let unit = text("deploy/systemd/portolan.service");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    found.push(start.split(' ').map(str::to_owned).collect());

    assert_eq!(found.len(), overlays().count() + 2);
    for command in found {
        let words: Vec<&str> = command[1..].iter().map(String::as_str).collect();
        assert_eq!(complaints_about_command(&words), Vec::<String>::new(), "{command:?}");
    }
}

#[test]
fn whatever_portolan_does_not_know_is_a_complaint() {
    let config_map = document(CONFIG_MAP);
    let shipped = string(&config_map, "/data/config.conf");
    let misspelt = shipped.replace("forwardHealthCheckVip", "forwardHealthCheckVIP");
    assert_ne!(misspelt, shipped);
    for wrong in [misspelt.as_str(), "mod: nftables", "mode: nftable", "featureGates: {Bogus: true}"] {
        assert_ne!(complaints_about(wrong), Vec::<String>::new(), "{wrong}");
    }
    for wrong in [["--confi", "FILE"], ["--feature-gates", "Bogus=true"], ["--proxy-port-range", "1-2"]] {
        assert_ne!(complaints_about_command(&wrong), Vec::<String>::new(), "{wrong:?}");
    }
}

/// Also those that come after the first ones: the demo copies them into the folder.
#[test]
fn every_example_is_read_by_the_proxy_without_a_complaint() {
    let errors = ["malformed_object", "unusable_entry", "broken_file"];
    isolated(|| {
        for (name, folder) in [("first", "examples/demo"), ("after", "examples/demo/after")] {
            let namespace = Namespace::create(name).unwrap();
            namespace.ip("link set lo up").unwrap();
            let folder = deployed(folder);
            let flags =
                ["--hostname-override", "node1", "--cluster-cidr", "10.244.0.0/16", "--mode", "nftables"];
            let flags = flags.map(OsString::from).into_iter();
            let mut proxy =
                Portolan::start(&namespace, flags.chain(["--manifests".into(), folder.into()])).unwrap();
            proxy.wait_synced(PATIENCE).unwrap();
            for error in errors {
                let series = format!("portolan_source_errors_total{{error=\"{error}\"}}");
                assert_eq!(proxy.metric(&series).unwrap(), Some(0.0), "{name}: {}", proxy.log().unwrap());
            }
            let services = proxy.metric("kubeproxy_sync_proxy_rules_service_changes_total").unwrap();
            assert!(services.is_some_and(|services| services > 0.0), "{name}");
        }
    });
}
