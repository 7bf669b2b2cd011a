"""The settings that a sweep compares, and the files that some of them come from."""
