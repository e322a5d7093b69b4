"""The door for pytest: what it calls, and how the command line calls it."""
