"""Benchmarks of error against cost, one file for each kind of problem."""
