"""Files: written whole or not at all, locks, weights, published networks."""
