#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Builds the 1.2-era library in a root that mmdebstrap has filled, and packs it
# into an erofs of its own.
#
#   build.sh ROOT    reads ROOT/mnt, writes to ROOT/mnt/out
set -eu
root=$1

# With the host's apt: it knows the way to the archive, with proxies and
# certificates. The rest happens inside, without a network. An index names a
# security update at times before its sources are there: the next older version
# does as well, as long as it makes the same file (inside.sh asks that).
(
	cd "$root/mnt"
	export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
	for version in $(apt-cache showsrc pam | sed -n 's/^Version: //p' | sort -Vru); do
		apt-get source --download-only --quiet "pam=$version" && exit
		echo "the archive does not give the sources of pam $version" >&2
		rm -f pam_*
	done
	exit 1
)
chroot "$root" sh /mnt/inside.sh
chroot "$root" dpkg-query -W >"$root/mnt/out/packages.list"
mkfs.erofs --quiet -x-1 -T "$SOURCE_DATE_EPOCH" \
	-U 6e736175-6469-7400-0000-000000000002 \
	"$root/mnt/out/layer.erofs" "$root/mnt/layer"
