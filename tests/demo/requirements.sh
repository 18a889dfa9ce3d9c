# Finds what the demo needs and installs what is missing, where there is an apt-get to do it with.
# Sourced by demo.sh.
# shellcheck shell=bash

# Prints the Debian packages whose programs or libraries are not there. Building needs more than running.
missing_packages() {
    command -v ip > /dev/null || echo iproute2
    command -v nft > /dev/null || echo nftables
    command -v curl > /dev/null || echo curl
    command -v python3 > /dev/null || echo python3
    command -v sysctl > /dev/null || echo procps
    [[ -z ${PORTOLAN_BIN:-} ]] || return 0
    command -v cc > /dev/null || echo gcc libc6-dev
    if command -v pkg-config > /dev/null; then
        pkg-config --exists libnftnl || echo libnftnl-dev
        pkg-config --exists libmnl || echo libmnl-dev
    else
        echo pkg-config libnftnl-dev libmnl-dev
    fi
}

install_missing() {
    local packages sudo=()
    read -ra packages <<< "$(missing_packages | tr '\n' ' ')"
    if ((${#packages[@]})); then
        command -v apt-get > /dev/null || die "missing, and no apt-get to install them: ${packages[*]}"
        ((EUID == 0)) || sudo=(sudo)
        echo "installing ${packages[*]}"
        "${sudo[@]}" apt-get -qq update
        DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get -qq -y --no-install-recommends install \
            "${packages[@]}" > /dev/null
    fi
    [[ -n ${PORTOLAN_BIN:-} ]] || command -v cargo > /dev/null \
        || die "no cargo; install Rust 1.89 or newer from https://rustup.rs, or name a binary in PORTOLAN_BIN"
}
