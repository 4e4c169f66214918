"""Benchmarks: each module here with a `run` gives flat figures; `make bench` runs them all."""
