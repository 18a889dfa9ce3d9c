//! Scenarios of the table in every mode on every kernel: those in which kernels and modes differ most. All others are
//! for `tests/vm/matrix.sh`.
//!
//! Each test is one machine and one row of a table, which `tests/vm/test.sh` prints when all have run.

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use portolan_tests_vm::{Kernel, Outcome, Vm, VmError, test_executable};

use crate::ipvs::{iptables_of, with_ipvs};

/// What is played: each takes something of the kernel that changed over the years, or that modes leave to different
/// parts of it.
const SCENARIOS: [&str; 6] = [
    // Elements and destinations that come and go one by one, with the flows that end by that.
    "lifecycle::endpoints_that_change_are_followed_one_by_one",
    // Refusals by ICMP errors and resets, in rules that come and go.
    "unserved::refusals_end_with_the_first_endpoint_and_begin_after_the_last",
    // Packets that go back to where they came from, past br_netfilter.
    "hairpin::a_pod_on_a_bridge_reaches_itself_by_every_address",
    // Concatenated sets of ranges, and drops in silence.
    "ranges::ranges_are_followed",
    // Three protocols on one port.
    "ports::each_protocol_on_one_port_has_endpoints_of_its_own",
    // Entries that packets make, and that end by themselves.
    "affinity::a_client_is_forgotten_when_its_time_is_over",
];

/// Six scenarios are half a minute of a core, which machines may have to share.
const PATIENCE: Duration = Duration::from_secs(220);

/// Where the table is played in a mode.
struct Mode {
    name: &'static str,
    package: &'static str,
    target: &'static str,
    /// What the names of its tests begin with.
    prefix: &'static str,
    /// How many of the scenarios the mode leaves out, by what it declares of itself.
    left_out: usize,
}

const NFTABLES: Mode = Mode {
    name: "nftables",
    package: "portolan-tests-netns",
    target: "portolan_tests_netns",
    prefix: "conformance::",
    left_out: 0,
};
const IPTABLES: Mode = Mode {
    name: "iptables",
    package: "portolan-backend-iptables",
    target: "kernel",
    prefix: "conformance::nft::",
    left_out: 0,
};
const IPVS: Mode = Mode {
    name: "ipvs",
    package: "portolan-backend-ipvs",
    target: "kernel",
    prefix: "conformance::",
    left_out: 1,
};

/// Played where the kernel has nothing of what the others stand on.
const USERSPACE: Mode = Mode {
    name: "userspace",
    package: "portolan-backend-userspace",
    target: "kernel",
    prefix: "conformance::",
    left_out: 0,
};

/// What the others stand on.
const FILTERS: [&str; 6] = ["nf_tables", "x_tables", "ip_tables", "ip6_tables", "ip_vs", "nf_conntrack"];

/// A machine for every mode. With AVX2, Linux 5.10 has its own bug, which
/// [`linux_5_10_takes_neighbours_for_members_of_a_set_of_ranges`] shows.
fn machine(kernel: Kernel, mode: &Mode) -> Vm {
    let vm = match mode.name {
        "userspace" => Vm::new(kernel).network_programs().modules(["br_netfilter"]).without(FILTERS),
        _ => with_ipvs(Vm::new(kernel)).programs(iptables_of(&["nft"])).variable("PORTOLAN_SCTP", "required"),
    };
    let vm = vm.memory(1024).patience(PATIENCE);
    if kernel == Kernel::Bullseye { vm.without_cpu_features(["avx2"]) } else { vm }
}

/// Names the scenarios to play instead of [`SCENARIOS`], by beginnings of their names; an empty one is that of all.
const INSTEAD: &str = "PORTOLAN_SCENARIOS";

/// How long all scenarios of the table may take.
const LONG_PATIENCE: Duration = Duration::from_secs(5400);

/// Tests of the kit that are no scenario.
const NO_SCENARIO: [&str; 6] =
    ["--skip", "random_clusters", "--skip", "what_holds_is", "--skip", "every_declared_difference"];

/// One machine's part of the table.
struct Cell<'a> {
    kernel: Kernel,
    mode: &'a Mode,
}

