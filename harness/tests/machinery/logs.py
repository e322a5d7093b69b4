"""Logs of many hosts that an engine is asked about."""

from __future__ import annotations

import gzip
from pathlib import Path

from harness.tests.test_trail import SCENES, write


def write_logs(folder: Path) -> Path:
    """Every scene; one of them rotated, another one at a collector, too, and some damage."""
    folder.mkdir(exist_ok=True)
    for host, texts in SCENES.items():
        write(folder, *texts, host=host)
    log = write(folder, *SCENES["alpha"][2:])
    (log.parent / "audit.log.1.gz").write_bytes(
        gzip.compress("".join(SCENES["alpha"][:2]).encode())
    )
    sent = "".join(SCENES["beta"]).replace("type=", "node=beta type=")
    odd = "type=UNKNOWN[1999] msg=audit(1795000007.000:9): a=b\nno record\n"
    write(folder, sent, odd, SCENES["silent"][0][:-20], host="collector")
    return folder
