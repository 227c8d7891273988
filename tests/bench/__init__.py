"""Benchmarks: they assert nothing and print JSON. `python -m tests.bench --help`."""
