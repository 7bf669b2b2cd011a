"""The best schedule at each target: what the search finds, and its loss as measured."""
