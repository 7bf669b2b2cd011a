"""``moe-eval bench``: speed at a fixed number of tokens, at each k and batch size."""
