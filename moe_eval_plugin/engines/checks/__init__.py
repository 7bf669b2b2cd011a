"""Checks of a model before its weights are read: its files, its chat template, the memory."""
