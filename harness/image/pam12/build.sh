#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Builds the 1.2-era library in a root that mmdebstrap has filled, and packs it
# into an erofs of its own.
#
#   build.sh ROOT    (this folder lies in ROOT/pam12)
set -eu
root=$1

chroot "$root" sh /pam12/inside.sh
mkfs.erofs --quiet -x-1 -T "$SOURCE_DATE_EPOCH" -U 6e736175-6469-7400-0000-000000000002 \
	"$root/layer.erofs" "$root/pam12/layer"
