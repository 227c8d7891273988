#!/usr/bin/env bash
# Becomes systemd in a root of its own: only what is mounted here, and nothing of this machine's
# services. To be run in fresh namespaces of mounts, processes, names and cgroups.
#
#   boot.sh ROOT PYTHON SITE SOURCE
set -euo pipefail
root=$1

see() { # a folder of this machine, read-only
    mkdir -p "$root$2"
    mount --rbind "$1" "$root$2"
    mount -o remount,bind,ro "$root$2"
}

mount --make-rprivate /
mount --bind "$root" "$root"
see /usr /usr
see "$2" /opt/python
see "$3" /opt/site
see "$4" /opt/source
for name in bin lib lib64 sbin; do
    [[ -e $root/$name ]] || ln -s "usr/$name" "$root/$name"
done
mkdir -p "$root"/{dev,old,proc,run,sys,tmp}
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs -o mode=0755 tmpfs "$root/dev"
for name in full null random tty urandom zero; do
    touch "$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
# A unit with PrivateDevices= gets these as they are.
mkdir "$root"/dev/{hugepages,mqueue,pts,shm}
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
mount -t tmpfs tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t sysfs -o ro sysfs "$root/sys"
if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
else
    mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
    mkdir "$root"/sys/fs/cgroup/{systemd,unified}
    mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup/unified"
fi
cd "$root"
pivot_root . old
umount -l /old
exec env -i container=overbook-test PATH=/usr/bin:/bin SYSTEMD_UNIT_PATH=/etc/systemd/system /lib/systemd/systemd --unit=overbook-test.target --log-target=null
