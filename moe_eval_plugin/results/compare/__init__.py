"""``moe-eval compare``: two finished runs on the same questions."""
