"""Files that lmms-eval wrote, read as finished runs."""
