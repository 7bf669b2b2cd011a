"""A tuning study: what is requested, what is found, and its folder."""
