#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Makes a guest one host of several: its clock, its name, its identity, and its
# address on the network that they share. Standard input becomes /etc/hosts.
#
#   host.sh TIME NAME MACHINE-ID CARD ADDRESS MAC
#
# TIME is in seconds since 1970, CARD the MAC by which the card is known now.
set -eu
date --set="@$1" >/dev/null
hostname "$2"
echo "$2" >/etc/hostname
echo "$3" >/etc/machine-id
cat >/etc/hosts
for card in /sys/class/net/*; do
	if [ "$(cat "$card/address")" = "$4" ]; then
		name=${card##*/}
		ip link set dev "$name" address "$6"
		ip address add "$5/24" dev "$name"
		ip link set dev "$name" up
		exit
	fi
done
echo "no card has the address $4" >&2
exit 1
