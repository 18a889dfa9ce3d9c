#!/bin/busybox sh
# The guest's first process. It makes a system of the files it finds, runs /vm/command, says how that ended, and
# ends the guest. The first serial line is the console, for the kernel and for what goes wrong here; the second is
# the command's: its first line says that it starts, and its last line how it ended. Whatever fails ends the guest
# without that line.
set -e
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
/bin/busybox --install -s /bin 2> /dev/null # /bin/sh is there already
trap 'poweroff -f' EXIT

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
chmod 1777 /tmp
# Kernels write bytes as they come only to a raw line.
stty -F /dev/ttyS1 raw -echo
ip link set lo up
while read -r module; do
    modprobe "$module"
done < /vm/modules

cd /root
code=0
printf '@started\n' > /dev/ttyS1
/bin/sh /vm/command < /dev/null > /dev/ttyS1 2>&1 || code=$?
printf '\n@ended %s\n' "$code" > /dev/ttyS1
# Waits until the line is empty.
stty -F /dev/ttyS1 raw
