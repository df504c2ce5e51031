"""``python -m closura``."""

from closura.cli import main

main()
