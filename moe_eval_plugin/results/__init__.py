"""A finished task: stored, and read back as the same types."""
