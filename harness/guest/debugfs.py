"""The debugfs of a guest, and what its kernel shows there of what it has counted (gcov)."""

from __future__ import annotations

from harness.guest.machine import Guest

DEBUGFS = "/sys/kernel/debug"
_TAR = "/run/gcov.tar"
# Such a file has no size, by which tar would go, before it is read.
_PACK = f"""
set -e
copy=$(mktemp -d)
cd {DEBUGFS}/gcov
find . -name '*.gcda' | while read -r file; do
	mkdir -p "$copy/${{file%/*}}"
	cat "$file" >"$copy/$file"
done
tar -cf {_TAR} -C "$copy" .
"""


def mount(guest: Guest) -> None:
    """Mounts it at ``DEBUGFS``, where it is not there yet."""
    command = f"mountpoint -q {DEBUGFS} || mount -t debugfs debugfs {DEBUGFS}"
    guest.run(["sh", "-c", command]).require()


def read_counts(guest: Guest) -> bytes:
    """Everything below ``gcov`` there, as a tar file. Raises HarnessError when it has none."""
    mount(guest)
    guest.run(["sh", "-c", _PACK]).require()
    return guest.get(_TAR)
