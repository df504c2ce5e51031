"""What is measured of simulations, and statistics of it."""
