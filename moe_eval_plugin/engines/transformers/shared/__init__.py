"""Compute an image and the beginning of a prompt once for all questions about it."""
