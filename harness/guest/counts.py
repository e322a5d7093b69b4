"""What the kernel of a guest has counted (gcov), which it shows as files in debugfs."""

from __future__ import annotations

from harness.guest.machine import Guest

_DEBUG = "/sys/kernel/debug"
_TAR = "/run/gcov.tar"
# Such a file has no size, by which tar would go, before it is read.
_PACK = f"""
set -e
mountpoint -q {_DEBUG} || mount -t debugfs debugfs {_DEBUG}
copy=$(mktemp -d)
cd {_DEBUG}/gcov
find . -name '*.gcda' | while read -r file; do
	mkdir -p "$copy/${{file%/*}}"
	cat "$file" >"$copy/$file"
done
tar -cf {_TAR} -C "$copy" .
"""


def read_counts(guest: Guest) -> bytes:
    """Everything below ``gcov`` there, as a tar file. Raises HarnessError when it has none."""
    guest.run(["sh", "-c", _PACK]).require()
    return guest.get(_TAR)
