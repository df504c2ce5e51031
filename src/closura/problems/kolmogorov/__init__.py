"""Two-dimensional Kolmogorov flow: solver, coarse models, and the problem of closing them."""
