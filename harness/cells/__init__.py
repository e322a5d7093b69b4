"""What scenarios say of many kernels: of each patch of a series, of commits, of changed patches.

A cell is one scenario asked of one kernel. It is kept by content, so that nothing is asked twice
and what was broken off goes on where it stopped. Owns which cells are asked, in which order, and
what they say together; prints nothing.
"""
