#!/usr/bin/env bash
# Runs tests of one package in another kernel: tests/vm/run.sh KERNEL PACKAGE [ARGUMENT of cargo test...]
#
#   tests/vm/run.sh bookworm portolan-nft --test kernel
#   tests/vm/run.sh bullseye portolan-tests-netns --lib -- conformance::ranges
#   tests/vm/run.sh trixie portolan-backend-ipvs --test kernel -- conformance::hairpin
#
# KERNEL is bullseye (5.10), bookworm (6.1) or trixie (6.12). Each test executable is one boot.
set -euo pipefail
cd "$(dirname "$0")/../.."

kernel=${1:?which kernel: bullseye, bookworm or trixie}
package=${2:?which package}
shift 2
target=${CARGO_TARGET_DIR:-$PWD/target}
# `PROFILE=dev` builds sooner and runs three times as long.
profile=${PROFILE:-guest}
built=$target/${profile/#dev/debug}
# Every guest's kernel has SCTP; a test that finds none fails instead of leaving its packets out.
export PORTOLAN_SCTP=required

# Tests of the whole run the proxy's binary and its examples, bridges want br_netfilter, clients of an API server
# certificates, and leftovers are made with iptables and ipset.
options=(--kernel "$kernel" --module br_netfilter --memory 2048 --seconds 3600)
for variable in PORTOLAN_BIN PORTOLAN_SCTP RUST_BACKTRACE PROPTEST_CASES; do
    options+=(--keep "$variable")
done
# Features that the emulated processor is to lack.
for feature in ${LACKING:-}; do
    options+=(--lacking "$feature")
done
for program in ipset {ip,ip6}tables{,-nft,-legacy}{,-restore,-save} sleep cat sh; do
    command -v "$program" >/dev/null && options+=(--with "$program")
done
for path in /etc/ssl/certs/ca-certificates.crt /usr/lib/x86_64-linux-gnu/xtables; do
    [ -e "$path" ] && options+=(--copy "$path")
done
# The kernels at hand usually lack what these are about, so their tests are ignored elsewhere.
case $package in
portolan-ipvs | portolan-backend-ipvs)
    options+=(--module ip_vs --module dummy)
    [[ " $* " == *" -- "* ]] || set -- "$@" --
    set -- "$@" --include-ignored
    ;;
esac
if [ "$package" = portolan-tests-netns ]; then
    export PORTOLAN_BIN="${PORTOLAN_BIN:-$built/portolan}"
    cargo build --locked --profile "$profile" -p portolan
    cargo build --locked --profile "$profile" -p "$package" --examples
    for example in tests/netns/examples/*.rs; do
        options+=(--copy "$built/examples/$(basename "$example" .rs)")
    done
fi
[ -n "${PORTOLAN_BIN:-}" ] && options+=(--copy "$PORTOLAN_BIN")

cargo build --locked --profile "$profile" -p portolan-tests-vm
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="$built/portolan-vm ${options[*]}"
exec cargo test --locked --profile "$profile" -p "$package" "$@"
