#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Makes an OCI bundle of the guest's own root in /run/box, with a payload that
# changes its host name, and a hook that tries to name the container itself and
# then, if somebody wants to, has them try.
set -eu

mkdir -p /run/box/rootfs
mount --bind / /run/box/rootfs
cd /run/box
runc spec
python3 - <<'PYTHON'
import json
from pathlib import Path

spec = json.loads(Path("config.json").read_text())
spec["process"]["args"] = ["python3", "-c", "import socket; socket.sethostname('payload')"]
spec["process"]["terminal"] = False
wanted = ["CAP_SYS_ADMIN"]
spec["process"]["capabilities"] = {k: wanted for k in ("bounding", "effective", "permitted")}
spec["root"]["readonly"] = False
spec["hooks"] = {"createRuntime": [{"path": "/run/hook.py"}]}
Path("config.json").write_text(json.dumps(spec))
PYTHON
cat >/run/hook.py <<'PYTHON'
#!/usr/bin/python3
import errno
import json
import os
import sys
from pathlib import Path

pid = json.load(sys.stdin)["pid"]
file = os.open(f"/proc/{pid}/audit_containerid", os.O_WRONLY)
try:
    os.write(file, b"4712")
    said = "0"
except OSError as error:
    said = errno.errorcode[error.errno]
Path("/run/hook.said").write_text(said)
if Path("/run/hook.pid").exists():
    Path("/run/hook.pid").write_text(str(pid))
    Path("/run/hook.done").read_text()
PYTHON
chmod 755 /run/hook.py
