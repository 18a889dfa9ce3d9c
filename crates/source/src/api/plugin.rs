//! Credential plugins: programs that a kubeconfig names to ask for a token or a certificate (`user.exec`).
//!
//! kube's client runs such a program only once if its credentials have no expiry, and shows its output in errors. This
//! follows client-go: a plugin runs before the first request, when its credentials have expired, and after a server has
//! answered 401. It does not run at the start of the process.

use std::io::ErrorKind;
use std::process::Stdio;
use std::time::Duration;

use http::HeaderValue;
use jiff::Timestamp;
use kube::config::{ExecConfig, ExecInteractiveMode};
use portolan_core::LogLimiter;
use serde::Deserialize;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use super::credentials::bearer;
use super::failure::Failure;

/// Versions of `ExecCredential` that client-go supports.
const VERSIONS: [&str; 2] = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

/// Most bytes read of what a plugin prints.
const MAX_OUTPUT: u64 = 1 << 20;

/// A plugin that failed does not run again for so long: several watches request credentials at the same time.
const PAUSE: Duration = Duration::from_millis(500);

/// A program that issues credentials. Arguments and environment may hold secrets, so only the program's name is
/// printed.
pub(super) struct Plugin {
    command: String,
    exec: ExecConfig,
    /// The variable `KUBERNETES_EXEC_INFO`.
    info: String,
    /// The time limit of a run.
    time_limit: Duration,
}

/// The credentials that a plugin issued, and the result of its last run.
#[derive(Default)]
pub(super) struct IssuedCredentials {
    pub(super) credential: Option<Credential>,
    /// Number of successful runs, which distinguishes a late 401 about an earlier credential.
    pub(super) run: u64,
    /// Whether the server answered 401 to the credential.
    is_rejected: bool,
    failed: Option<(Instant, String)>,
    log: LogLimiter,
}

/// A token, a certificate with its key, or both.
pub(super) struct Credential {
    /// Marked as sensitive, so that it is not printed.
    pub(super) token: Option<HeaderValue>,
    /// Certificate and key, as PEM.
    pub(super) certificate: Option<(Vec<u8>, Vec<u8>)>,
    expires: Option<Timestamp>,
}

impl IssuedCredentials {
    /// Notes that the server answered 401 to the credential of this run.
    pub(super) fn reject(&mut self, run: u64) {
        self.is_rejected |= self.run == run;
    }
}

impl Plugin {
    /// The plugin of a kubeconfig.
    ///
    /// # Errors
    /// A field is missing or not supported, or the plugin needs a terminal.
    pub(super) fn new(exec: &ExecConfig, time_limit: Duration) -> Result<Self, String> {
        let command = exec.command.clone().filter(|command| !command.is_empty());
        let command = command.ok_or("exec has no command")?;
        let api_version = exec.api_version.as_deref().unwrap_or_default();
        if !VERSIONS.contains(&api_version) {
            return Err(format!("exec.apiVersion is {api_version:?} (want {})", VERSIONS.join(" or ")));
        }
        if exec.interactive_mode == Some(ExecInteractiveMode::Always) {
            return Err("exec.interactiveMode is Always, and there is no terminal".to_owned());
        }
        let mut spec = json!({"interactive": false});
        if exec.provide_cluster_info {
            spec["cluster"] = serde_json::to_value(&exec.cluster).map_err(|error| error.to_string())?;
        }
        let info = json!({"kind": "ExecCredential", "apiVersion": api_version, "spec": spec});
        Ok(Self { command, exec: exec.clone(), info: info.to_string(), time_limit })
    }

    /// Runs the plugin if there is no credential, or it has expired or was rejected. A rejected one is kept while the
    /// plugin fails: the rejection may have been the server's mistake.
    ///
    /// # Errors
    /// The plugin failed and there is no credential that has not expired.
    pub(super) async fn refresh(&self, issued: &mut IssuedCredentials) -> Result<(), Failure> {
        let good = issued.credential.as_ref().is_some_and(|credential| !credential.has_expired());
        if good && !issued.is_rejected {
            return Ok(());
        }
        let recent = issued.failed.as_ref().filter(|(at, _)| at.elapsed() < PAUSE);
        let result = match recent {
            Some((_, reason)) => Err(reason.clone()),
            None => {
                self.run().await.inspect_err(|reason| issued.failed = Some((Instant::now(), reason.clone())))
            }
        };
        match result {
            Ok(credential) => {
                debug!(plugin = self.command, expires = ?credential.expires, "Got credentials from the plugin");
                issued.log.succeed(Instant::now().into_std());
                issued.credential = Some(credential);
                issued.run += 1;
                issued.is_rejected = false;
                Ok(())
            }
            Err(reason) if good => {
                if issued.log.fail(&reason, Instant::now().into_std()) {
                    warn!(
                        plugin = self.command,
                        err = reason,
                        "Failed to renew credentials; keeping the previous ones"
                    );
                }
                Ok(())
            }
            Err(reason) => Err(Failure::Credentials(reason)),
        }
    }

