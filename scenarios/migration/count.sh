#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# The first process of a container: gives its host name a number, again and
# again, and goes on counting wherever it is.
#
#   count.sh NAME
while :; do
	n=$((n + 1))
	hostname "$1-$n"
	sleep 0.5
done
