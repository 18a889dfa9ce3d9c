//! Gives a test its own network, mounts and processes by running it once more inside them.
//!
//! A process with threads, as every test is, cannot move into a user namespace. So [`isolated`] starts the
//! test executable again through `unshare`, asking for just this one test; there, it finds itself inside
//! and runs the body. The outer run only waits, passes the output on, and judges.
//!
//! Holds: the outer test passes only when the body ran to its end inside, which the body's run proves with
//! a file. An exit status alone would not do: a test executable that finds no test by the name it was given
//! reports success.

use std::any::type_name;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, PipeReader};
use std::path::{Path, PathBuf};
use std::{env, fs};

use portolan_core::backend::error_chain;

use super::Program;

/// Tells the inner run which test it is; its absence marks the outer run.
const TEST_VARIABLE: &str = "PORTOLAN_ISOLATED_TEST";
/// Where the inner run writes its proof.
const PROOF_VARIABLE: &str = "PORTOLAN_ISOLATED_PROOF";

/// Runs the body of the calling test in its own network, mount and process namespaces.
///
/// Call it from the test function itself, with a closure written there: the test's name, which the inner run
/// is started with, is read from the closure's type. `/run` is an empty file system inside, so `ip netns`
/// keeps its names to this test. Root creates the namespaces directly, other users through a user namespace.
/// All processes that the body leaves behind are killed when it ends.
///
/// Needs `unshare` and `setpriv` (util-linux), `mount` and `ip` (iproute2).
///
/// # Panics
/// When the body does, or when the namespaces are not to be had; the message says why. That is the point:
/// a test without its namespace fails.
pub fn isolated<Body: FnOnce()>(body: Body) {
    let test = calling_test(type_name::<Body>());
    let outcome = match env::var(TEST_VARIABLE) {
        Ok(inner) if inner == test => run_inside(body),
        Ok(inner) => {
            panic!("test {test} was started inside the namespaces of {inner}; do not nest isolated()")
        }
        Err(_) => run_outside(&test),
    };
    if let Err(reason) = outcome {
        panic!("{test}: {reason}");
    }
}

/// The test's name as the test executable knows it, from the type name of a closure inside it.
///
/// `krate::module::the_test::{{closure}}` becomes `module::the_test`.
fn calling_test(closure: &str) -> String {
    let path = closure.split("::{{closure}}").next().unwrap_or(closure);
    path.split_once("::").map_or(path, |(_krate, test)| test).to_owned()
}

fn run_inside<Body: FnOnce()>(body: Body) -> Result<(), String> {
    let mount = Program::new("mount").args(["-t", "tmpfs", "portolan-test", "/run"]).run();
    let loopback = mount.and_then(|_| Program::new("ip").args(["link", "set", "lo", "up"]).run());
    loopback.map_err(|error| error_chain(&error))?;
    body();
    let proof = env::var_os(PROOF_VARIABLE).ok_or("the outer run named no file for the proof")?;
    fs::write(&proof, "the body ran to its end").map_err(|error| format!("cannot write the proof: {error}"))
}

fn run_outside(test: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    let proof = folder.path().join("proof");
    let this = env::current_exe().map_err(|error| format!("cannot find the test executable: {error}"))?;
    let (mut child, output) =
        inner_run(this, test, &proof).spawn_piped().map_err(|error| error_chain(&error))?;
    let refusal = pass_on(output);
    let status = child.wait().map_err(|error| format!("cannot wait for the inner run: {error}"))?;
    match (status.success(), proof.exists()) {
        (true, true) => Ok(()),
        (true, false) => {
            Err("the inner run found no test by this name; call isolated() from the test itself".into())
        }
        (false, _) => Err(refusal.unwrap_or_else(|| format!("failed inside its namespaces ({status})"))),
    }
}

/// The command that starts `test` again, inside.
///
/// `setpriv` ties the inner run to the life of the outer one, and the process namespace ties everything the
/// body starts to the life of the inner run: a test that is killed for its slowness leaves nothing behind.
fn inner_run(executable: PathBuf, test: &str, proof: &Path) -> Program {
    let mut arguments: Vec<OsString> = ["--pdeathsig", "KILL", "--", "unshare"].map(Into::into).into();
    if !nix::unistd::geteuid().is_root() {
        arguments.extend(["--user", "--map-root-user"].map(Into::into));
    }
    arguments.extend(
        ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"].map(Into::into),
    );
    arguments.push(executable.into());
    arguments.extend(["--exact", test, "--nocapture", "--include-ignored"].map(Into::into));
    Program::new("setpriv").args(arguments).variable(TEST_VARIABLE, test).variable(PROOF_VARIABLE, proof)
}

/// Prints the inner run's output where the outer test's output belongs, and returns what `unshare` said if it
/// refused.
#[expect(clippy::print_stdout, reason = "what a test prints is for the one who runs it")]
fn pass_on(output: PipeReader) -> Option<String> {
    let mut refusal = None;
    for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        println!("{line}");
        if line.starts_with("unshare: ") || line.starts_with("setpriv: ") {
            refusal = Some(format!(
                "got no namespaces: {line} (run as root, or allow unprivileged user namespaces: \
                 kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)"
            ));
        }
    }
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_name_is_the_closure_path_without_the_crate() {
        assert_eq!(calling_test("krate::traffic::vip_answers::{{closure}}"), "traffic::vip_answers");
    }

    #[test]
    fn nested_closures_belong_to_the_test_around_them() {
        assert_eq!(calling_test("krate::vip_answers::{{closure}}::{{closure}}"), "vip_answers");
    }

    #[test]
    fn body_runs_as_first_process_of_an_empty_network() {
        isolated(|| {
            assert_eq!(std::process::id(), 1);
            let links = Program::new("ip").args(["-oneline", "link"]).run().unwrap();
            assert_eq!(links.lines().count(), 1, "only loopback expected: {links}");
        });
    }

    #[test]
    #[should_panic(expected = "failed inside its namespaces")]
    fn failing_body_fails_the_test() {
        isolated(|| panic!("on purpose"));
    }

    #[test]
    #[should_panic(expected = "found no test by this name")]
    fn body_that_never_ran_fails_the_test() {
        fn not_a_test() {
            isolated(|| {});
        }
        not_a_test();
    }
}
