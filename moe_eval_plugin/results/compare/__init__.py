"""``moe-eval compare``: two finished runs over the same questions."""
