"""``moe-eval inspect`` and ``moe-eval families``."""
