"""lmms-eval: registration, requests, results and exit codes."""
