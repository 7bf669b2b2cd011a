"""lm-evaluation-harness as a host: our models and tasks in it, its command line, its results."""
