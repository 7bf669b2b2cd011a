"""Files that lm-eval (lm-evaluation-harness) wrote, read as finished runs."""
