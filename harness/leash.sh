#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Runs a program, and kills it with all that it started (its process group,
# which is also this script's) when told to end. A parent-death signal reaches
# one process only; sent to this one, it reaches them all. The status is the
# program's.

trap 'kill -KILL 0' TERM
# A shell gives /dev/null to what it starts with &: hand our own input on.
exec 3<&0
"$@" <&3 3<&- &
exec 3<&-
wait "$!"
