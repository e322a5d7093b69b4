#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Builds the 1.2-era library in a root that mmdebstrap has filled, and packs it
# into an erofs of its own.
#
#   build.sh ROOT    reads ROOT/mnt, writes to ROOT/mnt/out
set -eu
root=$1

# With the host's apt: it knows the way to the archive, with proxies and
# certificates. The rest happens inside, without a network.
(cd "$root/mnt" && APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get source \
	--download-only --quiet pam)
chroot "$root" sh /mnt/inside.sh
chroot "$root" dpkg-query -W >"$root/mnt/out/packages.list"
mkfs.erofs --quiet -x-1 -T "$SOURCE_DATE_EPOCH" \
	-U 6e736175-6469-7400-0000-000000000002 \
	"$root/mnt/out/layer.erofs" "$root/mnt/layer"
