//! Programs in namespaces: their network, their logs, their end.

use std::time::Duration;

use portolan_testkit::netns::{Namespace, NetnsError, Program, Topology, isolated, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);

fn shell(script: &str) -> Program {
    Program::new("sh").args(["-c", script])
}

#[test]
fn a_program_lives_in_the_namespace_it_was_started_in() {
    isolated(|| {
        let net = Topology::routed(1).unwrap();

        let shown = net.pod(1).namespace.run_program(&Program::new("ip").args(["-brief", "addr"])).unwrap();

        assert!(shown.contains("10.244.0.11/32") && !shown.contains("192.0.2.1/24"), "{shown}");
    });
}

#[test]
fn a_log_holds_both_outputs_in_order_and_can_be_read_while_it_grows() {
    isolated(|| {
        let here = Namespace::create("here").unwrap();
        let script = "echo one; echo two >&2; sleep 0.2; echo three; exec sleep 1000";
        let program = here.spawn_program(&shell(script)).unwrap();

        wait_until("two lines are there", PATIENCE, || program.log().unwrap() == "one\ntwo\n").unwrap();
        wait_until("all lines are there", PATIENCE, || program.log().unwrap() == "one\ntwo\nthree\n")
            .unwrap();
    });
}

#[test]
fn terminating_lets_a_program_end_in_its_own_way() {
    isolated(|| {
        let here = Namespace::create("here").unwrap();
        let mut program =
            here.spawn_program(&shell("trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done")).unwrap();
        wait_until("the trap is set", PATIENCE, || program.log().unwrap() == "up\n").unwrap();

        let status = program.terminate(PATIENCE).unwrap();

        assert_eq!(status.code(), Some(7));
    });
}

#[test]
fn a_program_that_ignores_the_request_to_end_is_an_error() {
    isolated(|| {
        let here = Namespace::create("here").unwrap();
        let mut program =
            here.spawn_program(&shell("trap '' TERM; echo up; while :; do sleep 0.05; done")).unwrap();
        wait_until("the trap is set", PATIENCE, || program.log().unwrap() == "up\n").unwrap();

        let error = program.terminate(Duration::from_millis(100)).unwrap_err();

        assert!(matches!(error, NetnsError::Deadline { .. }), "{error}");
        assert_eq!(program.exited().unwrap(), None);
    });
}

#[test]
fn dropping_the_handle_kills_the_program() {
    isolated(|| {
        let here = Namespace::create("here").unwrap();
        let program = here.spawn_program(&Program::new("sleep").args(["1000"])).unwrap();
        let entry = format!("/proc/{}", program.id());
        assert!(std::fs::exists(&entry).unwrap());

        drop(program);

        assert!(!std::fs::exists(&entry).unwrap());
    });
}

#[test]
fn a_missing_program_is_named() {
    isolated(|| {
        let here = Namespace::create("here").unwrap();

        let error = here.run_program(&Program::new("no-such-program")).unwrap_err();

        assert_eq!(error.to_string(), "cannot start no-such-program");
    });
}
