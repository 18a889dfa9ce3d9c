//! The machine itself, before anything that stands on it is believed.

use std::time::Duration;

use portolan_tests_vm::{Kernel, Vm, VmError, in_guest};

fn machine() -> Vm {
    Vm::new(Kernel::Bookworm)
}

/// Runs a line of shell.
fn shell(vm: &Vm, line: &str) -> Result<(i32, String), VmError> {
    vm.run(["sh", "-c", line]).map(|outcome| (outcome.code, outcome.output.trim_end().to_owned()))
}

#[test]
fn a_command_is_root_in_another_kernel_with_only_a_loopback_interface() {
    let line = "uname -r; id -u; ls /sys/class/net; ip -4 -o addr show lo | grep -o 127.0.0.1/8; exit 7";
    let (code, output) = shell(&machine(), line).unwrap();
    let lines: Vec<_> = output.lines().collect();
    let [release, rest @ ..] = &lines[..] else { panic!("{output}") };
    assert!(release.starts_with("6.1."), "{release}");
    assert_eq!((code, rest), (7, &["0", "lo", "127.0.0.1/8"][..]));
}

#[test]
fn files_variables_and_words_arrive_as_they_were_given() {
    let vm = machine().file("/etc/portolan/some file", "it's\n$HOME\n").variable("NAME", "a 'b' $c");
    let outcome = vm.run(["sh", "-c", "cat \"$0\"; echo \"$NAME\" >&2", "/etc/portolan/some file"]).unwrap();
    assert_eq!((outcome.code, outcome.output.as_str()), (0, "it's\n$HOME\na 'b' $c\n"));
}

#[test]
fn programs_of_the_host_come_before_those_of_busybox() {
    let version = |vm: Vm| vm.run(["ip", "-V"]).map(|outcome| outcome.output).unwrap();
    let (own, hosts) = (version(machine()), version(machine().programs(["ip"])));
    assert!(!own.contains("iproute2") && hosts.contains("iproute2"), "{own}\n{hosts}");
    let (_, output) = shell(&machine().programs(["ip"]), "ip -V").unwrap();
    assert!(output.contains("iproute2"), "{output}");
}

#[test]
fn the_output_is_whole_however_long_it_is() {
    let (_, output) = shell(&machine(), "seq 1 50000").unwrap();
    let expected: Vec<_> = (1..=50_000).map(|number| number.to_string()).collect();
    assert!(output.lines().eq(expected), "{} lines", output.lines().count());
}

#[test]
fn modules_are_there_when_asked_for_loadable_otherwise_and_absent_on_demand() {
    let looks = "ls -d /sys/module/dummy; modprobe nf_tables && echo loaded; modprobe veth || echo absent";
    let (_, output) = shell(&machine().modules(["dummy"]).without(["veth"]), looks).unwrap();
    let [module, rest @ ..] = &output.lines().collect::<Vec<_>>()[..] else { panic!("{output}") };
    assert_eq!(*module, "/sys/module/dummy");
    assert_eq!(rest.first(), Some(&"loaded"), "{output}");
    assert_eq!(rest.last(), Some(&"absent"), "{output}");
}

#[test]
fn a_module_that_the_kernel_lacks_is_an_error() {
    let error = machine().modules(["portolan"]).run(["true"]).unwrap_err();
    assert!(matches!(&error, VmError::NoModule { module, .. } if module == "portolan"), "{error:?}");
}

#[test]
fn a_guest_that_panics_is_an_error_that_shows_why() {
    let error = shell(&machine(), "echo before; echo c > /proc/sysrq-trigger").unwrap_err();
    let VmError::Panicked { console } = &error else { panic!("{error}") };
    assert!(console.contains("sysrq triggered crash"), "{console}");
}

#[test]
fn a_guest_that_hangs_is_ended_in_time_and_shows_how_far_it_came() {
    let error = shell(&machine().patience(Duration::from_secs(15)), "echo before; sleep 1000").unwrap_err();
    let VmError::Hung { output, .. } = &error else { panic!("{error}") };
    assert_eq!(output, "before");
}

#[test]
fn a_guest_that_ends_without_a_word_is_an_error() {
    let error = shell(&machine(), "echo '@ended 0'; poweroff -f; sleep 1000").unwrap_err();
    assert!(matches!(error, VmError::Silent { .. }), "{error}");
}

#[test]
fn the_body_of_a_test_runs_in_the_guest() {
    in_guest(machine(), || {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        assert!(release.starts_with("6.1."), "{release}");
        assert!(std::path::Path::new("/vm/command").exists());
    });
}

#[test]
#[should_panic(expected = "failed in the guest (code 101)")]
fn a_body_that_fails_in_the_guest_fails_the_test() {
    in_guest(machine(), || assert_eq!(1 + 1, 3, "this failure is wanted"));
}
