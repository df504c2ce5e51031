"""Error against cost of every problem: what is compared, on which grids."""
