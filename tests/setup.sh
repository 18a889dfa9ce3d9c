#!/usr/bin/env bash
# Installs the Debian packages that builds and tests need, if any is missing, and a kubectl.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
    build-essential pkg-config libnftnl-dev libmnl-dev # the build
    libclang-dev                                       # bindings that tests/rustables generates
    nftables iproute2 util-linux procps libcap2-bin    # kernel tests
    iptables ipset                                     # what other proxies leave
    haproxy                                            # examples/custom-backend
    qemu-system-x86 busybox-static kmod xz-utils zstd  # other kernels
    prometheus systemd python3-pip                     # what reads the files in deploy/
    ca-certificates curl python3                       # the demo, certificates of TLS tests
)

# Programs are wanted, not services of theirs that start on this machine.
without_services() {
    local policy=/usr/sbin/policy-rc.d
    if [ -e "$policy" ]; then
        "$@"
        return
    fi
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    local code=0
    "$@" || code=$?
    rm -f "$policy"
    return "$code"
}

missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" -ne 0 ]; then
        echo "these packages are missing, and only root can install them: ${missing[*]}" >&2
        exit 1
    fi
    echo "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    without_services apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
bash tests/deploy/kubectl.sh
