"""Runs scenarios on the workers of a Dask cluster; kernels and images go by a shared store."""
