"""What repeats publications; nothing else of the package imports it."""