impl Cell<'_> {
    /// Runs the mode's tests that these words choose, and writes what is printed to `log` as it comes.
    fn play(&self, vm: &Vm, words: &[&str], log: &mut impl Write) -> Result<Outcome, VmError> {
        let executable = test_executable(self.mode.package, self.mode.target)?;
        let always = ["--test-threads=1", "--show-output", "--include-ignored"];
        let command = [executable.to_str().unwrap()].into_iter().chain(always).chain(words.iter().copied());
        // Who wants to see how far it came can do without.
        vm.clone().copy(&executable).run_telling(command, |bytes| drop(log.write_all(bytes)))
    }

    fn named(&self, scenarios: &[&str]) -> Vec<String> {
        scenarios.iter().map(|scenario| format!("{}{scenario}", self.mode.prefix)).collect()
    }

    /// Plays [`SCENARIOS`], or what is asked for instead.
    fn chosen(&self, log: &mut impl Write) -> Result<Outcome, VmError> {
        let vm = machine(self.kernel, self.mode);
        let (vm, options, names) = match env::var(INSTEAD) {
            Ok(names) => {
                let names: Vec<_> = names.split(' ').collect();
                (vm.patience(LONG_PATIENCE), &NO_SCENARIO[..], self.named(&names))
            }
            Err(_unset) => (vm, &["--exact"][..], self.named(&SCENARIOS)),
        };
        let words: Vec<_> = options.iter().copied().chain(names.iter().map(String::as_str)).collect();
        self.play(&vm, &words, log)
    }

    /// The scenarios whose tests ended so.
    fn ending<'a>(&self, output: &'a str, end: &str) -> BTreeSet<&'a str> {
        let tests = output.lines().filter_map(|line| line.strip_suffix(end)?.strip_prefix("test "));
        tests
            .filter_map(|test| test.strip_prefix(self.mode.prefix))
            .filter(|name| name.contains("::"))
            .collect()
    }

    /// Asserts that what was chosen holds, and leaves the row, and beside it what the machine printed.
    fn hold(&self) {
        let (folder, suite, mode) = (rows(), self.kernel.suite(), self.mode);
        fs::create_dir_all(&folder).unwrap();
        let mut log = File::create(folder.join(format!("{suite}-{}.log", mode.name))).unwrap();
        let note = |figures: String| {
            let row = format!("{suite:<10} {:<10} {figures}\n", mode.name);
            fs::write(folder.join(format!("{suite}-{}.row", mode.name)), row).unwrap();
        };
        // While it runs, and if the machine dies, the file shows that this one has no figures.
        note("did not end".to_owned());
        let Outcome { code, output, console, took } = self.chosen(&mut log).unwrap();
        let (passed, failed) = (self.ending(&output, " ... ok"), self.ending(&output, " ... FAILED"));
        // `group::name is left out: why`, behind what the inner run of the test says of itself.
        let lines = output.lines().filter_map(|line| line.split_once(" is left out: "));
        let named = lines.filter_map(|(before, _reason)| before.rsplit(' ').next());
        let left_out = named.filter(|name| passed.contains(name)).count();
        let (held, of) = (passed.len() - left_out, passed.len() + failed.len() - left_out);
        note(format!("{held:>4} of {of:<4} {left_out:>8} {:>8}", took.as_secs()));
        assert!(code == 0 && failed.is_empty() && of > 0, "{failed:#?}\n{output}\n{console}");
        if env::var_os(INSTEAD).is_none() {
            assert_eq!((passed.len(), left_out), (SCENARIOS.len(), mode.left_out), "{output}");
        }
    }
}

/// Where rows are left for `tests/vm/test.sh`.
fn rows() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"));
    target.join("vm/rows")
}

macro_rules! cells {
    ($($name:ident: $kernel:ident $mode:ident,)*) => {$(
        #[test]
        fn $name() {
            Cell { kernel: Kernel::$kernel, mode: &$mode }.hold();
        }
    )*};
}

cells! {
    nftables_holds_on_linux_5_10: Bullseye NFTABLES,
    nftables_holds_on_linux_6_1: Bookworm NFTABLES,
    nftables_holds_on_linux_6_12: Trixie NFTABLES,
    iptables_holds_on_linux_5_10: Bullseye IPTABLES,
    iptables_holds_on_linux_6_1: Bookworm IPTABLES,
    iptables_holds_on_linux_6_12: Trixie IPTABLES,
    ipvs_holds_on_linux_5_10: Bullseye IPVS,
    ipvs_holds_on_linux_6_1: Bookworm IPVS,
    ipvs_holds_on_linux_6_12: Trixie IPVS,
    userspace_holds_on_linux_6_1: Bookworm USERSPACE,
}

/// Its lookups by AVX2 pass over an IPv6 address's sixth octet in a concatenation, most likely CVE-2025-38120. When
/// Debian's kernel has it mended this fails, and its cells need no processor of their own any more.
#[test]
fn linux_5_10_takes_neighbours_for_members_of_a_set_of_ranges() {
    let cell = Cell { kernel: Kernel::Bullseye, mode: &NFTABLES };
    let vm = with_ipvs(Vm::new(cell.kernel)).memory(1024).patience(PATIENCE);
    let scenario = "ranges::ranges_are_followed";
    let names = cell.named(&[scenario]);
    let output = cell.play(&vm, &["--exact", &names[0]], &mut io::sink()).unwrap().output;
    assert!(cell.ending(&output, " ... FAILED").contains(scenario), "{output}");
    // IPv4 is right.
    let wrong: Vec<_> = output.lines().filter(|line| line.contains(" to load-balancer IP ")).collect();
    assert!(!wrong.is_empty() && wrong.iter().all(|line| line.contains(" IP [")), "{output}");
}
