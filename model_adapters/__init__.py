"""Adapters: each a thin crossing of one host (an evaluation harness) and one engine."""
