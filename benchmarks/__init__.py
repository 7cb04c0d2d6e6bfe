"""Benchmarks: `make bench`. Ratios within one run count; absolute figures are the machine's."""
