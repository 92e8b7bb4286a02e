"""Benchmarks: drawing, metrics, comparison of two runs."""
