"""Evaluation harnesses; none knows an engine."""
