#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# The first process of a container: says its pid as the initial PID namespace
# has it, shows the files of a layer in the place of the root's, and lives as
# long as its standard input.
#
#   container.sh PROC LAYER     PROC: yes for a PID namespace of its own
#                               LAYER: a folder, or - for none
set -eu

# /proc is still the initial namespace's here, and so is the pid in it.
read -r pid _ </proc/self/stat

if [ "$2" != - ]; then
	find "$2" -type f | while read -r file; do
		mount --bind "$file" "${file#"$2"}"
	done
fi
if [ "$1" = yes ]; then
	mount -t proc proc /proc
fi
if [ -e /sys/class/net/lo ]; then
	ip link set lo up
fi
echo "$pid"
exec cat >/dev/null
