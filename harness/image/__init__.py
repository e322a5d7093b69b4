"""The guest's root: Debian's packages as a read-only file system, and layers beside it."""
