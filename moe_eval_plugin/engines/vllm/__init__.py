"""Run a model with vLLM."""
