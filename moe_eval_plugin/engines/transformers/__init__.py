"""Run a model with Hugging Face transformers."""
