"""Leaves each multicast group of audit's COUNT times, without having joined it.

leave.py COUNT
"""

import sys

from audit_link import READLOG, USERNS, audit_socket

_SOL_NETLINK, _DROP_MEMBERSHIP = 270, 2

link = audit_socket()
for _ in range(int(sys.argv[1])):
    for group in (READLOG, USERNS):
        link.setsockopt(_SOL_NETLINK, _DROP_MEMBERSHIP, group)
