#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Finishes a root that mmdebstrap has filled, and packs it: our files in, users
# without passwords, everything out that comes from the host or from the hour.
#
#   customize.sh ROOT    reads ROOT/mnt/files, writes to ROOT/mnt/out
set -eu
root=$1

# A checkout's owner and modes are the developer's.
(cd "$root/mnt/files" && find . -type f) | while read -r file; do
	install -D -m 644 -o 0 -g 0 "$root/mnt/files/$file" "$root/$file"
done
chmod 640 "$root/etc/audit/auditd.conf"

# Nobody can log in until the harness has set passwords or keys.
chroot "$root" useradd --create-home --shell /bin/bash --uid 1000 \
	--password '*' tester
chroot "$root" usermod --password '*' root
# useradd gave ids to tester; these let newuidmap map what root has.
sed -i '1i root:0:65536' "$root/etc/subuid" "$root/etc/subgid"
# The day of the last change is today's.
sed -i 's/^\([^:]*:[^:]*:\)[0-9]*:/\119000:/' "$root/etc/shadow"
mkdir -m 755 "$root/var/empty"

chroot "$root" dpkg-query -W >"$root/mnt/out/packages.list"

cd "$root"
# mmdebstrap's own: it lets no daemon start, knows the mirror, and makes
# links for architectures that are not there.
if [ -e sbin/start-stop-daemon.REAL ]; then
	mv sbin/start-stop-daemon.REAL sbin/start-stop-daemon
fi
for dir in lib32 libo32 libx32; do
	if [ -L "$dir" ] && rmdir "usr/$dir"; then
		rm "$dir"
	fi
done
rm -f usr/sbin/policy-rc.d etc/apt/sources.list etc/apt/sources.list.d/* \
	etc/apt/apt.conf.d/*mmdebstrap etc/dpkg/dpkg.cfg.d/*mmdebstrap
# The host's, or made by chance.
rm -f etc/resolv.conf etc/ssh/ssh_host_* var/lib/dbus/machine-id
: >etc/machine-id
# Written while installing: backups, logs, caches; and nobody reads manuals.
rm -f etc/*- var/lib/dpkg/*-old var/lib/systemd/catalog/database \
	var/log/*.log var/log/apt/*
rm -rf var/lib/apt/lists/* var/cache/apt/* var/cache/debconf/*-old \
	var/cache/ldconfig/* usr/share/doc/* usr/share/info/* \
	usr/share/lintian/* usr/share/locale/* usr/share/man/*
find usr -name __pycache__ -type d -prune -exec rm -rf {} +

# The kernel need not have extended attributes: no program may need one.
capable=$(chroot . getcap -r /usr)
if [ -n "$capable" ]; then
	echo "file capabilities would be lost: $capable" >&2
	exit 1
fi

# Seen through a bind mount the root is without what is mounted in it, such as
# a /proc whose owner differs with mmdebstrap's mode.
mkdir mnt/bare
mount --bind . mnt/bare
mkfs.erofs --quiet -x-1 -T "$SOURCE_DATE_EPOCH" \
	-U 6e736175-6469-7400-0000-000000000001 \
	--exclude-regex='^(dev|mnt|proc|run|sys|tmp)/.+' mnt/out/root.erofs mnt/bare
umount mnt/bare
