"""From the name of a base to a kernel: sources, series, tree, kconfig, build."""
