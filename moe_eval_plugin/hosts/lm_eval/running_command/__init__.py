"""lm-eval's own command, run with our models: checked before it reads anything, and recorded."""
