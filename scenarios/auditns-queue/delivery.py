"""How long do messages to the audit daemon take until they are delivered?

    delivery.py COUNT

Sends messages one by one as a program does, and waits for each at the multicast group, to which
the kernel's thread delivers it before the daemon. Prints the median and the 99th percentile, in
microseconds of the guest's monotonic clock, of which a tick may be 4 ms. See linux/audit.h,
netlink(7).
"""

import os
import socket
import struct
import sys
import time

NETLINK_AUDIT, READLOG = 9, 1
AUDIT_USER, NLM_F_REQUEST = 1005, 1

count = int(sys.argv[1])
listener = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_AUDIT)
listener.bind((0, 1 << (READLOG - 1)))
link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_AUDIT)
link.bind((0, 0))
took = []
for number in range(count):
    text = f"delivery-{os.getpid()}-{number}.".encode() + b"\0"
    head = struct.pack("=IHHII", 16 + len(text), AUDIT_USER, NLM_F_REQUEST, number, 0)
    began = time.monotonic_ns()
    link.sendto(head + text, (0, 0))
    while text[:-1] not in listener.recv(65536):
        pass
    took.append((time.monotonic_ns() - began) // 1000)
took.sort()
sys.stdout.write(f"{took[count // 2]} {took[count * 99 // 100]}\n")