    async fn run(&self) -> Result<Credential, String> {
        let name = &self.command;
        let output = timeout(self.time_limit, self.output()).await;
        let output = output.unwrap_or_else(|_elapsed| {
            Err(format!("credential plugin {name:?} did not end within {:?}", self.time_limit))
        })?;
        self.read(&output)
    }

    /// Starts the plugin and reads its standard output. Its standard error is not read: it might hold secrets.
    async fn output(&self) -> Result<Vec<u8>, String> {
        let name = &self.command;
        let mut command = Command::new(name);
        let env = self.exec.env.iter().flatten();
        command.args(self.exec.args.iter().flatten());
        command.envs(env.filter_map(|entry| Some((entry.get("name")?, entry.get("value")?))));
        command.env("KUBERNETES_EXEC_INFO", &self.info);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let hint = self.exec.install_hint.as_deref().filter(|hint| !hint.is_empty());
        let hint = hint.map(|hint| format!(": {hint}")).unwrap_or_default();
        let mut child = command.spawn().map_err(|error| match error.kind() {
            ErrorKind::NotFound => format!("credential plugin {name:?} is not installed{hint}"),
            _ => format!("cannot start the credential plugin {name:?}: {error}"),
        })?;
        let mut output = Vec::new();
        if let Some(pipe) = child.stdout.take() {
            let read = pipe.take(MAX_OUTPUT).read_to_end(&mut output).await;
            read.map_err(|error| format!("cannot read from the credential plugin {name:?}: {error}"))?;
        }
        let status = child.wait().await;
        let status =
            status.map_err(|error| format!("cannot wait for the credential plugin {name:?}: {error}"))?;
        if !status.success() {
            return Err(format!("credential plugin {name:?} failed: {status}; run it by hand to see why"));
        }
        Ok(output)
    }

    /// Reads an `ExecCredential`. Errors do not quote it.
    fn read(&self, output: &[u8]) -> Result<Credential, String> {
        let name = &self.command;
        let wanted = self.exec.api_version.as_deref().unwrap_or_default();
        let failure = |what: &str| format!("credential plugin {name:?} {what}");
        // As in client-go, which accepts YAML too.
        let printed: ExecCredential = serde_saphyr::from_slice(output)
            .map_err(|_secret| failure(&format!("printed no ExecCredential of {wanted}")))?;
        if printed.kind != "ExecCredential" || printed.api_version != wanted {
            return Err(failure(&format!("printed no ExecCredential of {wanted}")));
        }
        let status = printed.status.ok_or_else(|| failure("printed an ExecCredential without status"))?;
        let nonempty = |text: Option<String>| text.filter(|text| !text.is_empty());
        let token = nonempty(status.token).map(|token| bearer(&token)).transpose();
        let token = token.map_err(|_secret| failure("printed a token that no header can hold"))?;
        let certificate = match (nonempty(status.client_certificate_data), nonempty(status.client_key_data)) {
            (Some(certificate), Some(key)) => Some((certificate.into_bytes(), key.into_bytes())),
            (None, None) if token.is_some() => None,
            (None, None) => return Err(failure("printed neither a token nor a certificate")),
            _ => return Err(failure("printed a certificate or a key without the other")),
        };
        let expires = nonempty(status.expiration_timestamp).map(|text| text.parse()).transpose();
        let expires = expires.map_err(|_quoted: jiff::Error| {
            failure("printed an expirationTimestamp that is no time of RFC 3339")
        })?;
        Ok(Credential { token, certificate, expires })
    }
}

impl Credential {
    fn has_expired(&self) -> bool {
        self.expires.is_some_and(|at| at <= Timestamp::now())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecCredential {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    api_version: String,
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    expiration_timestamp: Option<String>,
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}
