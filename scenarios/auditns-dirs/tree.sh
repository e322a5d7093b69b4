#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# The directories of auditns-dirs.
#
#   tree.sh make       /srv/tree, which is watched: with a mount below, and to be
#                      seen from elsewhere by another mount and by a link
#   tree.sh restore    as it was before the acts
set -eu
cd /srv

case $1 in
make)
	mkdir -p tree/sub/deep tree/quiet tree/mount tree/late tree/shared
	mkdir -p aside/folder trees alias
	chmod 777 tree/shared
	touch tree/file tree/out tree/sub/file aside/in aside/folder/file
	cp /bin/true tree/exec
	ln -s /srv/tree/sub link
	mount -t tmpfs tmpfs tree/mount
	mount --bind tree/sub alias
	;;
restore)
	mv tree/sub/moved tree/file
	mv tree/in aside
	mv tree/sub/folder aside
	mv aside/out tree
	rm tree/sub/deep/* tree/quiet/file
	umount tree/late
	;;
esac
