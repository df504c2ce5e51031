"""Hyperbolic conservation laws on uniform grids: laws, solvers that ask for weights, and exact solutions."""
