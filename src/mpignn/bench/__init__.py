"""Benchmarks: what a machine and the program on it reach, each beside what the machine can do at most."""
