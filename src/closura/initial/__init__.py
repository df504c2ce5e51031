"""Initial conditions and velocity fields: images, published families, and stand-ins that need no data."""
