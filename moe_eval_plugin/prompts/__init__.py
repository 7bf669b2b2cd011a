"""Prompts of tasks and a loaded model for them, whichever host asks; nothing is scored."""
