"""Engines that run a model; none knows an evaluation harness."""
