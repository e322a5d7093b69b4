#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Finishes a root that mmdebstrap has filled: our files in, everything out that
# comes from the host or from the hour, users without passwords.
#
#   customize.sh ROOT    (our files lie in ROOT/files)
set -eu
root=$1

chown -R 0:0 "$root/files"
find "$root/files" -type f -exec chmod 644 {} +
chmod 640 "$root/files/etc/audit/auditd.conf"
cp -a "$root/files/." "$root/"
rm -rf "$root/files"

chroot "$root" useradd --create-home --shell /bin/bash --uid 1000 tester
chroot "$root" usermod --lock root

# What the host or a package's script put there, and what differs each time.
rm -f "$root/etc/resolv.conf" "$root"/etc/ssh/ssh_host_* "$root/etc/passwd-" \
	"$root/etc/shadow-" "$root/etc/group-" "$root/etc/gshadow-" \
	"$root/etc/subuid-" "$root/etc/subgid-" "$root/var/cache/ldconfig/aux-cache" \
	"$root"/var/log/*.log "$root"/var/log/apt/* "$root"/etc/apt/sources.list \
	"$root"/var/lib/dpkg/*-old "$root/var/lib/systemd/catalog/database"
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* \
	"$root"/var/cache/debconf/*-old "$root"/usr/share/doc/* \
	"$root"/usr/share/man/* "$root"/usr/share/locale/* "$root"/tmp/* "$root"/run/*
find "$root/usr" -name __pycache__ -type d -prune -exec rm -rf {} +
: >"$root/etc/machine-id"
mkdir -p "$root/var/empty"

# The day of the last password change is today's; the epoch says the same.
sed -i 's/^\([^:]*:[^:]*:\)[0-9]*:/\119000:/' "$root/etc/shadow"

# mmdebstrap has the host's /proc and /sys mounted here: their contents stay out.
# The file is fetched from inside, because in a user namespace nothing outside
# can be written.
mkfs.erofs --quiet -x-1 -T "$SOURCE_DATE_EPOCH" --exclude-regex='^(dev|proc|sys)/.+' \
	--exclude-path=root.erofs -U 6e736175-6469-7400-0000-000000000001 \
	"$root/root.erofs" "$root"
chroot "$root" dpkg-query -W >"$root/packages.list"
