"""Figures of conservation laws."""
