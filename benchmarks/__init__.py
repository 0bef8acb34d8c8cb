"""Benchmarks: `python -m benchmarks [PART [OPTION …]]`; see `benchmarks.__main__`."""
