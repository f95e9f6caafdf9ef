"""Benchmarks: each pairs us with a peer or a physical limit in one run and prints a ratio; none asserts a time."""
