//! The flags there are, and the command line read into them.
//!
//! Syntax is pflag's, as kube-proxy has it: `--flag value` takes the next argument
//! whatever it looks like, `--flag=value`, `_` in a name means `-`, a switch may go
//! without a value but takes one only behind `=`, a repeated flag overrides the
//! earlier one while lists grow.

use std::ffi::OsString;
use std::time::Duration;

use lexopt::{Arg, Parser};

use crate::error::{ConfigError, ValueError};
use crate::{duration, value};

/// What was typed; a default means that the flag was not there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Flags {
    /// `--manifests`: a folder of manifests to serve from instead of an API server.
    pub(crate) manifests: String,
    /// `--kubeconfig`.
    pub(crate) kubeconfig: String,
    /// `--master`.
    pub(crate) master: String,
    /// `--mode`.
    pub(crate) mode: String,
    /// `--hostname-override`.
    pub(crate) hostname_override: String,
    /// `--detect-local-mode`.
    pub(crate) detect_local_mode: String,
    /// `--cluster-cidr`.
    pub(crate) cluster_cidr: String,
    /// `--pod-bridge-interface`.
    pub(crate) pod_bridge_interface: String,
    /// `--pod-interface-name-prefix`.
    pub(crate) pod_interface_name_prefix: String,
    /// `--nodeport-addresses`, all items.
    pub(crate) nodeport_addresses: Vec<String>,
    /// `--masquerade-all`.
    pub(crate) masquerade_all: bool,
    /// `--iptables-masquerade-bit`.
    pub(crate) masquerade_bit: Option<u32>,
    /// `--iptables-min-sync-period`.
    pub(crate) min_sync_period: Option<Duration>,
    /// `--iptables-sync-period`.
    pub(crate) sync_period: Option<Duration>,
    /// `--metrics-bind-address`.
    pub(crate) metrics_bind_address: String,
    /// `--healthz-bind-address`.
    pub(crate) healthz_bind_address: String,
    /// `-v`.
    pub(crate) verbosity: u32,
    /// `--logging-format`.
    pub(crate) logging_format: String,
    /// `--cleanup`.
    pub(crate) cleanup: bool,
    /// `--version`.
    pub(crate) version: bool,
    /// `--help`.
    pub(crate) help: bool,
}

/// One flag: what it is called, what it takes, where that goes.
pub(crate) struct Flag {
    /// Its name, then others that mean the same.
    pub(crate) names: &'static [&'static str],
    /// A letter that means the same.
    pub(crate) short: Option<char>,
    /// How its value is read.
    pub(crate) takes: Takes,
    /// What `--help` says of it.
    pub(crate) help: &'static str,
}

