#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Inside a chroot of Debian: builds the library of Debian's Linux-PAM, with
# Debian's patches and ours, and puts it below /mnt/layer, at the path of the
# installed one.
set -eu
export LC_ALL=C

cd /mnt
dpkg-source --extract pam_*.dsc pam
cd pam
# Debian keeps most of its patches where only its own rules file looks.
sed 's/[ #].*//' debian/patches-applied/series | grep . | while read -r patch; do
	patch --quiet -p1 <"debian/patches-applied/$patch"
done
for patch in /mnt/*.patch; do
	patch --fuzz=0 -p1 <"$patch"
done

triplet=$(dpkg-architecture -qDEB_HOST_MULTIARCH)
autoreconf --force --install
./configure --prefix=/usr --sysconfdir=/etc --libdir="/usr/lib/$triplet" \
	--enable-isadir="/lib/$triplet/security" \
	--enable-securedir="/lib/$triplet/security" \
	--disable-doc --disable-nls --disable-regenerate-docu --enable-audit \
	CFLAGS="-O2 -ffile-prefix-map=$PWD=."
# Versions since 1.5.3 have a part of the library in a folder of its own.
if [ -d libpam_internal ]; then
	make -C libpam_internal -j"$(nproc)"
fi
make -C libpam -j"$(nproc)"

built=$(find libpam/.libs -name 'libpam.so.0.*' -type f)
installed=$(readlink -f "/lib/$triplet/libpam.so.0")
# Another version would not be what stands in for the installed one.
[ "${built##*/}" = "${installed##*/}" ]
install -D -m 644 --strip "$built" "/mnt/layer$installed"
