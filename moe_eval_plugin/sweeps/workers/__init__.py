"""How the points of a sweep run: with one resident model, or in child processes."""
