"""Losses against the published model, by passes over prompts with their answers."""
