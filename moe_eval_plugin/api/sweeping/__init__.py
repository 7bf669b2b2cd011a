"""Run a sweep from a typed request, with a progress object, to a result object."""
