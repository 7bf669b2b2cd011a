"""Answers on their way to lmms-eval: their form, how they ended, and its cache of them."""
