#!/bin/sh
# mmdebstrap's customize hook: $1 is the root of the image. SPARKFLEET_OVERLAY is a folder to copy over it.
set -eu
root=$1
cp -R --no-preserve=ownership "$SPARKFLEET_OVERLAY/." "$root"
chroot "$root" update-ca-certificates >/dev/null

# Every node makes its own, as every instance does.
rm -f "$root"/etc/ssh/ssh_host_*
: > "$root/etc/machine-id"
rm -f "$root/var/lib/dbus/machine-id" "$root/etc/hostname"

# Work of hardware, consoles and idle time that would only cost: one host runs many nodes. And the users' own service
# managers, which never end in a container under version 1 cgroups and hold up a shutdown.
chroot "$root" systemctl --quiet mask \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
    user@.service console-getty.service getty@.service getty-static.service \
    systemd-udevd.service systemd-udev-trigger.service systemd-timesyncd.service systemd-networkd.service \
    systemd-networkd-wait-online.service systemd-logind-varlink.socket \
    dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
    sys-fs-fuse-connections.mount sys-kernel-config.mount proc-sys-fs-binfmt_misc.automount
