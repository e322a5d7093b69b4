"""Layers: files that stand in for some of the root's where a test asks for them.

``pam-1.2`` is Debian's libpam with what decided until Linux-PAM 1.2 whether a login goes on: an
EPERM from the kernel's audit is passed over only for a caller that is not root. Since 1.3.0 (in
December 2015) it is for everybody.
"""

from __future__ import annotations

from pathlib import Path

from harness.image.bootstrap import Recipe

_HERE = Path(__file__).parent / "pam12"

PAM12 = Recipe(
    kind="layer",
    name="pam-1.2",
    packages=(
        "autoconf",
        "automake",
        "autopoint",
        "dpkg-dev",
        "flex",
        "gcc",
        "gettext",
        "libaudit-dev",
        "libcrypt-dev",
        "libtool",
        "make",
        "patch",
        "pkg-config",
        "xz-utils",
    ),
    given=(_HERE / "build.sh", _HERE / "inside.sh", *sorted(_HERE.glob("*.patch"))),
    outputs=("layer.erofs", "packages.list"),
    sources=True,
)
LAYERS = (PAM12,)
