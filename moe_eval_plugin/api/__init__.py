"""The package for Python programs and notebooks; the commands use the same functions."""
