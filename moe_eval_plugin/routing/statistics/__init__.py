"""Statistics of routing traces."""
