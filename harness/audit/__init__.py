"""What audit means: records and events, matchers over them, and the netlink edge.

``records`` parses what auditd and auditctl print. ``payload/`` holds C programs that ask the
kernel directly; they share ``payload/netlink.h``. Kernels and guests are not known here.
"""
