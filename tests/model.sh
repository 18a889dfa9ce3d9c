#!/usr/bin/env bash
# Runs every property test with CASES random inputs, optimised. A failure does not keep the others from running.
set -euo pipefail
cd "$(dirname "$0")/.."
cases="${CASES:-100000}"

# The test's source; the part of CASES to run, one in so many; where cargo finds it. Tests that make objects in the
# kernel, or a server and its clients, take some hundred times as long as the others.
tests="
crates/backend-iptables/tests/fake/hostile.rs   1000 portolan-backend-iptables --test fake hostile::
crates/backend-iptables/tests/fake/model.rs     1    portolan-backend-iptables --test fake model::
crates/backend-iptables/tests/rendered.rs       1    portolan-backend-iptables --test rendered
crates/backend-ipvs/tests/fake/hostile.rs       1000 portolan-backend-ipvs --test fake hostile::
crates/backend-ipvs/tests/fake/model.rs         1    portolan-backend-ipvs --test fake model::
crates/backend-nftables/src/slots.rs            1    portolan-backend-nftables --lib slots::
crates/backend-nftables/tests/fake/hostile.rs   1000 portolan-backend-nftables --test fake hostile::
crates/backend-nftables/tests/fake/model.rs     1    portolan-backend-nftables --test fake model::
crates/backend-nftables/tests/fake/split.rs     1    portolan-backend-nftables --test fake split::
crates/backend-userspace/tests/kernel/model.rs  1000 portolan-backend-userspace --test kernel model::
crates/config/src/tests/random.rs               1    portolan-config --lib random::
crates/conntrack/src/entry/tests.rs             1    portolan-conntrack --lib entry::
crates/conntrack/tests/kernel/random.rs         100  portolan-conntrack --test kernel random::
crates/core/tests/model.rs                      1    portolan-core --test model
crates/netlink/src/message/tests.rs             1    portolan-netlink --lib message::
crates/nft/src/parse/tests.rs                   1    portolan-nft --lib parse::
crates/nft/tests/kernel/agreement.rs            20   portolan-nft --test kernel agreement::
crates/source/src/api/decode/list/tests.rs      1    portolan-source --lib api::decode::list::
crates/source/src/api/tests/random.rs           100  portolan-source --lib api::tests::random::
crates/source/src/recorder/tests/cache.rs       1    portolan-source --lib recorder::tests::cache::
crates/sync/src/tests/convergence.rs            1    portolan-sync --lib convergence::
crates/sync/src/tests/flow_races.rs             1    portolan-sync --lib flow_races::
crates/testkit/src/conformance/model.rs         2000 portolan-backend-iptables --test kernel random_clusters
crates/testkit/src/conformance/model.rs         2000 portolan-backend-userspace --test kernel random_clusters
crates/testkit/src/conformance/model.rs         2000 portolan-tests-netns --lib random_clusters
tests/netns/src/model.rs                        1000 portolan-tests-netns --lib model::
"

listed="$(awk 'NF { print $1 }' <<<"$tests" | sort -u)"
# The soak test has no number of inputs; it runs for a time.
present="$(grep -rlE 'proptest! \{|TestRunner::new' --include='*.rs' --exclude=soak.rs bin crates examples tests | sort)"
if [ "$listed" != "$present" ]; then
    echo "tests/model.sh must list every source with property tests:" >&2
    diff <(echo "$listed") <(echo "$present") >&2 || true
    exit 1
fi

failed=()
while read -r source part package target; do
    [ -n "$source" ] || continue
    # shellcheck disable=SC2086
    PROPTEST_CASES="$((cases / part > 0 ? cases / part : 1))" cargo test --locked --quiet --profile model -p $package $target </dev/null ||
        failed+=("$source")
done <<<"$tests"
if [ "${#failed[@]}" -gt 0 ]; then
    echo "failed; the seeds are beside the sources, in *.proptest-regressions: ${failed[*]}" >&2
    exit 1
fi
