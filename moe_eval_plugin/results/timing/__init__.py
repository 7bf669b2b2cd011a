"""The timed pass of a sweep, as it is stored, and what makes its speeds unreliable."""
