"""The timed engines of a bench."""
