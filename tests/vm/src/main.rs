//! `portolan-vm`: runs one program in one kernel, for people and as cargo's runner.
//!
//! As a runner it lets `cargo test` run a package's tests in another kernel than the host's; `tests/vm/run.sh` does
//! that.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use portolan_core::backend::error_chain;
use portolan_tests_vm::{Kernel, Vm};

const USAGE: &str = "\
portolan-vm: runs a program of this host in a virtual machine with another kernel

    portolan-vm [OPTION...] PROGRAM [ARGUMENT...]

    --kernel NAME      bullseye (5.10), bookworm (6.1, the default) or trixie (6.12)
    --module NAME      a kernel module to load before; again for more
    --without NAME     a kernel module that the guest shall not have; again for more
    --with NAME        a program of this host, besides what tests of the network need; again for more
    --copy PATH        a file or folder of this host, executables with their libraries; again for more
    --keep NAME        a variable of the environment to keep; again for more
    --memory MIB       512 by default
    --cpus NUMBER      1 by default
    --lacking FEATURE  a feature that the CPUs shall not have, such as avx2; again for more
    --seconds NUMBER   how long it may run, boot included; 600 by default
";

/// How long a program may run that people start.
const PATIENCE: Duration = Duration::from_secs(600);

/// What the exit code is when there is no machine, or it did not tell.
const NO_MACHINE: u8 = 125;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(message) => {
            complain(&message);
            ExitCode::from(NO_MACHINE)
        }
    }
}

fn run() -> Result<ExitCode, String> {
    let mut words = std::env::args().skip(1).peekable();
    let mut vm = Vm::new(Kernel::Bookworm).network_programs().patience(PATIENCE);
    while let Some(option) = words.next_if(|word| word.starts_with("--")) {
        let value = words.next().ok_or_else(|| format!("{option} needs a value\n\n{USAGE}"))?;
        vm = apply(vm, &option, value)?;
    }
    let command: Vec<_> = words.collect();
    let program = command.first().ok_or_else(|| format!("what shall run?\n\n{USAGE}"))?;
    let vm = if program.contains('/') { vm.copy(program) } else { vm };
    let outcome = vm.run_telling(&command, pass_on).map_err(|error| error_chain(&error))?;
    complain(&format!(
        "{}ended with code {} after {:.1} s",
        outcome.console,
        outcome.code,
        outcome.took.as_secs_f32()
    ));
    Ok(ExitCode::from(u8::try_from(outcome.code).unwrap_or(u8::MAX)))
}

fn apply(vm: Vm, option: &str, value: String) -> Result<Vm, String> {
    let number = || value.parse::<u32>().map_err(|error| format!("{option} {value}: {error}"));
    Ok(match option {
        "--kernel" => vm.kernel(kernel(&value)?),
        "--module" => vm.modules([value]),
        "--without" => vm.without([value]),
        "--with" => vm.programs([value]),
        "--copy" => vm.copy(value),
        "--keep" => match std::env::var_os(&value) {
            Some(kept) => vm.variable(value, kept),
            None => vm,
        },
        "--memory" => vm.memory(number()?),
        "--cpus" => vm.cpus(number()?),
        "--lacking" => vm.without_cpu_features([value]),
        "--seconds" => vm.patience(Duration::from_secs(number()?.into())),
        _ => return Err(format!("there is no option {option}\n\n{USAGE}")),
    })
}

fn kernel(name: &str) -> Result<Kernel, String> {
    let found = Kernel::ALL.into_iter().find(|kernel| kernel.suite() == name);
    found.ok_or_else(|| format!("there is no kernel {name}\n\n{USAGE}"))
}

/// Shows what the guest prints as it comes.
fn pass_on(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    // The reader of the output may be gone; the exit code still counts.
    drop(out.write_all(bytes).and_then(|()| out.flush()));
}

#[expect(clippy::print_stderr, reason = "a tool for people, who read this")]
fn complain(message: &str) {
    eprintln!("portolan-vm: {message}");
}
