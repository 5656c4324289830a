#!/bin/busybox sh
# The first process of the virtual machine (see image.ts): mounts what every system has (but bpffs and tracefs, which
# tsbpf mounts itself), runs /steps/* one after the other with their output on the second serial port, and switches the
# machine off.
PATH=/usr/bin:/usr/sbin:/bin
export PATH HOME=/ TERM=dumb NO_COLOR=1 CI=
# The kernel calls modprobe by this name. busybox adds what is not there.
/bin/busybox ln -s ../bin/modprobe /usr/sbin/modprobe
/bin/busybox --install -s

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/shm /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t devpts devpts /dev/pts
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t securityfs securityfs /sys/kernel/security
mount -t tmpfs tmpfs /run
mount -t tmpfs -o size=1g tmpfs /tmp
ip link set lo up

stty -F /dev/ttyS1 raw -echo
exec >/dev/ttyS1 2>&1 </dev/null
cd /tsbpf || exit
# A line of its own for each mark, whatever the step printed last (see transcript.ts).
for step in /steps/*; do
  IFS=, read -r _ seconds name <<END
$step
END
  {
    printf '\n@@ begin %s\n' "$name"
    timeout -s KILL "$seconds" sh "$step" 2>&1
    printf '\n@@ end %s %d\n' "$name" "$?"
  } | cat # not a terminal: vitest waits for ever for an answer of this one
done
sync
poweroff -f
