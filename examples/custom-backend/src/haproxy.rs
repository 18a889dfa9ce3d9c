//! The program: checked, started, reloaded, and told what changes while it runs.
//!
//! HAProxy's master answers at one socket and its worker at another. After a reload two workers live until the
//! old one's connections have ended; the socket is the new one's. Which configuration a worker has is known
//! by its `description`, which carries the digest of all frontends.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a start or a reload may take, with many thousand frontends as well.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long to wait for an answer at a socket.
const ANSWER: Duration = Duration::from_secs(5);
/// How often to look.
const PAUSE: Duration = Duration::from_millis(5);

/// Why HAProxy does not do as it is told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HaproxyError {
    /// It is not there.
    #[error("could not run {0}")]
    NotRun(String, #[source] io::Error),
    /// It does not like a configuration, in its own words.
    #[error("haproxy does not take it: {0}")]
    Rejected(String),
    /// It ended right after its start, or goes on with what it had.
    #[error("haproxy did not begin to serve: {0}")]
    NotServing(String),
    /// No answer, or not in time.
    #[error("haproxy does not answer at its socket")]
    Silent(#[source] io::Error),
    /// A command of ours failed.
    #[error("haproxy turned \"{command}\" down: {answer}")]
    Refused {
        /// The command.
        command: String,
        /// What it said.
        answer: String,
    },
    /// A file of ours.
    #[error("could not write {0}")]
    Unwritten(String, #[source] io::Error),
}

/// Whether a server gets new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It does.
    Ready,
    /// It keeps those that it has.
    Draining,
}

/// Servers of each farm.
pub(crate) type Farms = HashMap<String, BTreeMap<SocketAddr, Condition>>;

/// One process of HAProxy, which may outlive this one.
#[derive(Debug)]
pub(crate) struct Haproxy {
    program: PathBuf,
    folder: PathBuf,
    /// The master, where this process started it.
    child: Option<Child>,
}

impl Haproxy {
    pub(crate) fn new(program: &Path, folder: &Path) -> Self {
        Self { program: program.into(), folder: folder.into(), child: None }
    }

    /// Where all its files are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the program is there.
    pub(crate) fn probe(&self) -> Result<(), String> {
        let run = self.command().arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status();
        match run {
            Ok(status) if status.success() => Ok(()),
            _ => Err(format!("the program {}", self.program.display())),
        }
    }

    /// The lines that stand before all Services.
    pub(crate) fn preamble(&self, digest: u64) -> String {
        let folder = self.folder.display();
        format!(
            "# Written by Portolan; changes are lost.\n\
             global\n    description {}\n    stats socket {folder}/worker.sock mode 600 level admin expose-fd listeners\n\
             defaults\n    mode tcp\n    timeout connect 1s\n    timeout client 24h\n    timeout server 24h\n    \
             retries 3\n    option redispatch\n    option tcpka\n\
             # Without any frontend it would not start.\n\
             frontend idle\n    bind unix@{folder}/idle.sock\n",
            description(digest)
        )
    }

    /// Has the program look at a folder of configuration files without using them.
    pub(crate) fn check(&self, folder: &Path) -> Result<(), HaproxyError> {
        let mut command = self.command();
        command.arg("-c").arg("-f").arg(folder);
        let output = command.stdin(Stdio::null()).output().map_err(|error| self.not_run(error))?;
        if output.status.success() {
            return Ok(());
        }
        Err(HaproxyError::Rejected(alerts(&String::from_utf8_lossy(&output.stderr))))
    }

    /// The digest of the configuration that the worker has; nothing if none runs.
    pub(crate) fn digest(&self) -> Option<u64> {
        let info = self.ask("show info").ok()?;
        let line = info.lines().find_map(|line| line.strip_prefix("description: portolan-"))?;
        u64::from_str_radix(line.trim(), 16).ok()
    }

    /// Makes a worker serve what is written, which has this digest.
    pub(crate) fn serve(&mut self, digest: u64) -> Result<(), HaproxyError> {
        if self.master().is_none() {
            self.start()?;
            return self.wait_for(digest, None);
        }
        let end = Instant::now() + ANSWER;
        // A master that is still about to reload does not answer for a moment.
        let failed = loop {
            match self.failed_reloads() {
                None if Instant::now() < end => sleep(PAUSE),
                failed => break failed,
            }
        };
        self.ask_at("master.sock", "reload").map_err(HaproxyError::Silent)?;
        self.wait_for(digest, failed)
    }

    fn start(&mut self) -> Result<(), HaproxyError> {
        let log = self.folder.join("log");
        let unwritten = |error| HaproxyError::Unwritten(log.display().to_string(), error);
        let writer = File::create(&log).map_err(unwritten)?;
        let stderr = writer.try_clone().map_err(unwritten)?;
        let mut command = self.command();
        command.arg("-W").arg("-S").arg(format!("{},mode,600", self.folder.join("master.sock").display()));
        command.arg("-p").arg(self.folder.join("pid")).arg("-f").arg(self.folder.join("conf"));
        // What a terminal sends to us is not for a process that is to go on.
        command.process_group(0).stdin(Stdio::null()).stdout(writer).stderr(stderr);
        self.child = Some(command.spawn().map_err(|error| self.not_run(error))?);
        Ok(())
    }

    fn wait_for(&mut self, digest: u64, failed_before: Option<u32>) -> Result<(), HaproxyError> {
        let end = Instant::now() + PATIENCE;
        while self.digest() != Some(digest) {
            let ended = self.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)));
            let failed =
                failed_before.is_some_and(|before| self.failed_reloads().is_some_and(|now| now > before));
            if ended || failed || Instant::now() > end {
                // Not there is not readable, and says as little.
                let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                return Err(HaproxyError::NotServing(alerts(&log)));
            }
            sleep(PAUSE);
        }
        Ok(())
    }

    /// How many reloads failed since the last that did not; nothing if no master answers.
    fn failed_reloads(&self) -> Option<u32> {
        // 8   master   2 [failed: 1]   0d00h00m07s   2.6.12
        let processes = self.ask_at("master.sock", "show proc").ok()?;
        let master = processes.lines().find(|line| line.contains("master"))?;
        master.split_once("[failed: ")?.1.split_once(']')?.0.parse().ok()
    }

    /// The servers of all farms, as the worker has them.
    pub(crate) fn farms(&self) -> Result<Farms, HaproxyError> {
        let printed = self.ask("show servers state")?;
        let mut farms = Farms::new();
        for line in printed.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<_> = line.split(' ').collect();
            // be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state … (management.txt, 9.3)
            let [_, farm, _, server, _, _, admin, ..] = words[..] else { continue };
            let Some(server) = address(server) else { continue };
            let condition = if admin == "0" { Condition::Ready } else { Condition::Draining };
            farms.entry(farm.to_owned()).or_default().insert(server, condition);
        }
        Ok(farms)
    }

    /// Gives the worker a command that answers nothing, or this.
    pub(crate) fn tell(&self, command: &str, answers: &str) -> Result<(), HaproxyError> {
        let answer = self.ask(command)?;
        if answer.trim() == answers {
            return Ok(());
        }
        Err(HaproxyError::Refused { command: command.to_owned(), answer: answer.trim().to_owned() })
    }

    fn ask(&self, command: &str) -> Result<String, HaproxyError> {
        self.ask_at("worker.sock", command).map_err(HaproxyError::Silent)
    }

    fn ask_at(&self, socket: &str, command: &str) -> io::Result<String> {
        let mut stream = UnixStream::connect(self.folder.join(socket))?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        stream.write_all(format!("{command}\n").as_bytes())?;
        stream.shutdown(std::net::Shutdown::Write)?;
        let mut answer = String::new();
        match stream.read_to_string(&mut answer) {
            // A master that reloads lets go of the connection at once.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(answer),
            read => read.map(|_| answer),
        }
    }

    /// Ends it with all its connections, even if another process started it.
    pub(crate) fn end(&mut self) -> Result<(), HaproxyError> {
        let Some(master) = self.master() else { return Ok(()) };
        let unwritten = |error: nix::Error| HaproxyError::NotServing(format!("it cannot be ended: {error}"));
        kill(master, Signal::SIGTERM).map_err(unwritten)?;
        let end = Instant::now() + PATIENCE;
        while self.master().is_some() && Instant::now() < end {
            sleep(PAUSE);
        }
        Ok(())
    }

    /// The master's process, if it is there and is ours.
    fn master(&mut self) -> Option<Pid> {
        // Ended children stay until they are waited for; processes of others are reaped by their parents.
        if let Some(child) = &mut self.child {
            let _ = child.try_wait();
        }
        let pid: i32 = fs::read_to_string(self.folder.join("pid")).ok()?.trim().parse().ok()?;
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let socket = self.folder.join("master.sock");
        String::from_utf8_lossy(&line).contains(&*socket.to_string_lossy()).then(|| Pid::from_raw(pid))
    }

    fn not_run(&self, error: io::Error) -> HaproxyError {
        HaproxyError::NotRun(self.program.display().to_string(), error)
    }

    #[expect(clippy::disallowed_methods, reason = "this mode is a program")]
    fn command(&self) -> Command {
        Command::new(&self.program)
    }
}

fn description(digest: u64) -> String {
    format!("portolan-{digest:016x}")
}

/// The address that a server is called by.
fn address(name: &str) -> Option<SocketAddr> {
    let (ip, port) = name.rsplit_once(':')?;
    Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?))
}

/// What a person would look at in all that HAProxy says.
fn alerts(log: &str) -> String {
    // [ALERT]    (11) : config : parsing [conf/svc-a.cfg:3] : …
    let lines = log.lines().filter(|line| line.starts_with("[ALERT]"));
    let words: Vec<_> = lines.map(|line| line.split_once(" : ").map_or(line, |(_, words)| words)).collect();
    words.into_iter().take(5).collect::<Vec<_>>().join("; ")
}
