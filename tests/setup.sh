#!/usr/bin/env bash
# Installs the Debian packages that builds and tests need, if any is missing.
set -euo pipefail

packages=(
    build-essential pkg-config libnftnl-dev libmnl-dev # the build
    nftables iproute2 util-linux procps                # kernel tests
    curl python3                                       # the demo
)
missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo "these packages are missing, and only root can install them: ${missing[*]}" >&2
    exit 1
fi
echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
