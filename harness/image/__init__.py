"""The guest's root: Debian's packages as a read-only file system, and layers beside it.

``bootstrap`` runs mmdebstrap, ``layer`` and ``root`` say what goes in and what comes out. Nothing
here knows kernels, guests or audit.
"""
