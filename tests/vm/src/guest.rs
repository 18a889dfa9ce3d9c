//! Runs the body of a test in a virtual machine, by running the test's executable there once more.
//!
//! Holds: the outer test passes only when the body ran to its end in the guest, which the body's run proves
//! with a line. An exit code alone would not do: a test executable that finds no test by the name it was given
//! reports success.

use std::any::type_name;
use std::env;

use portolan_core::backend::error_chain;

use crate::{Outcome, Vm};

/// Tells the run in the guest which test it is; its absence marks the outer run.
const TEST_VARIABLE: &str = "PORTOLAN_GUEST_TEST";

/// Runs the body of the calling test as root in this machine.
///
/// Call it from the test function itself, with a closure written there: the test's name, which the run in the
/// guest is started with, is read from the closure's type. Besides what `vm` brings, the guest has the test's
/// own executable.
///
/// # Panics
/// When the body does, or when there is no machine to run it in; the message says why.
pub fn in_guest<Body: FnOnce()>(vm: Vm, body: Body) {
    let test = calling_test(type_name::<Body>());
    if env::var(TEST_VARIABLE).is_ok_and(|inner| inner == test) {
        body();
        say(&proof(&test));
    } else if let Err(reason) = run_outside(vm, &test) {
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

/// The line that only a body leads to that ran to its end.
fn proof(test: &str) -> String {
    format!("portolan-vm: {test} ran to its end")
}

fn run_outside(vm: Vm, test: &str) -> Result<(), String> {
    let this = env::current_exe().map_err(|error| format!("cannot find the test executable: {error}"))?;
    let executable = this.clone().into_os_string();
    let vm = vm.copy(this).variable(TEST_VARIABLE, test).variable("RUST_BACKTRACE", "1");
    let words = ["--exact", test, "--nocapture", "--include-ignored"].map(Into::into);
    let outcome = vm.run([executable].into_iter().chain(words)).map_err(|error| error_chain(&error))?;
    say(&outcome.output);
    judge(test, &outcome)
}

fn judge(test: &str, outcome: &Outcome) -> Result<(), String> {
    let proof = proof(test);
    match (outcome.code, outcome.output.lines().any(|line| line.ends_with(&proof))) {
        (0, true) => Ok(()),
        (0, false) => {
            Err("the guest found no test by this name; call in_guest() from the test itself".to_owned())
        }
        (code, _) => Err(format!("failed in the guest (code {code}); its console:\n{}", outcome.console)),
    }
}

/// Prints where a test's output belongs.
#[expect(clippy::print_stdout, reason = "what a test prints is for the one who runs it")]
fn say(text: &str) {
    println!("{text}");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn verdict(code: i32, output: &str) -> Result<(), String> {
        let outcome =
            Outcome { code, output: output.to_owned(), console: "Oops".to_owned(), took: Duration::ZERO };
        judge("module::test", &outcome)
    }

    #[test]
    fn a_test_passes_with_its_proof_and_a_good_end() {
        assert_eq!(calling_test("krate::module::test::{{closure}}"), "module::test");
        assert_eq!(verdict(0, "running 1 test\nportolan-vm: module::test ran to its end\n"), Ok(()));
        assert!(verdict(0, "running 0 tests\n").unwrap_err().contains("no test by this name"));
        assert!(verdict(0, "portolan-vm: module::other ran to its end\n").is_err());
        let error = verdict(101, "portolan-vm: module::test ran to its end\n").unwrap_err();
        assert_eq!(error, "failed in the guest (code 101); its console:\nOops");
    }
}
