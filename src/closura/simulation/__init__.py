"""Several methods from the same initial conditions, side by side."""
