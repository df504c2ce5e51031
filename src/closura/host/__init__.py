"""Solvers outside JAX: NumPy functions, and programs in any language in processes of their own (docs/host.md)."""
