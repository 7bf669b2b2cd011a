"""Reproduction bundles: a finished run in one file, made again, and compared number by number."""