/// What a flag takes and which field that changes.
pub(crate) enum Takes {
    /// Nothing, or a boolean behind `=`.
    Switch(fn(&mut Flags) -> &mut bool),
    /// Text that is checked later; with the word that stands for it in `--help`.
    Text(&'static str, fn(&mut Flags) -> &mut String),
    /// Items, with the word for them.
    List(&'static str, fn(&mut Flags) -> &mut Vec<String>),
    /// A duration.
    Duration(fn(&mut Flags) -> &mut Option<Duration>),
    /// A log verbosity.
    Verbosity(fn(&mut Flags) -> &mut u32),
    /// Which bit of a packet mark.
    MarkBit(fn(&mut Flags) -> &mut Option<u32>),
}

const fn flag(names: &'static [&'static str], takes: Takes, help: &'static str) -> Flag {
    Flag { names, short: None, takes, help }
}

/// All flags, in the order of `--help`.
pub(crate) const FLAGS: [Flag; 21] = [
    flag(
        &["manifests"],
        Takes::Text("DIR", |flags| &mut flags.manifests),
        "serve the Services and EndpointSlices in the YAML files of this folder; no API server",
    ),
    flag(
        &["kubeconfig"],
        Takes::Text("FILE", |flags| &mut flags.kubeconfig),
        "reach the API server as this file says (default: as a pod does)",
    ),
    flag(
        &["master"],
        Takes::Text("URL", |flags| &mut flags.master),
        "address of the API server, whatever the kubeconfig says",
    ),
    flag(
        &["mode", "proxy-mode"],
        Takes::Text("MODE", |flags| &mut flags.mode),
        "how to forward packets (default: auto, the best that this host can do)",
    ),
    flag(
        &["hostname-override"],
        Takes::Text("NAME", |flags| &mut flags.hostname_override),
        "name of this node (default: the host's name)",
    ),
    flag(
        &["detect-local-mode"],
        Takes::Text("MODE", |flags| &mut flags.detect_local_mode),
        "how to tell that a pod of this node sent a packet: ClusterCIDR, NodeCIDR, BridgeInterface or \
         InterfaceNamePrefix (default: ClusterCIDR)",
    ),
    flag(
        &["cluster-cidr"],
        Takes::Text("CIDR[,CIDR]", |flags| &mut flags.cluster_cidr),
        "where pod addresses come from, one range per IP family",
    ),
    flag(
        &["pod-bridge-interface"],
        Takes::Text("NAME", |flags| &mut flags.pod_bridge_interface),
        "the interface that this node's pods send through, in mode BridgeInterface",
    ),
    flag(
        &["pod-interface-name-prefix"],
        Takes::Text("PREFIX", |flags| &mut flags.pod_interface_name_prefix),
        "what the names of such interfaces begin with, in mode InterfaceNamePrefix",
    ),
    flag(
        &["nodeport-addresses"],
        Takes::List("CIDR,...|primary", |flags| &mut flags.nodeport_addresses),
        "local addresses that answer on node ports (default in nftables mode: primary)",
    ),
    flag(
        &["masquerade-all"],
        Takes::Switch(|flags| &mut flags.masquerade_all),
        "give all traffic to cluster IPs this node's source address",
    ),
    flag(
        &["iptables-masquerade-bit"],
        Takes::MarkBit(|flags| &mut flags.masquerade_bit),
        "the packet mark bit that asks for masquerading, except in nftables mode (default: 14)",
    ),
    flag(
        &["iptables-min-sync-period"],
        Takes::Duration(|flags| &mut flags.min_sync_period),
        "shortest time between two updates of the rules (default: 0s)",
    ),
    flag(
        &["iptables-sync-period"],
        Takes::Duration(|flags| &mut flags.sync_period),
        "longest time between attempts while the rules cannot be updated (default: 30s)",
    ),
    flag(
        &["metrics-bind-address"],
        Takes::Text("IP[:PORT]", |flags| &mut flags.metrics_bind_address),
        "where to serve metrics (default: 127.0.0.1:10249)",
    ),
    flag(
        &["healthz-bind-address"],
        Takes::Text("IP[:PORT]", |flags| &mut flags.healthz_bind_address),
        "where to serve health checks (default: 0.0.0.0:10256, both IP families)",
    ),
    Flag {
        names: &["v"],
        short: Some('v'),
        takes: Takes::Verbosity(|flags| &mut flags.verbosity),
        help: "how much to log: 0 little, 2 each update, 4 what is done, 6 everything",
    },
    flag(
        &["logging-format"],
        Takes::Text("text|json", |flags| &mut flags.logging_format),
        "how to log (default: text)",
    ),
    flag(
        &["cleanup"],
        Takes::Switch(|flags| &mut flags.cleanup),
        "remove what any mode may have left in the kernel, and exit",
    ),
    flag(&["version"], Takes::Switch(|flags| &mut flags.version), "print the version, and exit"),
    Flag {
        names: &["help"],
        short: Some('h'),
        takes: Takes::Switch(|flags| &mut flags.help),
        help: "print this, and exit",
    },
];

impl Flags {
    /// Reads a command line, its first item the program's name.
    ///
    /// # Errors
    /// A flag is unknown, has no value or one of the wrong type, or there is an
    /// argument that is no flag. An empty argument is let through, as kube-proxy does.
    pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, ConfigError> {
        let mut flags = Self::default();
        let mut parser = Parser::from_args(args.into_iter().skip(1));
        while let Some((flag, typed)) = next_flag(&mut parser)? {
            let invalid = |value: &str, source| ConfigError::InvalidValue {
                flag: typed.clone(),
                value: value.to_owned(),
                source,
            };
            let given = match flag.takes {
                Takes::Switch(_) => parser.optional_value().unwrap_or_else(|| "true".into()),
                // The only thing that can be wrong with it here is that it is not there.
                _ => parser.value().map_err(|_end| ConfigError::MissingValue { flag: typed.clone() })?,
            };
            let lossy = given.to_string_lossy().into_owned();
            let text = value::text(given).map_err(|source| invalid(&lossy, source))?;
            flags.set(flag, &text).map_err(|source| invalid(&text, source))?;
        }
        Ok(flags)
    }

    fn set(&mut self, flag: &Flag, text: &str) -> Result<(), ValueError> {
        match flag.takes {
            Takes::Switch(field) => *field(self) = value::switch(text)?,
            Takes::Text(_, field) => text.clone_into(field(self)),
            Takes::List(_, field) => field(self).extend(value::list(text).map(str::to_owned)),
            Takes::Duration(field) => *field(self) = Some(duration::parse(text)?),
            Takes::Verbosity(field) => *field(self) = value::verbosity(text)?,
            Takes::MarkBit(field) => *field(self) = Some(value::mark_bit(text)?),
        }
        Ok(())
    }
}

/// The next flag, and how to call it towards the user; its value is still to be read.
fn next_flag(parser: &mut Parser) -> Result<Option<(&'static Flag, String)>, ConfigError> {
    loop {
        let (flag, typed) = match parser.next() {
            Ok(None) => return Ok(None),
            Ok(Some(Arg::Value(value))) if value.is_empty() => continue,
            Ok(Some(Arg::Value(value))) => {
                let argument = value.to_string_lossy().into_owned();
                return Err(ConfigError::UnexpectedArgument { argument });
            }
            Ok(Some(Arg::Long(name))) => {
                let name = name.replace('_', "-");
                let flag = FLAGS.iter().find(|flag| flag.names.contains(&name.as_str()));
                (flag, format!("--{}", name.escape_debug()))
            }
            Ok(Some(Arg::Short(letter))) => {
                let flag = FLAGS.iter().find(|flag| flag.short == Some(letter));
                (flag, format!("-{}", letter.escape_debug()))
            }
            // `next` fails only over a value that the flag before did not take, and ours take theirs.
            Err(error) => return Err(ConfigError::UnknownFlag { flag: error.to_string() }),
        };
        return match flag {
            Some(flag) => Ok(Some((flag, typed))),
            None => Err(ConfigError::UnknownFlag { flag: typed }),
        };
    }
}
