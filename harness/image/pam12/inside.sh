#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Inside a chroot of Debian: builds the library of Debian's Linux-PAM, with
# Debian's patches and one of ours, and puts it below /pam12/layer where the
# installed one is.
set -eu
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

cd /pam12
apt-get source --quiet pam
cd pam-*/
# Debian keeps most of its patches where only its own rules file looks.
sed 's/[ #].*//' debian/patches-applied/series | grep . | while read -r patch; do
	patch --quiet -p1 <"debian/patches-applied/$patch"
done
cat ../0001-*.patch | patch --fuzz=0 -p1

triplet=$(dpkg-architecture -qDEB_HOST_MULTIARCH)
autoreconf -fi
./configure --prefix=/usr --sysconfdir=/etc --libdir="/usr/lib/$triplet" \
	--enable-isadir="/lib/$triplet/security" \
	--enable-securedir="/lib/$triplet/security" \
	--disable-doc --disable-nls --disable-regenerate-docu --enable-audit \
	CFLAGS="-O2 -ffile-prefix-map=$PWD=."
for part in libpam_internal libpam; do
	if [ -d "$part" ]; then
		make -C "$part" -j"$(nproc)"
	fi
done

installed=$(readlink -f "/lib/$triplet/libpam.so.0")
mkdir -p "/pam12/layer${installed%/*}"
install -m 644 "$(find libpam/.libs -name 'libpam.so.0.*' -type f)" "/pam12/layer$installed"
strip --strip-unneeded "/pam12/layer$installed"
