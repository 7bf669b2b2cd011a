"""What the numbers of a sweep depend on: its settings, its packages, and its data."""
