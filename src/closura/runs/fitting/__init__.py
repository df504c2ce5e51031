"""Runs of what is fitted to data sets of flows: closures and reduced-order models."""
