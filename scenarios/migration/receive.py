"""Takes one connection, says so beforehand, and writes what comes to the file that is named."""

from __future__ import annotations

import socket
import sys

with socket.create_server(("", 7000)) as server:
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    connection, _ = server.accept()
    with connection, open(sys.argv[1], "wb") as file:  # noqa: PTH123
        while chunk := connection.recv(1 << 16):
            file.write(chunk)
